//! A service that the program on the machine keeps running by itself: no systemd, no superuser.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod machine_support;

use std::{
    fs,
    future::Future,
    process::Command,
    time::{Duration, Instant},
};

use machine_support::{Here, contract::supervised, order, release_of, stage};
use rustix::process::{Pid, Signal, kill_process};
use staith_model::{HealthCheck, Secret, Service};
use staith_releaser::{
    fleet::{
        machine::{Machine as _, MachineError, Question, Serving},
        remote::RemoteMachine,
    },
    health::{Verdict, explain},
    host::{Done, Patience},
};

const SLEEPS: &str = "#!/bin/sh\nexec sleep 1000\n";

/// A machine whose service is ended with the test.
struct Site {
    here: Here,
    machine: RemoteMachine,
}

impl Site {
    fn new() -> Self {
        let here = Here::new();
        Self { machine: here.machine(), here }
    }

    async fn runs(&self, name: &str, script: &str) -> Result<Done, MachineError> {
        let (tree, load) = supervised(name, script);
        stage(&self.machine, &order(1), &load, &tree).await.unwrap();
        self.machine.switch(&order(1), Some(&release_of(name))).await
    }

    fn log(&self) -> String {
        fs::read_to_string(self.here.folder().join("service.log")).unwrap_or_default()
    }

    /// The application's process, as it wrote down itself.
    fn pid(&self) -> Option<Pid> {
        let text = fs::read(self.here.folder().join(".running")).ok()?;
        let value: serde_json::Value = serde_json::from_slice(&text).ok()?;
        Pid::from_raw(i32::try_from(value["pid"].as_i64()?).ok()?)
    }

    /// Who started it: the process that keeps it running.
    fn keeper(&self) -> Pid {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid().unwrap())).unwrap();
        let parent = stat.rsplit(')').next().unwrap().split_ascii_whitespace().nth(1).unwrap();
        Pid::from_raw(parent.parse().unwrap()).unwrap()
    }

    async fn serves(&self, name: &str) {
        let wanted = Some(Serving::Up(Some(release_of(name))));
        until("it serves", || async {
            (self.machine.observe().await.unwrap().serving == wanted).then_some(())
        })
        .await;
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let folder = self.here.folder();
        let _ =
            Command::new(folder.join(".staith-machine")).arg("stop").arg("--folder").arg(&folder).status();
    }
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_there(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .and_then(|rest| rest.split_ascii_whitespace().next())
        .is_some_and(|state| state != "Z")
}

fn question(name: &str, deadline_seconds: u64) -> Question {
    let check = HealthCheck {
        path: "/".into(),
        release_header: None,
        release_file: None,
        deadline_seconds,
        successes: 1,
    };
    // A moment between two starts does not count.
    Question { release: release_of(name), port: None, check: Some(check), min_healthy_seconds: 5 }
}

#[tokio::test]
async fn a_service_that_falls_over_is_started_again() {
    let site = Site::new();
    site.runs("a", SLEEPS).await.unwrap();
    let mut before = site.pid().unwrap();
    for _ in 0..3 {
        kill_process(before, Signal::KILL).unwrap();
        let now = until("it is another process", || async { site.pid().filter(|now| *now != before) }).await;
        site.serves("a").await;
        before = now;
    }
    assert!(site.log().contains("staith: the service ended: signal: 9"), "{}", site.log());
    // It was never told to switch again.
    assert_eq!(site.machine.switch(&order(1), Some(&release_of("a"))).await.unwrap(), Done::ALREADY);
}

#[tokio::test]
async fn it_outlives_whoever_deployed_it() {
    let site = Site::new();
    {
        // A conversation of its own, which ends here.
        let other = site.here.machine();
        let (tree, load) = supervised("a", SLEEPS);
        stage(&other, &order(1), &load, &tree).await.unwrap();
        other.switch(&order(1), Some(&release_of("a"))).await.unwrap();
    }
    let (pid, keeper) = (site.pid().unwrap(), site.keeper());
    let session = |pid: Pid| rustix::process::getsid(Some(pid)).unwrap();
    assert_eq!(session(keeper), keeper, "it has a session of its own");
    // Ours may have begun outside of this process namespace, and then has no number here.
    let ours = fs::read_to_string("/proc/self/stat").unwrap();
    let ours = ours.rsplit(')').next().unwrap().split_ascii_whitespace().nth(3).unwrap().to_owned();
    assert_ne!(session(pid).as_raw_nonzero().to_string(), ours);
    let of_us = until("nobody of us is its parent any more", || async {
        let stat = fs::read_to_string(format!("/proc/{keeper}/stat")).unwrap();
        let parent = stat.rsplit(')').next().unwrap().split_ascii_whitespace().nth(1).unwrap().to_owned();
        let exe = fs::read_link(format!("/proc/{parent}/exe")).unwrap_or_default();
        (!exe.to_string_lossy().contains("staith-machine")).then_some(())
    });
    of_us.await;
    assert!(is_there(pid) && is_there(keeper));
    site.serves("a").await;
}

