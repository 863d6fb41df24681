//! `staith run --release local`, `rollback`, `status`, `stop`: what serves, through success, failure and death.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use staith_tests::{app::bell, load::Load, wait, world::World};

/// What the proxy answers now: status line and body.
fn ask(to: SocketAddr, path: &str) -> Result<(String, String), std::io::Error> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}

#[track_caller]
fn serves(world: &World, word: &str) {
    let (status, body) = ask(world.listen, "/").unwrap();
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", word));
}

fn release(world: &World, word: &str) {
    world.write("word.txt", word);
    world.staith(&["run", "--release", "local"]).exits(0);
    serves(world, word);
}

#[test]
fn a_release_serves_and_a_second_takes_over_and_rollback_brings_the_first_back() {
    let world = bell("ding");
    let said = world.staith(&["run", "--release", "local"]).exits(0);
    said.says(&format!("http://{}", world.listen));
    serves(&world, "ding");
    release(&world, "dong");
    world.staith(&["status"]).exits(0).says("bell").says("blue").says("green").says("1.0.0+c.");
    let began = Instant::now();
    world.staith(&["rollback"]).exits(0);
    println!("rollback took {} ms", began.elapsed().as_millis());
    serves(&world, "ding");
    let journal = world.home().join("environments/bell/local");
    assert!(journal.is_dir());
    world.staith(&["stop"]).exits(0);
    assert!(ask(world.listen, "/").is_err(), "something still listens");
    world.staith(&["status"]).exits(0).says("not running");
    world.staith(&["run", "--release", "local"]).exits(0);
    serves(&world, "dong");
}

#[test]
fn a_rerun_changes_nothing_and_says_so() {
    let world = bell("ding");
    world.staith(&["run", "--release", "local"]).exits(0);
    let before = world.staith(&["status", "--json"]).exits(0).out;
    world.staith(&["run", "--release", "local"]).exits(0).says("already");
    let after = world.staith(&["status", "--json"]).exits(0).out;
    let pids = |status: &str| -> Vec<String> {
        let status: serde_json::Value = serde_json::from_str(status).unwrap();
        let mut pids = vec![];
        collect(&status, "pid", &mut pids);
        pids
    };
    assert_eq!(pids(&before), pids(&after));
    assert!(!pids(&before).is_empty());
}

fn collect(value: &serde_json::Value, key: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                if name == key {
                    found.push(value.to_string());
                }
                collect(value, key, found);
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| collect(value, key, found)),
        _ => {}
    }
}

#[test]
fn no_request_fails_while_releases_change() {
    let world = bell("ding");
    world.staith(&["run", "--release", "local"]).exits(0);
    let load = Load::start(world.listen, "/", 16);
    for round in 0..3 {
        let far = load.asked() + 300;
        wait::until("the load has run on", || (load.asked() > far).then_some(()));
        release(&world, &format!("dong {round}"));
        world.staith(&["rollback"]).exits(0);
        world.staith(&["rollback"]).exits(0);
    }
    let seen = load.stop();
    println!("{} requests, {} failed", seen.answered, seen.failed());
    assert_eq!(seen.failed(), 0, "{:?}", seen.failures);
    assert!(seen.releases.iter().any(|of_one| of_one.len() > 3), "the load saw no switch");
}

#[test]
fn a_release_that_never_gets_well_is_taken_back() {
    let world = bell("ding");
    world.staith(&["run", "--release", "local"]).exits(0);
    world.edit("runner.toml", |text| text.replace("deadline = \"20s\"", "deadline = \"2s\""));
    for (word, sign) in [("broken", "the bell is broken"), ("sick", "500"), ("liar", "another")] {
        world.write("word.txt", word);
        let said = world.staith(&["run", "--release", "local"]).exits(40);
        said.says(sign).says("health");
        serves(&world, "ding");
    }
    release(&world, "dong");
}

#[test]
fn a_first_release_that_fails_leaves_nothing_serving() {
    let world = bell("broken");
    world.staith(&["run", "--release", "local"]).exits(40).says("the bell is broken");
    release(&world, "ding");
}

#[test]
fn a_taken_port_is_found_before_anything_runs_and_names_who_has_it() {
    let world = bell("ding");
    let _holder = TcpListener::bind(world.listen).unwrap();
    let said = world.staith(&["run", "--release", "local"]).exits(30);
    said.says(&world.listen.to_string()).says(&std::process::id().to_string()).says("listen");
    assert!(!world.home().join("runs").exists(), "something ran");
}

#[test]
fn a_request_in_flight_is_answered_by_the_release_it_came_to() {
    let world = bell("ding");
    world.staith(&["run", "--release", "local"]).exits(0);
    let listen = world.listen;
    let slow = std::thread::spawn(move || ask(listen, "/slow?1.5").unwrap().1);
    wait::until("the slow request has arrived", || {
        world.staith(&["status", "--json"]).out.contains("\"in_flight\":1").then_some(())
    });
    release(&world, "dong");
    assert_eq!(slow.join().unwrap(), "ding");
}

