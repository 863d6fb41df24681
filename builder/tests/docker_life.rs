//! What is special about containers: what their engine gets to know, what is left when Staith is killed, images, and errors.
//! Over a Docker Engine of the tests' own; needs root and the package `docker.io`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    ffi::OsString,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use staith_builder::{
    addresses::Caution,
    docker::DockerEngine,
    engine::{Engine, EngineError, ImageSpec, OutputChunk, StepExit},
};
use staith_model::{Network, Secret, Tool};
use support::{
    bench::{Bench, collect, eventually, helper, processes_with},
    container_engine::Kind,
    containers::{Containers, containers},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Names the marker in a process that this program starts of itself, and the container engine that it uses.
const DRIVE: &str = "STAITH_TEST_DRIVE";
const DRIVE_AT: &str = "STAITH_TEST_DRIVE_AT";
const DRIVE_IN: &str = "STAITH_TEST_DRIVE_IN";

fn nothing_is_left(containers: &Containers) -> bool {
    let own = |path: &str| containers.daemon.says(path);
    !own("/containers/json?all=1").contains("staith.owner") && !own("/volumes").contains("staith.owner")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_container_engine_learns_neither_command_nor_secret() {
    let containers = containers(Kind::Docker);
    let bench = Bench::new(&containers).await;
    let marker = format!("staith-marker-inspect-{}", std::process::id());
    let mut step = bench.shell(&format!("echo \"${{#TOKEN}} $PLAIN\"; sleep 1000; : {marker}"));
    step.secrets = [("TOKEN".to_owned(), Secret::new("hunter2-hunter2"))].into();
    step.env = [("PLAIN".to_owned(), "seen-by-the-step".to_owned())].into();
    let (output, mut said) = mpsc::channel::<OutputChunk>(16);
    let cancel = CancellationToken::new();
    let look = async {
        assert_eq!(said.recv().await.unwrap().bytes, b"15 seen-by-the-step\n");
        let all = containers.daemon.says("/containers/json?all=1");
        let ids = all.split("\"Id\":\"").skip(1).map(|rest| rest[..64].to_owned());
        for id in ids {
            let known = containers.daemon.says(&format!("/containers/{id}/json"));
            for hidden in ["hunter2", "seen-by-the-step", "TOKEN", &marker] {
                assert!(!known.contains(hidden), "{hidden} is in {known}");
            }
        }
        cancel.cancel();
        collect(said).await
    };
    let (exit, _) = tokio::join!(containers.run(step, output, cancel.clone()), look);
    assert_eq!(exit.unwrap(), StepExit::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_whatever_happens_to_a_step() {
    let containers = containers(Kind::Docker);
    let bench = Bench::new(&containers).await;
    let marker = format!("staith-marker-left-{}", std::process::id());
    assert_eq!(bench.run(&containers, bench.shell("exit 3")).await.exit, StepExit::Code(3));
    let mut step = bench.shell(&format!("sleep 1000; : {marker}"));
    step.timeout = Duration::from_millis(100);
    assert_eq!(bench.run(&containers, step).await.exit, StepExit::TimedOut);
    let mut step = bench.shell("true");
    step.lowers = vec![PathBuf::from("/not/on/this/machine")];
    let (output, _said) = mpsc::channel(1);
    let refused = containers.run(step, output, CancellationToken::new()).await;
    assert!(
        matches!(&refused, Err(EngineError::Setup { why, .. }) if why.contains("/not/on/this")),
        "{refused:?}"
    );
    // A container that was dropped while it was made.
    let (output, _said) = mpsc::channel(1);
    let running =
        containers.run(bench.shell(&format!("sleep 1000; : {marker}")), output, CancellationToken::new());
    assert!(tokio::time::timeout(Duration::from_millis(30), running).await.is_err());
    eventually("all containers and volumes to be gone", || nothing_of(&containers, std::process::id())).await;
    assert_eq!(processes_with(&marker), [0_u32; 0]);
}

/// Other tests of this process have steps of their own at the same time, so this looks more than once.
fn nothing_of(containers: &Containers, pid: u32) -> bool {
    !containers.daemon.says("/containers/json?all=1").contains(&format!("staith-{pid}-"))
}

/// Not a test by itself: the process that the test below kills.
#[test]
fn drive_an_engine_when_told() {
    let told = [DRIVE, DRIVE_AT, DRIVE_IN].map(|name| std::env::var(name).ok());
    let [Some(marker), Some(host), Some(state)] = told else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let place = PathBuf::from(&state);
        let engine = DockerEngine::at(Some(host), helper(), place.clone());
        let engine = engine.allowing_images_below(vec![place.parent().unwrap().to_path_buf()]);
        let reference = Some(place.parent().unwrap().join("rootfs.tar").display().to_string());
        let image = engine.image(&ImageSpec { reference, tools: Vec::new() }, &|_| {}).await.unwrap();
        let owner = engine.probe().await.unwrap().file_owner;
        let bench = Bench { place: tempfile::tempdir_in(&place).unwrap(), owner, image };
        let script = format!(
            "trap '' TERM HUP; setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1000; done; : {marker}' & \
             while :; do sleep 1000; done; : {marker}"
        );
        let (output, mut said) = mpsc::channel(16);
        let step = bench.shell(&script);
        let (_exit, ()) = tokio::join!(engine.run(step, output, CancellationToken::new()), async {
            while said.recv().await.is_some() {}
        });
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_staith_ends_its_steps_and_reaping_removes_the_rest() {
    let containers = containers(Kind::Docker);
    containers.probe().await.unwrap();
    let marker = format!("staith-marker-killed-{}", std::process::id());
    fs::create_dir_all(containers.daemon.scratch()).unwrap();
    let mut driver = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "drive_an_engine_when_told", "--nocapture"])
        .env(DRIVE, &marker)
        .env(DRIVE_AT, containers.daemon.host())
        .env(DRIVE_IN, containers.daemon.scratch())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // The step's two shells.
    eventually("the step to run", || processes_with(&marker).len() >= 2).await;
    kill(Pid::from_raw(i32::try_from(driver.id()).unwrap()), Signal::SIGKILL).unwrap();
    driver.wait().unwrap();
    eventually("the step's processes to be gone", || processes_with(&marker).is_empty()).await;
    assert!(!nothing_of(&containers, driver.id()), "its name is left until somebody reaps it");
    assert!(containers.reap().await.unwrap() >= 1);
    assert!(nothing_of(&containers, driver.id()));
    let places = |base: PathBuf| fs::read_dir(base).unwrap().flatten().map(|entry| entry.file_name());
    let left = places(containers.daemon.scratch())
        .any(|name| name.to_string_lossy().starts_with(&format!("staith-{}-", driver.id())));
    assert!(!left);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_is_gone_with_the_last_step() {
    let containers = containers(Kind::Docker);
    let bench = Bench::new(&containers).await;
    for network in [Network::None, Network::Loopback, Network::Outbound] {
        let mut step = bench.shell("echo x > made");
        step.network = network;
        assert_eq!(bench.run(&containers, step).await.exit, StepExit::Code(0));
    }
    // Other tests may be at work; they end.
    eventually("nothing to be left", || nothing_is_left(&containers)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_can_not_be_had_are_errors_with_remedies() {
    let containers = containers(Kind::Docker);
    let wanted = |reference: &str| ImageSpec { reference: Some(reference.to_owned()), tools: Vec::new() };
    let place = containers.daemon.place().to_path_buf();
    fs::write(place.join("text.tar"), "no archive").unwrap();
    fs::create_dir_all(place.join("folder")).unwrap();
    let inside = |name: &str| place.join(name).display().to_string();
    for (reference, part) in [
        // Refused at once by an address that is nobody's.
        ("localhost:1/no/such:1".to_owned(), "docker pull localhost:1/no/such:1"),
        (inside("text.tar"), "rootfs.tar"),
        (inside("folder"), "tar -C"),
        (inside("absent.tar"), "STAITH_IMAGE_ROOTS"),
        ("/etc/passwd".to_owned(), "STAITH_IMAGE_ROOTS"),
        ("No Such Image".to_owned(), "node:22"),
    ] {
        let refused = containers.image(&wanted(&reference), &|_| {}).await;
        let Err(EngineError::ImageMissing { remedy, .. }) = &refused else {
            panic!("{reference}: {refused:?}")
        };
        assert!(remedy.contains(part), "{reference}: {remedy}");
    }
    let careful = containers.engine.clone().with_caution(Caution::default());
    let refused = careful.image(&wanted("localhost:1/no/such:1"), &|_| {}).await;
    assert!(
        matches!(&refused, Err(EngineError::ImageMissing { remedy, .. }) if remedy.contains("STAITH_ALLOW_HOSTS=localhost:1")),
        "{refused:?}"
    );
    let none = containers.engine.image(&ImageSpec::default(), &|_| {}).await;
    assert!(
        matches!(&none, Err(EngineError::Unsupported { remedy, .. }) if remedy.contains("image = ")),
        "{none:?}"
    );
    let tools = vec![Tool::Known("rust".parse().unwrap())];
    let refused = containers.image(&ImageSpec { reference: None, tools }, &|_| {}).await;
    assert!(
        matches!(&refused, Err(EngineError::ToolMissing { remedy, .. }) if remedy.contains("image")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_from_an_archive_keeps_its_digest_until_the_archive_changes() {
    let containers = containers(Kind::Docker);
    let place = tempfile::tempdir_in(containers.daemon.place()).unwrap();
    let archive = place.path().join("image.tar");
    let pack = |text: &str| {
        fs::create_dir_all(place.path().join("root/bin")).unwrap();
        fs::write(place.path().join("root/bin/text"), text).unwrap();
        let root = place.path().join("root");
        assert!(
            Command::new("tar")
                .arg("-C")
                .arg(root)
                .arg("-cf")
                .arg(&archive)
                .arg(".")
                .status()
                .unwrap()
                .success()
        );
    };
    let wanted = ImageSpec { reference: Some(archive.display().to_string()), tools: Vec::new() };
    pack("one");
    let first = containers.image(&wanted, &|_| {}).await.unwrap();
    assert_eq!(containers.image(&wanted, &|_| {}).await.unwrap(), first);
    pack("another");
    assert_ne!(containers.image(&wanted, &|_| {}).await.unwrap().digest, first.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_image_is_needed_to_start_in_it() {
    let containers = containers(Kind::Docker);
    let place = tempfile::tempdir_in(containers.daemon.place()).unwrap();
    fs::create_dir(place.path().join("root")).unwrap();
    fs::write(place.path().join("root/only"), "").unwrap();
    let archive = place.path().join("empty.tar");
    let root = place.path().join("root");
    assert!(
        Command::new("tar").arg("-C").arg(root).arg("-cf").arg(&archive).arg(".").status().unwrap().success()
    );
    let mut bench = Bench::new(&containers).await;
    let wanted = ImageSpec { reference: Some(archive.display().to_string()), tools: Vec::new() };
    bench.image = containers.image(&wanted, &|_| {}).await.unwrap();
    let ended = bench.run(&containers, bench.argv(&["sh"])).await;
    let StepExit::NotStarted { why, .. } = &ended.exit else { panic!("{ended:?}") };
    assert!(why.contains("use an image that has it"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_named_as_a_tool_is_shown() {
    let daemon = containers(Kind::Docker).daemon;
    let tool = tempfile::tempdir_in(daemon.place()).unwrap();
    fs::create_dir(tool.path().join("bin")).unwrap();
    fs::write(tool.path().join("bin/greet"), "#!/bin/sh\necho hello from a tool\n").unwrap();
    for path in [tool.path().to_path_buf(), tool.path().join("bin"), tool.path().join("bin/greet")] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let roots = vec![daemon.place().to_path_buf()];
    let engine = DockerEngine::at(Some(daemon.host()), helper(), daemon.scratch());
    let engine = engine.allowing_images_below(roots.clone()).allowing_tools_below(roots);
    let path = tool.path().display().to_string();
    let wanted = ImageSpec {
        reference: Some(daemon.image().display().to_string()),
        tools: vec![Tool::Directory { name: "greeter".parse().unwrap(), path }],
    };
    let image = engine.image(&wanted, &|_| {}).await.unwrap();
    let bare = engine.image(&ImageSpec { tools: Vec::new(), ..wanted }, &|_| {}).await.unwrap();
    assert_ne!(image.digest, bare.digest);
    let owner = engine.probe().await.unwrap().file_owner;
    let bench = Bench { place: tempfile::tempdir().unwrap(), owner, image };
    let mut step = bench.shell("greet; touch /opt/tools/greeter/x 2>/dev/null && echo written || echo kept");
    step.argv = step.argv.iter().map(OsString::from).collect();
    assert_eq!(bench.run(&engine, step).await.stdout, "hello from a tool\nkept\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_step_writes_is_bounded_wherever_it_writes() {
    let containers = containers(Kind::Docker);
    let bench = Bench::new(&containers).await;
    let mut step = bench.shell("for i in $(seq 1000); do head -c 1M /dev/zero > $i; sleep 0.02; done");
    step.limits.disk = Some(8 << 20);
    assert_eq!(bench.run(&containers, step).await.exit, StepExit::DiskUsedUp { limit: 8 << 20 });
    let mut step = bench.shell(
        "head -c 20M /dev/zero > /var/tmp/big 2>/dev/null && echo filled; head -c 20M /dev/zero > /dev/shm/big 2>/dev/null && echo filled; exit 0",
    );
    step.limits.disk = Some(8 << 20);
    assert_eq!(bench.run(&containers, step).await.stdout, "");
}
