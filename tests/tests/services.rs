//! Services beside steps, through the command line: reached by name, fresh for each step, told about when they fail, and gone
//! after it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process};
use staith_tests::{
    container_engine::{ContainerEngine, Kind},
    leavings::wait_until_nothing_is_left,
    registry::{Registry, small_system},
    world::{Said, World},
};

/// Serves at a port, and says to each client who it is and how many it has served.
const SERVER: &str = r#"
import os, socket, sys
name, port = sys.argv[1], int(sys.argv[2])
server = socket.create_server(("127.0.0.1", port))
print("listening as", name, os.environ.get("PASSWORD", ""), flush=True)
served = 0
while True:
    client, _ = server.accept()
    asked = client.makefile("r").readline()
    if not asked:
        continue
    if asked.strip() == "die":
        print("dying", flush=True)
        sys.exit(7)
    served += 1
    client.sendall(f"{name} has served {served}: {asked}".encode())
    client.close()
"#;

/// Asks a server something.
const CLIENT: &str = r#"
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as server:
    server.sendall(sys.argv[3].encode() + b"\n")
    server.shutdown(socket.SHUT_WR)
    print(server.makefile("r").read(), flush=True)
"#;

fn world(pipeline: &str) -> World {
    let world = World::new();
    world.write("server.py", SERVER);
    world.write("client.py", CLIENT);
    describe(&world, pipeline);
    world.commit("first");
    world
}

fn describe(world: &World, pipeline: &str) {
    world.write("runner.toml", &format!("name = \"served\"\nversion = \"1\"\n{pipeline}"));
}

const ONE: &str = r#"
[services.db]
run = ["/usr/bin/python3", "server.py", "db", "5432"]
ready = { port = 5432 }
[steps.test]
run = "/usr/bin/python3 client.py db 5432 hello"
services = ["db"]
"#;

#[test]
fn a_step_reaches_its_service_by_name_and_a_second_run_starts_none() {
    let world = world(ONE);
    let said = world.staith(&["run"]).exits(0).says("db has served 1: hello");
    said.says("started, with service db").says("its service db is ready after").never_says("listening as");
    world.staith(&["run"]).exits(0).says("cached").never_says("service db");
}