#[test]
fn a_refused_first_release_hides_no_other_environment() {
    let world = bell("ding");
    world.staith(&["run", "--release", "local"]).exits(0);
    world.edit("runner.toml", |text| text.replace("name = \"bell\"", "name = \"alarm\""));
    world.staith(&["run", "--release", "local"]).exits(30).says("staith stop bell");
    world.staith(&["status"]).exits(0).says("bell").never_says("alarm");
}

#[test]
fn another_address_is_refused_before_anything_runs() {
    let world = bell("ding");
    world.staith(&["run", "--release", "local"]).exits(0);
    let listen = world.listen.to_string();
    world.edit("runner.toml", |text| text.replace(&listen, "127.0.0.1:1"));
    world.staith(&["run", "--release", "local"]).exits(30).says("staith stop bell").never_says("cached");
    serves(&world, "ding");
}

#[test]
fn a_program_that_can_not_be_started_is_found_before_the_warm_release_goes() {
    let world = bell("ding");
    world.staith(&["run", "--release", "local"]).exits(0);
    release(&world, "dong");
    world.edit("runner.toml", |text| text.replace("[\"python3\", \"app.py\"]", "[\"no-such-program\"]"));
    world.staith(&["run", "--release", "local"]).exits(30).says("no-such-program").never_says("cached");
    world.edit("runner.toml", |text| text.replace("no-such-program", "./app.pi"));
    world.staith(&["run", "--release", "local"]).says("app.pi").says("app.py");
    world.staith(&["rollback"]).exits(0);
    serves(&world, "ding");
}

#[test]
fn rollback_says_what_is_wrong_when_there_is_nothing_to_go_back_to() {
    let world = bell("ding");
    world.staith(&["rollback"]).exits(20).says("bell");
    world.staith(&["run", "--release", "local"]).exits(0);
    world.staith(&["rollback"]).exits(20).says("no previous release");
    serves(&world, "ding");
}

/// The issue's own test: killed at twenty random points, a rerun always converges and the proxy never serves a mix.
#[test]
fn killed_at_twenty_points_a_rerun_converges_and_the_proxy_never_serves_a_mix() {
    let world = bell("ding");
    world.staith(&["run", "--release", "local"]).exits(0);
    let began = Instant::now();
    release(&world, "measure");
    let whole = began.elapsed();
    let load = Load::start(world.listen, "/", 4);
    let mut switched_to = vec![current(&world)];
    for round in 0..20u32 {
        let word = format!("word {round}");
        world.write("word.txt", &word);
        let mut command = world.command(&["run", "--release", "local"]);
        let mut child = command.process_group(0).spawn().unwrap();
        // Spread over the whole of a release, from its first millisecond to its last.
        let moment = whole * (round + 1) / 20;
        let started = Instant::now();
        wait::until("the moment to kill has come", || (started.elapsed() >= moment).then_some(()));
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        child.wait().unwrap();
        let (_, between) = ask(world.listen, "/").unwrap();
        assert!(between == word || between.starts_with("word") || between == "measure", "{between}");
        world.staith(&["run", "--release", "local"]).exits(0);
        serves(&world, &word);
        switched_to.push(current(&world));
    }
    let seen = load.stop();
    assert_eq!(seen.failed(), 0, "{:?}", seen.failures);
    assert!(
        seen.in_order(&switched_to),
        "a client saw an older release after a newer one: {:?}",
        seen.releases
    );
}

/// The release that serves now, as the application says.
fn current(world: &World) -> String {
    let mut stream = TcpStream::connect(world.listen).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let header = answer.lines().find_map(|line| line.strip_prefix("x-staith-release: "));
    header.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[test]
fn a_killed_keeper_comes_back_with_what_it_served() {
    let world = bell("ding");
    world.staith(&["run", "--release", "local"]).exits(0);
    let status: serde_json::Value =
        serde_json::from_str(&world.staith(&["status", "--json"]).exits(0).out).unwrap();
    let mut keepers = vec![];
    collect(&status, "keeper_pid", &mut keepers);
    let keeper: i32 = keepers[0].parse().unwrap();
    kill_process(Pid::from_raw(keeper).unwrap(), Signal::KILL).unwrap();
    wait::until("the keeper is gone", || ask(world.listen, "/").is_err().then_some(()));
    world.staith(&["run", "--release", "local"]).exits(0);
    serves(&world, "ding");
}

#[test]
fn files_are_kept_once_and_old_releases_go() {
    let world = bell("0");
    world.edit("runner.toml", |text| text.replace("health =", "keep = 1\nhealth ="));
    for word in ["1", "2", "3", "4", "5"] {
        release(&world, word);
    }
    let releases = world.home().join("environments/bell/local/releases");
    let kept = fs::read_dir(releases).unwrap().flatten().filter(|e| e.file_type().unwrap().is_dir()).count();
    assert!((2..=3).contains(&kept), "{kept} releases are kept");
}
