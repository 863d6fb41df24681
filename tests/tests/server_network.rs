//! A server and its hosts with a network between them that fails, and hosts that freeze or are lost: the design's faults F4, F5 and F9 to
//! F13 ([all of them](../../docs/faults.md)). Needs root
//! and nftables, which tests/run installs; says so and checks nothing where network namespaces can't be made.
//!
//! A lease lasts 15 s here as everywhere, so what waits for the end of one runs beside the others.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    process::Command,
};

use rustix::process::Signal;
use staith_model::{
    Digest,
    service::{AttemptState, JobState},
};
use staith_tests::{
    invariants::{self, Job},
    scene::{Scene, all},
    wait,
    wires::{Fault, are_permitted},
};

/// A step that writes a line every twentieth of a second, so often.
fn talks(lines: u32) -> String {
    format!(
        "[steps.talk]\nrun = \"i=0; while [ $i -lt {lines} ]; do echo line $i.; i=$((i+1)); sleep 0.05; done; echo it has ended\"\n"
    )
}

/// A step that lasts longer than a lease.
const LONG: u32 = 360;
/// One that lasts a few seconds.
const SHORT: u32 = 60;

/// Every line is in the log, once, in its order.
#[track_caller]
fn has_every_line(log: &str, lines: u32) {
    let told = |line: &str| line.split_once("line ")?.1.strip_suffix('.')?.parse::<u32>().ok();
    let found: Vec<u32> = log.lines().filter_map(told).collect();
    assert_eq!(found, (0..lines).collect::<Vec<_>>(), "{log}");
    assert!(log.contains("it has ended"), "{log}");
}

/// Milliseconds since 1970 of the first line of a runner's own log that has this text.
#[track_caller]
fn logged_at(log: &str, text: &str) -> u64 {
    let line =
        log.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no `{text}` in\n{log}"));
    let end = line.find('Z').unwrap();
    let begin =
        line[..end].rfind(|c: char| !(c.is_ascii_digit() || "T:-.".contains(c))).map_or(0, |at| at + 1);
    let date = Command::new("date").args(["-u", "+%s%3N", "-d", &line[begin..=end]]).output().unwrap();
    String::from_utf8(date.stdout).unwrap().trim().parse().unwrap()
}

fn only(jobs: &[Job]) -> &Job {
    let [job] = jobs else { panic!("{jobs:?}") };
    job
}

/// The first host loses its job while it is cut off or frozen, the second does it, and what the first one says later is refused.
fn moves_to_the_second(fault: impl Fn(&mut Scene), healed: impl Fn(&mut Scene)) -> (Scene, Job) {
    let mut scene = Scene::new(&talks(LONG));
    scene.host(1);
    let run = scene.run("one");
    let first = scene.attempt(&run, 1);
    scene.is_logged(&first, "talk", "line 5.");
    scene.host(1);
    fault(&mut scene);
    let second = scene.attempt(&run, 2);
    scene.is_logged(&second, "talk", "line 0.");
    let before = scene.log(&first, "talk");
    healed(&mut scene);
    scene.hosts[0].says_of("put-away", &first);
    assert_eq!(scene.log(&first, "talk"), before, "nothing of what does not count is taken");
    assert_eq!(scene.ends(&run), "passed");
    has_every_line(&scene.log(&second, "talk"), LONG);
    let jobs = scene.holds();
    let job = only(&jobs).clone();
    assert_eq!(job.attempts.len(), 2, "{job:?}");
    assert_eq!(job.attempts[0].state, AttemptState::Lost);
    assert!(job.attempts[0].why.as_deref().unwrap().contains("not heard of for 15 s"), "{job:?}");
    (scene, job)
}

/// F9.
fn a_host_that_is_cut_off_falls_silent_before_its_job_is_given_away() {
    let cut = std::cell::Cell::new(0);
    let (scene, job) = moves_to_the_second(
        |scene| {
            scene.hosts[0].wire().has(Fault::Cut);
            cut.set(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis());
        },
        |scene| scene.hosts[0].wire().heals(),
    );
    let silent = logged_at(&scene.hosts[0].log(), "the lease is over: nothing goes out");
    let (lost, again) = (job.attempts[0].ended, job.attempts[1].began);
    assert!(
        silent < lost && lost <= again,
        "it fell silent at {silent}, was given up at {lost} and given away at {again}"
    );
    assert!(u128::from(again) <= cut.get() + 20_000, "cut off at {}, given away at {again}", cut.get());
}

/// F4.
fn a_host_that_is_lost_with_all_that_it_runs_is_noticed_in_time() {
    let lost = std::cell::Cell::new(0);
    let (_scene, job) = moves_to_the_second(
        |scene| {
            scene.hosts[0].is_lost();
            lost.set(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis());
        },
        |scene| scene.hosts[0].starts(1),
    );
    let (noticed, again) = (job.attempts[0].ended, job.attempts[1].began);
    // A lease that was renewed right before lasts 15 s; what a machine under load takes beside that is little.
    assert!(u128::from(noticed) <= lost.get() + 16_000, "lost at {}, noticed at {noticed}", lost.get());
    assert!(u128::from(again) <= lost.get() + 20_000, "lost at {}, given away at {again}", lost.get());
}

/// F5.
fn a_runner_that_froze_finds_its_job_gone_and_ends_it() {
    moves_to_the_second(
        |scene| scene.hosts[0].signal(Signal::STOP),
        |scene| scene.hosts[0].signal(Signal::CONT),
    );
}