#[test]
fn what_a_service_wrote_is_in_the_logs_with_its_name() {
    let world = world(ONE);
    world.staith(&["run"]).exits(0);
    let run = fs::read_dir(world.home().join("runs")).unwrap().flatten().next().unwrap();
    let run = run.file_name().into_string().unwrap();
    for arguments in [vec!["logs"], vec!["logs", &run, "test"]] {
        let said = world.staith(&arguments).exits(0);
        said.says("test/db | listening as db").says("test    | db has served 1: hello");
    }
    world.staith(&["logs", "--json"]).exits(0).says(r#""service":"db""#);
    world.staith(&["logs", "--raw"]).exits(0).never_says("listening");
}

#[test]
fn a_service_that_is_run_otherwise_runs_its_step_again_and_why_says_so() {
    let world = world(ONE);
    world.staith(&["run"]).exits(0);
    world.staith(&["why", "test"]).exits(0).says("cached");
    describe(&world, &ONE.replace(r#""db", "5432"]"#, r#""sql", "5432"]"#));
    world.staith(&["why", "test"]).exits(0).says("command of service `db` was");
    world.staith(&["run"]).exits(0).says("sql has served 1: hello");
    describe(&world, &ONE.replace("ready = {", "env = { A = \"1\" }\nready = {"));
    world.staith(&["why", "test"]).exits(0).says("env of service `db` was");
    world.staith(&["run"]).exits(0).says("db has served 1: hello");
}

#[test]
fn services_with_the_same_port_and_a_step_that_uses_it_too_do_not_meet() {
    let pipeline = r#"
[services.one]
run = ["/usr/bin/python3", "server.py", "first", "8080"]
ready = { port = 8080 }
[services.two]
run = ["/usr/bin/python3", "server.py", "second", "8080"]
ready = { run = ["/usr/bin/python3", "client.py", "127.0.0.1", "8080", "are you there?"] }
ports = [8080]
[steps.test]
services = ["two", "one"]
run = '''
/usr/bin/python3 server.py own 8080 >/dev/null &
until /usr/bin/python3 client.py 127.0.0.1 8080 hello 2>/dev/null; do :; done
/usr/bin/python3 client.py one 8080 hello
/usr/bin/python3 client.py two 8080 hello
kill $!
'''
"#;
    let said = world(pipeline).staith(&["run"]).exits(0).says("first has served 1: hello");
    // The second was asked whether it is ready.
    said.says("second has served 2: hello").says("own has served 1: hello");
}

#[test]
fn a_service_sees_what_the_steps_before_left_and_changes_nothing_of_it() {
    let pipeline = r#"
[services.app]
run = "echo scribble > built/server.py.log; exec /usr/bin/python3 built/server.py app 8080"
ready = { port = 8080 }
[steps.build]
run = "mkdir built; cp server.py built"
outputs = ["built"]
[steps.test]
needs = ["build"]
run = "/usr/bin/python3 client.py app 8080 hello; ls built; touch mine"
services = ["app"]
[steps.again]
needs = ["build"]
run = "/usr/bin/python3 client.py app 8080 hello; ls"
services = ["app"]
"#;
    let said = world(pipeline).staith(&["run"]).exits(0).says("app has served 1: hello");
    said.never_says("served 2").never_says("server.py.log").never_says("| mine");
}

#[test]
fn what_is_not_ready_in_time_is_no_fault_of_the_step() {
    let pipeline = r#"
[services.db]
run = "echo one moment; exec sleep 86421.25"
ready = { port = 5432 }
within = "1s"
[steps.test]
run = "echo tested"
services = ["db"]
"#;
    let said = world(pipeline).staith(&["run"]).exits(30).never_says("| tested");
    said.says("service `db` was not ready within 1 s: nothing listens on port 5432")
        .says("test/db | one moment")
        .says("set `within` in [services.db]");
}

#[test]
fn a_service_that_ends_is_told_before_and_while_the_step_runs() {
    let fails =
        ONE.replace(r#"["/usr/bin/python3", "server.py", "db", "5432"]"#, "\"echo no room >&2; exit 3\"");
    let said = world(&fails).staith(&["run"]).exits(10);
    said.says("service `db` ended before the step was started: exit code 3").says("test/db | no room");
    let dies =
        ONE.replace("5432 hello\"", "5432 die; /usr/bin/python3 client.py db 5432 hello | grep served\"");
    let said = world(&dies).staith(&["run"]).exits(10);
    said.says("its service db has ended: exit code 7")
        .says("exit code 1; its service `db` had ended before: exit code 7")
        .says("test/db | dying");
}

#[test]
fn programs_that_services_need_are_named_before_anything_runs() {
    let pipeline = ONE.replace("\"/usr/bin/python3\", \"server.py\"", "\"no-such-server\"");
    let said = world(&pipeline).staith(&["run"]).exits(30).says("service `db` runs `no-such-server`");
    said.never_says("started");
}

#[test]
fn ctrl_c_ends_the_services_too() {
    for (marker, waits_for) in [("86422.25", "service-ready"), ("86423.25", "step-started")] {
        // The one is interrupted while the step runs, the other while its service starts.
        let never = if waits_for == "service-ready" { "" } else { "sleep 86400;" };
        let pipeline = format!(
            "[services.db]\nrun = \"{never} setsid sleep {marker} & exec /usr/bin/python3 server.py db 5432\"\n\
             ready = {{ port = {} }}\n[steps.test]\nrun = \"sleep {marker}\"\nservices = [\"db\"]\n",
            if never.is_empty() { 5432 } else { 1 }
        );
        let world = world(&pipeline);
        let mut child = world.start(&["run", "--json"]);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains(waits_for) {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0, "{waits_for} is not said");
        }
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
        wait_until_nothing_is_left(&world, child.id(), marker);
    }
}

#[test]
fn a_pull_request_has_no_service_that_its_steps_do_not_name() {
    let pipeline = format!(
        "{}when = 'event != \"pull-request\"'\n[steps.lint]\nrun = \"echo linted\"\n",
        ONE.replace("ready = {", "secrets = { PASSWORD = \"db-password\" }\nready = {")
    );
    let world = world(&pipeline);
    let said = world.staith(&["run", "--event", "pull-request"]).exits(0).says("| linted");
    said.never_says("service");
    // What it names is nothing for a pull request where it needs a secret.
    let asks = pipeline.replace("when = ", "#");
    describe(&world, &asks);
    world.staith(&["run", "--event", "pull-request"]).exits(20).says("service `db`").never_says("linted");
}

#[test]
fn a_secret_of_a_service_is_told_and_masked_and_not_the_steps() {
    let pipeline = ONE
        .replace("ready = {", "secrets = { PASSWORD = \"db-password\" }\nready = {")
        .replace("hello\"", "hello; echo \\\"<$PASSWORD>\\\"\"");
    let world = world(&pipeline);
    let mut set = world.command(&["secret", "set", "db-password"]).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut set.stdin.take().unwrap(), b"open sesame 1001").unwrap();
    assert!(set.wait().unwrap().success());
    let said = world.staith(&["run"]).exits(0).says("its service db is given the secret db-password");
    said.says("| <>").never_says("sesame");
    world.staith(&["logs"]).exits(0).says("listening as db ***").never_says("sesame");
}

/// A system whose program answers at port 8080, as its image says.
const SERVES: &str = r#"{"Cmd":["sh","-c","echo served by $WHO; exec busybox httpd -f -p 8080 -h /etc"],"Env":["WHO=the image"]}"#;

#[test]
fn a_service_runs_what_its_image_says() {
    let registry = Registry::open();
    registry.push("team/web", "1", &small_system("hello from the image"), SERVES);
    let pipeline = format!(
        "[services.web]\nimage = \"{}\"\nready = {{ port = 8080 }}\n[steps.test]\nservices = [\"web\"]\n\
         run = [\"/usr/bin/python3\", \"-c\", \"import urllib.request as u; print(u.urlopen('http://web:8080/greeting').read())\"]\n",
        registry.name("team/web:1")
    );
    let world = world(&pipeline).with_env("STAITH_ALLOW_HOSTS", "127.0.0.1");
    world.staith(&["run"]).exits(0).says("hello from the image");
    world.staith(&["logs"]).exits(0).says("test/web | served by the image");
    world.staith(&["run"]).exits(0).says("cached");
    registry.push("team/web", "1", &small_system("another image"), SERVES);
    world.staith(&["run"]).exits(0).says("another image");
    // What the image says is run counts for who runs it, also where nothing else has changed.
    registry.push("team/web", "1", &small_system("another image"), &SERVES.replace("served", "given"));
    world.staith(&["run"]).exits(0).says("| b'another image'");
    world.staith(&["run"]).exits(0).says("cached");
}

#[test]
fn services_run_in_containers_as_well() {
    let engine = ContainerEngine::shared(Kind::Docker);
    engine.take_image("staith.test/host", "1");
    let world = world(&format!("image = \"staith.test/host:1\"\n{ONE}"));
    let run = || {
        let mut command = world.command(&["run", "--engine", "docker"]);
        Said::of(&command.env("DOCKER_HOST", engine.host()).output().unwrap())
    };
    run().exits(0).says("db has served 1: hello");
    run().exits(0).says("cached");
    assert_eq!(engine.says("/containers/json?all=1"), "[]");
}

#[test]
fn in_a_container_a_service_needs_an_image() {
    let pipeline = ONE.replace("[steps.test]", "[steps.test]\nimage = \"debian:12\"");
    let said = world(&pipeline).staith(&["run", "--engine", "docker"]).exits(20);
    said.says("service `db` names no image").says("[services.db]");
}
