//! Steps that run in an image.

use std::{fs, os::unix::fs::symlink, path::Path};

use staith_builder::engine::StepExit;
use staith_model::Network;

use super::{
    engine, image,
    parts::{Layer, busybox, greeting, image as made, packed},
    server::Registry,
    support::bench::Bench,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_step_sees_its_image_and_changes_only_a_copy() {
    let (place, registry) = (tempfile::tempdir().unwrap(), Registry::start());
    let engine = engine(place.path());
    registry.push("1", &greeting("hello from the image"));
    let mut bench = Bench::new(&engine).await;
    bench.image = image(&engine, &registry.name("app:1")).await.unwrap();
    let script = "greet; echo; echo $WHO $HOME; id -un; ls /etc/old 2>/dev/null || echo gone; \
                  echo changed > /etc/greeting; mkdir /usr/made; echo x > /usr/made/x; rm /etc/passwd; greet; \
                  echo out > result; cat /workspace/result";
    let said = bench.say(&engine, script).await;
    assert_eq!(said, "hello from the image\nimage /home/builder\nbuilder\ngone\nchanged\nout\n");
    // Another step starts from the image as it is.
    assert_eq!(
        bench.say(&engine, "greet; ls /usr; ls /etc").await,
        "hello from the imagelocal\ngreeting\ngroup\nhosts\npasswd\nstaith\n"
    );
    let ended = bench.run(&engine, bench.argv(&["no-such-program"])).await;
    assert!(
        matches!(&ended.exit, StepExit::NotStarted { why, .. } if why.contains("use an image")),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_image_says_is_run_where_nothing_else_is() {
    let (place, registry) = (tempfile::tempdir().unwrap(), Registry::start());
    let engine = engine(place.path());
    let files = || busybox().file("srv/app/data", 0o644, "from the image\n").tar();
    let mut bench = Bench::new(&engine).await;
    let mut said = Vec::new();
    for (tag, config) in [
        ("1", r#"{"Entrypoint":["/bin/sh","-c","pwd; cat data $0"],"Cmd":["data"],"WorkingDir":"/srv/app"}"#),
        ("2", r#"{"Cmd":["/bin/sh","-c","pwd"]}"#),
    ] {
        registry.push(tag, &made(&[packed(files())], config));
        bench.image = image(&engine, &registry.name(&format!("app:{tag}"))).await.unwrap();
        said.push((bench.image.digest, bench.run(&engine, bench.argv(&[])).await.stdout));
    }
    assert_eq!(said[0].1, "/srv/app\nfrom the image\nfrom the image\n");
    assert_eq!(said[1].1, "/\n");
    assert_eq!(
        said[0].0, said[1].0,
        "what an image says is run counts for those who run it, in their own key"
    );
    // A step that says what it runs starts where steps do.
    assert_eq!(bench.say(&engine, "pwd").await, "/workspace\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authorities_of_this_host_reach_the_image() {
    let (place, registry) = (tempfile::tempdir().unwrap(), Registry::start());
    let engine = engine(place.path());
    registry.push("1", &made(&[packed(busybox().tar())], r#"{"Env":["SSL_CERT_FILE=/own.pem"]}"#));
    let mut bench = Bench::new(&engine).await;
    bench.image = image(&engine, &registry.name("app:1")).await.unwrap();
    let mut step = bench.shell(
        "grep -c BEGIN $NODE_EXTRA_CA_CERTS; test $NODE_EXTRA_CA_CERTS = $GIT_SSL_CAINFO; echo $SSL_CERT_FILE $CURL_CA_BUNDLE $https_proxy",
    );
    step.network = Network::Outbound;
    step.env = [("CURL_CA_BUNDLE".to_owned(), "/the/steps.pem".to_owned())].into();
    let ended = bench.run(&engine, step).await;
    let (count, rest) = ended.stdout.split_once('\n').unwrap();
    assert!(count.parse::<u32>().unwrap() > 10, "{ended:?}");
    assert_eq!(rest, "/own.pem /the/steps.pem http://127.0.0.1:3128\n");
}

/// Whatever an image has where the sandbox mounts something, nothing of the host is seen or changed, and the step has what
/// it always has.
#[tokio::test(flavor = "multi_thread")]
async fn links_where_the_sandbox_mounts_lead_nowhere() {
    let (place, registry) = (tempfile::tempdir().unwrap(), Registry::start());
    let engine = engine(place.path());
    let outside = place.path().join("outside");
    for name in ["", "builder", "tmp", "shm"] {
        fs::create_dir_all(outside.join(name)).unwrap();
    }
    let target = outside.display().to_string();
    let mut bench = Bench::new(&engine).await;
    for (number, links) in [
        vec!["dev", "etc", "home", "proc", "run", "tmp", "var", "workspace", "sys"],
        vec!["home/builder", "var/tmp", "etc/passwd", "etc/group", "etc/hosts", "etc/staith"],
        vec!["proc/self", "dev/null", "dev/shm", "dev/pts", "proc/sys"],
    ]
    .into_iter()
    .enumerate()
    {
        let mut layer = Layer::new();
        for link in links {
            layer = layer.link(link, &target);
        }
        let tag = number.to_string();
        registry.push(&tag, &made(&[packed(busybox_bare()), packed(layer.tar())], "{}"));
        bench.image = image(&engine, &registry.name(&format!("app:{tag}"))).await.unwrap();
        let script = "echo x > /tmp/x; echo x > /var/tmp/x; echo x > /run/x; echo x > /dev/shm/x; echo x > ~/x; \
                      echo x > /workspace/x; echo x > /dev/null; grep -q builder /etc/passwd; test -d /proc/self; \
                      test ! -e /dev/x; test ! -d /proc/sys/x; echo well";
        assert_eq!(bench.say(&engine, script).await, "well\n", "{number}");
        assert!(untouched(&outside), "{number}");
    }
}

/// Without an `/etc` of its own, so that a link can be there.
fn busybox_bare() -> Vec<u8> {
    let program = ["/bin/busybox", "/usr/bin/busybox"].iter().find_map(|path| fs::read(path).ok()).unwrap();
    let mut layer = Layer::new().file("bin/busybox", 0o755, program);
    for name in ["grep", "sh", "test"] {
        layer = layer.hard_link(&format!("bin/{name}"), "bin/busybox");
    }
    layer.tar()
}

fn untouched(outside: &Path) -> bool {
    let mut names: Vec<_> = fs::read_dir(outside)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names == ["builder", "shm", "tmp"]
        && names.iter().all(|name| fs::read_dir(outside.join(name)).unwrap().next().is_none())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_user_id_program_of_an_image_is_an_ordinary_one() {
    let place = tempfile::tempdir().unwrap();
    let engine = engine(place.path());
    let rootfs = place.path().join("shared/rootfs");
    fs::create_dir_all(rootfs.join("bin")).unwrap();
    fs::copy("/bin/busybox", rootfs.join("bin/busybox")).unwrap();
    fs::set_permissions(rootfs.join("bin/busybox"), std::os::unix::fs::PermissionsExt::from_mode(0o6755))
        .unwrap();
    for name in ["sh", "id", "ls", "grep"] {
        symlink("busybox", rootfs.join("bin").join(name)).unwrap();
    }
    let mut bench = Bench::new(&engine).await;
    bench.image = image(&engine, "./rootfs").await.unwrap();
    assert_eq!(bench.say(&engine, "id -u; ls -l /bin/busybox | grep -c -- '-rwxr-xr-x'").await, "1000\n1\n");
}