/// F10.
fn answers_that_are_lost_cost_nothing_but_time() {
    let mut scene = Scene::new(&talks(SHORT));
    scene.host(1).wire().has(Fault::LongAnswersLost);
    // The job is given away, and its runner does not hear of it.
    let run = scene.run("one");
    let attempt = scene.attempt(&run, 1);
    assert_eq!(scene.hosts[0].jobs().len(), 0);
    scene.hosts[0].wire().forget_connections();
    scene.is_logged(&attempt, "talk", "line 5.");
    // What is sent arrives, and its runner does not hear of it.
    scene.hosts[0].wire().has(Fault::AnswersLost);
    wait::until("the runner misses an answer", || {
        scene.hosts[0].log().contains("a lease could not be renewed").then_some(())
    });
    scene.hosts[0].wire().heals();
    assert_eq!(scene.ends(&run), "passed");
    has_every_line(&scene.log(&attempt, "talk"), SHORT);
    assert_eq!(only(&scene.holds()).attempts.len(), 1, "the same question has the same answer");
}

/// F11.
fn connections_that_answer_never_are_given_up() {
    let mut scene = Scene::new(&talks(LONG));
    scene.host(1);
    let run = scene.run("one");
    let attempt = scene.attempt(&run, 1);
    scene.is_logged(&attempt, "talk", "line 0.");
    for line in [20, 150] {
        scene.hosts[0].wire().has(Fault::HalfOpen);
        scene.is_logged(&attempt, "talk", &format!("line {line}."));
    }
    assert_eq!(scene.ends(&run), "passed");
    has_every_line(&scene.log(&attempt, "talk"), LONG);
    assert_eq!(only(&scene.holds()).attempts.len(), 1);
}

/// What the server says of a log is what it has of it: closed by the length and the digest of these bytes, of which none was cut off and
/// none came twice as another one.
#[track_caller]
fn is_closed_as(scene: &Scene, run: &str, attempt: &str, log: &str) {
    let listed = scene.server().ask("GET", &format!("/api/v1/runs/{run}/streams"), "").is(200);
    let is_it = |stream: &&serde_json::Value| stream["attempt"] == attempt && stream["name"] == "log.talk";
    let stream = listed.as_array().unwrap().iter().find(is_it).unwrap();
    assert_eq!(stream["length"], log.len(), "{stream}");
    assert_eq!(stream["digest"], Digest::of(log.as_bytes()).to_string(), "{stream}");
    assert!(stream["cut"] == false && stream["divergent"] == false, "{stream}");
}

/// F12, F13.
fn goes_on(fault: Fault) {
    let mut scene = Scene::new(&talks(SHORT));
    scene.host(1);
    scene.hosts[0].wire().has(fault);
    let run = scene.run("one");
    assert_eq!(scene.ends(&run), "passed");
    let jobs = scene.holds();
    let last = only(&jobs).attempts.last().unwrap();
    let log = scene.log(&last.id, "talk");
    has_every_line(&log, SHORT);
    is_closed_as(&scene, &run, &last.id, &log);
    let trouble = scene.hosts[0].log().lines().filter(|line| line.contains("could not be")).count();
    let (attempts, bytes) = (only(&jobs).attempts.len(), log.len());
    println!("{fault:?}: {bytes} bytes, {attempts} attempts, {trouble} questions without an answer");
}

fn storms_of_resets_double_nothing() {
    goes_on(Fault::ResetsOnceArrived);
}

fn a_third_of_all_packets_may_be_lost() {
    goes_on(Fault::Loss(30));
}

#[test]
fn networks_that_fail_and_hosts_that_freeze_lose_and_double_nothing() {
    let scenarios: [(&str, fn()); 7] = [
        ("F9", a_host_that_is_cut_off_falls_silent_before_its_job_is_given_away),
        ("F4", a_host_that_is_lost_with_all_that_it_runs_is_noticed_in_time),
        ("F5", a_runner_that_froze_finds_its_job_gone_and_ends_it),
        ("F10", answers_that_are_lost_cost_nothing_but_time),
        ("F11", connections_that_answer_never_are_given_up),
        ("F12", storms_of_resets_double_nothing),
        ("F13", a_third_of_all_packets_may_be_lost),
    ];
    all(scenarios.len(), &scenarios, |scenario| scenario());
}

/// A stream as it comes: the lines of the answer.
fn followed(scene: &Scene, path: &str) -> impl Iterator<Item = String> + use<> {
    let server = scene.server();
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: server\r\nAccept: text/event-stream\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        server.admin
    );
    stream.write_all(head.as_bytes()).unwrap();
    BufReader::new(stream).lines().map_while(Result::ok)
}

#[test]
fn a_run_on_a_second_host_in_a_network_of_its_own_can_be_watched() {
    if !are_permitted() {
        return;
    }
    let mut scene = Scene::new(&talks(SHORT));
    scene.host(1);
    scene.host_of("far", 1, &[]);
    scene.server().ask("PATCH", "/api/v1/projects/shop", r#"{"pool":"far"}"#).is(200);
    let run = scene.run("one");
    let attempt = scene.attempt(&run, 1);
    assert_eq!(scene.shown(&run)["jobs"][0]["attempts"][0]["runner_name"], "host2");
    scene.is_logged(&attempt, "talk", "line 0.");
    let mut heard = followed(&scene, &format!("/api/v1/attempts/{attempt}/streams/log.talk"));
    assert!(heard.any(|line| line.contains("line 1.")), "it is seen as it comes");
    assert!(scene.shown(&run)["ended"].is_null(), "it is seen before it is over");
    assert!(heard.any(|line| line.contains("it has ended")));
    assert!(heard.any(|line| line.contains("event: end")));
    assert_eq!(scene.ends(&run), "passed");
    assert_eq!(only(&scene.holds()).state, JobState::Passed);
    assert!(invariants::most_memory(scene.server().id()) > 0);
}
