//! Steps that run in images: where images come from, when a step runs again, and what is said when there is none.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    thread,
};

use staith_tests::{
    registry::{ADAS_CREDENTIALS, Registry, small_system},
    world::World,
};

fn world(image: &str, run: &str) -> World {
    // Where the tests' registries are. What a pipeline names is not asked there otherwise.
    let world = World::new().with_env("STAITH_ALLOW_HOSTS", "127.0.0.1");
    world.write("runner.toml", &pipeline(image, run));
    world.commit("first");
    world
}

fn pipeline(image: &str, run: &str) -> String {
    format!("name = \"imaged\"\nversion = \"1\"\n[steps.greet]\nimage = \"{image}\"\nrun = '''{run}'''\n")
}

const GREET: &str = "cat /etc/greeting; test ! -e /usr/bin/env; id -u";

#[test]
fn a_step_runs_again_when_its_image_changes_and_only_then() {
    let mut registry = Registry::open();
    let world = world(&registry.name("team/app:1"), GREET);
    registry.push("team/app", "1", &small_system("hello from the image"), "{}");
    world.staith(&["run"]).exits(0).says("hello from the image").says("1000").says("fetching 127.0.0.1");
    world.staith(&["run"]).exits(0).says("cached").never_says("fetching");
    // The same files once more, and something else under the same name.
    registry.push("team/app", "1", &small_system("hello from the image"), r#"{"Cmd":["sh"]}"#);
    world.staith(&["run"]).exits(0).says("cached");
    registry.push("team/app", "1", &small_system("good day"), "{}");
    world.staith(&["run"]).exits(0).says("good day").never_says("hello");
    // What is known needs no registry.
    registry.stop();
    world.staith(&["run"]).exits(0).says("cached").says("as it was last seen");
}

#[test]
fn an_image_that_is_not_there_stops_the_run_before_it_begins() {
    let registry = Registry::open();
    let world = world(&registry.name("team/app:1"), GREET);
    let said = world.staith(&["run"]).exits(30).says("can't be had").says("docker login");
    said.never_says("greet ");
    registry.push("team/app", "1", &small_system("hello"), "{}");
    world.write("runner.toml", &pipeline(&registry.name("team/app:1"), "cargo build"));
    world.staith(&["run"]).exits(30).says("`cargo`").says("another `image`");
    world.write("runner.toml", &pipeline("Team/App:1", GREET));
    world.staith(&["run"]).exits(20).says("write `team/app:1`");
    world.write("runner.toml", &pipeline("127.0.0.2:2375/containers:1", GREET));
    world.staith(&["run"]).exits(30).says("loopback").says("STAITH_ALLOW_HOSTS=127.0.0.2:2375");
    // Nothing of this machine that its owner did not allow.
    world.write("runner.toml", &pipeline("/etc", GREET));
    world.staith(&["run"]).exits(30).says("STAITH_IMAGE_ROOTS");
}

#[test]
fn a_private_registry_gives_to_those_who_have_signed_in() {
    let registry = Registry::private();
    registry.push("team/app", "1", &small_system("for ada"), "{}");
    let world = world(&registry.name("team/app:1"), GREET);
    let docker = world.scratch().join("docker");
    fs::create_dir(&docker).unwrap();
    let run = |config: &str, path: Option<&std::path::Path>| {
        fs::write(docker.join("config.json"), config).unwrap();
        let mut command = world.command(&["run"]);
        command.env("DOCKER_CONFIG", &docker);
        if let Some(path) = path {
            command.env("PATH", format!("{}:/usr/bin:/bin", path.display()));
        }
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let (code, said) = run("{}", None);
    assert!(code == Some(30) && said.contains("docker login"), "{said}");
    let wrong = format!(
        "{{\"auths\":{{\"{}\":{{\"auth\":\"YWRhOndyb25n\"}}}}}}",
        registry.name("").trim_end_matches('/')
    );
    let (code, said) = run(&wrong, None);
    assert!(code == Some(30) && !said.contains("wrong"), "{said}");
    let right = wrong.replace("YWRhOndyb25n", ADAS_CREDENTIALS);
    let (code, said) = run(&right, None);
    assert!(code == Some(0) && said.contains("for ada"), "{said}");
    // The same by a helper, as docker asks it.
    registry.push("team/app", "1", &small_system("for ada again"), "{}");
    let helper = world.scratch().join("docker-credential-test");
    fs::write(&helper, "#!/bin/sh\ncat >/dev/null\necho '{\"Username\":\"ada\",\"Secret\":\"secret\"}'\n")
        .unwrap();
    fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (code, said) = run("{\"credsStore\":\"test\"}", Some(world.scratch()));
    assert!(code == Some(0) && said.contains("for ada again"), "{said}");
}

#[test]
fn an_archive_that_the_machines_owner_allows_is_an_image() {
    let world = world("./system.tar", GREET);
    fs::create_dir(world.scratch().join("allowed")).unwrap();
    fs::write(world.scratch().join("allowed/system.tar"), small_system("out of an archive")).unwrap();
    world.staith(&["run"]).exits(30).says("STAITH_IMAGE_ROOTS");
    let run = || {
        let mut command = world.command(&["run"]);
        command.env("STAITH_IMAGE_ROOTS", world.scratch().join("allowed"));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = run();
    assert!(code == Some(0) && said.contains("out of an archive"), "{said}");
    let (code, said) = run();
    assert!(code == Some(0) && said.contains("cached"), "{said}");
}

#[test]
fn an_ordinary_user_runs_steps_in_images_as_well() {
    let registry = Registry::open();
    registry.push("team/app", "1", &small_system("hello, whoever you are"), "{}");
    let run = "cat /etc/greeting; echo mine > /etc/greeting; cat /etc/greeting; echo x > /dev/null";
    let world = world(&registry.name("team/app:1"), run).by_an_ordinary_user();
    world.staith(&["run"]).exits(0).says("hello, whoever you are").says("mine");
    world.staith(&["run"]).exits(0).says("cached");
}

/// A registry whose answer to every question about `endless` does not end.
fn endless_registry(endless: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let token = format!("WWW-Authenticate: Bearer realm=\"http://{address}/token\",service=\"x\"");
    // Ends with the test program.
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let token = token.clone();
            thread::spawn(move || -> std::io::Result<()> {
                let mut first = String::new();
                BufReader::new(&client).read_line(&mut first)?;
                let mut to = &client;
                if first.contains(endless) {
                    write!(to, "HTTP/1.1 200 X\r\nContent-Length: 1000000000000\r\n\r\n")?;
                    let garbage = vec![b' '; 1 << 20];
                    // Until nobody listens any more.
                    loop {
                        to.write_all(&garbage)?;
                    }
                }
                let challenge = if endless == "/token" { token.as_str() } else { "X: y" };
                let status = if endless == "/token" { 401 } else { 200 };
                write!(
                    to,
                    "HTTP/1.1 {status} X\r\nContent-Length: 2\r\nConnection: close\r\n{challenge}\r\n\r\n{{}}"
                )
            });
        }
    });
    address
}

#[test]
fn an_answer_without_end_is_not_taken_in() {
    for endless in ["GET /v2/app/manifests/", "/token"] {
        let address = endless_registry(endless);
        let world = world(&format!("{address}/app:1"), GREET);
        let said = world.staith(&["run"]).exits(30).says("answers with more than 128 MiB");
        said.says("check the image's name");
    }
}