#[tokio::test]
async fn a_keeper_that_is_killed_is_replaced_and_nothing_runs_twice() {
    let site = Site::new();
    site.runs("a", SLEEPS).await.unwrap();
    let orphan = site.pid().unwrap();
    kill_process(site.keeper(), Signal::KILL).unwrap();
    // It still runs, and nobody would start it again: so that is not what was asked for.
    until("it is told", || async {
        (site.machine.observe().await.unwrap().serving == Some(Serving::Up(None))).then_some(())
    })
    .await;
    assert!(is_there(orphan));
    assert_eq!(site.machine.switch(&order(1), Some(&release_of("a"))).await.unwrap(), Done::NOW);
    site.serves("a").await;
    assert!(!is_there(orphan));
    kill_process(site.keeper(), Signal::KILL).unwrap();
    let orphan = site.pid().unwrap();
    assert_eq!(site.machine.switch(&order(1), None).await.unwrap(), Done::NOW);
    assert!(!is_there(orphan));
}

#[tokio::test]
async fn a_stop_ends_the_whole_group_and_what_ignores_it() {
    let site = Site::new();
    let (tree, mut load) = supervised(
        "stubborn",
        "#!/bin/sh\ntrap '' TERM\nsleep 1001 &\necho $! > \"$STAITH_FOLDER/child\"\nwhile :; do sleep 1000; done\n",
    );
    let Service::Supervised { stop_seconds, .. } = &mut load.service else { panic!() };
    *stop_seconds = 1;
    stage(&site.machine, &order(1), &load, &tree).await.unwrap();
    site.machine.switch(&order(1), Some(&load.release)).await.unwrap();
    let child = until("it has a child", || async {
        let text = fs::read_to_string(site.here.folder().join("child")).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    })
    .await;
    let (pid, keeper) = (site.pid().unwrap(), site.keeper());
    site.machine.switch(&order(1), None).await.unwrap();
    assert!(!is_there(pid) && !is_there(child));
    until("nobody keeps it", || async { (!is_there(keeper)).then_some(()) }).await;
}

#[tokio::test]
async fn what_it_said_last_is_told_when_it_is_not_healthy() {
    let site = Site::new();
    let script = "#!/bin/sh\nfor n in $(seq 30); do echo line $n; done\necho 'no database' >&2\nexit 3\n";
    site.runs("a", script).await.unwrap();
    until("it has fallen over", || async { site.log().contains("exit status: 3").then_some(()) }).await;
    let health = site.machine.probe(&question("a", 1), Patience::Deadline).await.unwrap();
    assert_eq!(health.verdict, Verdict::Unhealthy);
    let text = explain(&health);
    assert!(text.contains("  | no database") && text.contains("service.log"), "{text}");
    assert!(health.log.unwrap().lines.lines().count() <= 20, "{text}");
}

#[tokio::test]
async fn it_is_healthy_when_it_has_been_so_for_as_long_as_was_asked_for() {
    let site = Site::new();
    site.runs("a", SLEEPS).await.unwrap();
    let asked = Question { min_healthy_seconds: 2, ..question("a", 1) };
    let health = site.machine.probe(&asked, Patience::Deadline).await.unwrap();
    assert_eq!(health.verdict, Verdict::Healthy);
    // At least; and not only until the deadline, within which it has to answer for the first time.
    assert!(health.took >= Duration::from_secs(2), "{:?}", health.took);
    // Who only glances does not wait for that.
    let glance = site.machine.probe(&question("a", 1), Patience::Glance).await.unwrap();
    assert_eq!(glance.verdict, Verdict::Healthy);
}

#[tokio::test]
async fn a_service_that_falls_over_before_its_time_is_up_is_not_healthy() {
    let site = Site::new();
    // It runs when it is asked first, and whenever it was started again.
    site.runs("a", "#!/bin/sh\nsleep 1\nexit 3\n").await.unwrap();
    site.serves("a").await;
    let health = site.machine.probe(&question("a", 1), Patience::Deadline).await.unwrap();
    assert_eq!(health.verdict, Verdict::Unhealthy, "{health:?}");
    assert!(explain(&health).contains("exit status: 3"), "{}", explain(&health));
}

#[tokio::test]
async fn a_program_that_can_not_be_started_is_told_at_once() {
    let site = Site::new();
    let refused = site.runs("a", "#!/not/on/this/machine\n").await;
    let Err(MachineError::Refused { why, remedy, .. }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("`./run` can't be started"), "{why}");
    assert!(remedy.contains("runner.toml"), "{remedy}");
    site.runs("b", SLEEPS).await.unwrap();
    site.serves("b").await;
}

#[tokio::test]
async fn it_gets_its_own_environment_and_secrets_and_nothing_of_the_deployer() {
    let mut site = Site::new();
    site.machine = site.here.machine_with(&[("DEPLOYERS_TOKEN", "abc")]);
    let (tree, mut load) = supervised(
        "a",
        "#!/bin/sh\nenv > \"$STAITH_FOLDER/env.new\"\nmv \"$STAITH_FOLDER/env.new\" \"$STAITH_FOLDER/env\"\nexec sleep 1000\n",
    );
    let Service::Supervised { env, .. } = &mut load.service else { panic!() };
    env.insert("PORT".into(), "9001".into());
    load.secrets = vec![("TOKEN".into(), Secret::new("s3cret"))];
    stage(&site.machine, &order(1), &load, &tree).await.unwrap();
    site.machine.switch(&order(1), Some(&load.release)).await.unwrap();
    let env =
        until("it has told", || async { fs::read_to_string(site.here.folder().join("env")).ok() }).await;
    for line in ["PORT=9001", "TOKEN=s3cret", &format!("STAITH_RELEASE={}", load.release)] {
        assert!(env.lines().any(|there| there == line), "{line}: {env}");
    }
    assert!(!env.contains("DEPLOYERS_TOKEN") && env.contains("PATH="), "{env}");
}
