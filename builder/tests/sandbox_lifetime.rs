//! Whatever happens to the process that runs steps, no process of a step outlives it.

mod support;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use staith_builder::engine::{Engine, StepExit};
use support::{
    bench::{Bench, built_in, eventually, processes_with},
    ordinary_user,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Names the marker in a process that this program starts of itself.
const DRIVE: &str = "STAITH_TEST_DRIVE";
/// Its directory, which it can't remove when it is killed.
const DRIVE_IN: &str = "STAITH_TEST_DRIVE_IN";

/// Not a test by itself: the process that the test below kills.
#[test]
fn drive_an_engine_when_told() {
    let (Ok(marker), Some(place)) = (std::env::var(DRIVE), std::env::var_os(DRIVE_IN)) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = built_in(&PathBuf::from(place));
        let bench = Bench::new(&engine).await;
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
async fn killing_the_engine_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let marker = format!("staith-marker-killed-{}", std::process::id());
    let mut driver = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "drive_an_engine_when_told", "--nocapture"])
        .env(DRIVE, &marker)
        .env(DRIVE_IN, place.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // The step's two shells.
    eventually("the step to run", || processes_with(&marker).len() >= 2).await;
    kill(Pid::from_raw(i32::try_from(driver.id()).unwrap()), Signal::SIGKILL).unwrap();
    driver.wait().unwrap();
    eventually("the step's processes to be gone", || processes_with(&marker).is_empty()).await;
    // Its control groups are left, and whoever comes next removes them as soon as the kernel has let go of the processes.
    let engine = built_in(place.path());
    while !groups_of(driver.id()).is_empty() {
        engine.reap().await.unwrap();
    }
}

/// Control groups that a process made and that still exist.
fn groups_of(pid: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if entry.file_name().to_string_lossy().starts_with(&format!("staith-{pid}-")) {
                found.push(entry.path());
            }
            directories.push(entry.path());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_a_helper_ends_its_step_at_once() {
    let place = tempfile::tempdir().unwrap();
    let engine = built_in(place.path());
    let bench = Bench::new(&engine).await;
    let marker = format!("staith-marker-helper-{}", std::process::id());
    let step = bench.shell(&format!("while :; do sleep 1000; done; : {marker}"));
    let upper = step.upper.clone();
    let (output, mut said) = mpsc::channel(16);
    let murder = async {
        eventually("the step to run", || !processes_with(&marker).is_empty()).await;
        // The helper is the parent of the parent of the step's shell.
        let parent = |pid: u32| -> u32 {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let helper = parent(parent(processes_with(&marker)[0]));
        kill(Pid::from_raw(i32::try_from(helper).unwrap()), Signal::SIGKILL).unwrap();
        while said.recv().await.is_some() {}
    };
    let (exit, ()) = tokio::join!(engine.run(step, output, CancellationToken::new()), murder);
    assert!(!matches!(exit, Ok(StepExit::Code(0))), "{exit:?}");
    eventually("the step's processes to be gone", || processes_with(&marker).is_empty()).await;
    drop(upper);
}

fn state_of(place: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(place.join("state")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn probing_leaves_nothing_but_the_memory_of_its_success() {
    let place = tempfile::tempdir().unwrap();
    built_in(place.path()).probe().await.unwrap();
    let left = state_of(place.path());
    assert!(left.len() == 1 && left[0].starts_with("tried-"), "{left:?}");
    built_in(place.path()).probe().await.unwrap();
    assert_eq!(state_of(place.path()), left, "the same circumstances are not tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_can_not_be_made_takes_the_memory_away() {
    let place = tempfile::tempdir().unwrap();
    let engine = built_in(place.path());
    let bench = Bench::new(&engine).await;
    engine.probe().await.unwrap();
    assert_eq!(state_of(place.path()).iter().filter(|name| name.starts_with("tried-")).count(), 1);
    let mut step = bench.shell("true");
    step.lowers = vec![place.path().join("not-there")];
    let (output, _said) = mpsc::channel(1);
    engine.run(step, output, CancellationToken::new()).await.unwrap_err();
    assert_eq!(state_of(place.path()).iter().filter(|name| name.starts_with("tried-")).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sandboxes_leave_no_group_and_no_process() {
    let place = tempfile::tempdir().unwrap();
    let engine = built_in(place.path());
    let bench = Bench::new(&engine).await;
    let marker = format!("staith-marker-many-{}", std::process::id());
    let one_after_another = async || {
        for number in 0..10 {
            let step = bench.shell(&format!("(sleep 1000; : {marker}) & exit {number}"));
            assert_eq!(bench.run(&engine, step).await.exit, StepExit::Code(number));
        }
    };
    tokio::join!(one_after_another(), one_after_another(), one_after_another(), one_after_another());
    assert_eq!(processes_with(&marker), [0_u32; 0]);
    drop(bench);
    let own = std::process::id();
    // Other tests of this process have steps of their own, with other labels.
    let left: Vec<PathBuf> =
        groups_of(own).into_iter().filter(|group| !group.to_string_lossy().contains("probe")).collect();
    eventually("groups of this test to be gone", || left.iter().all(|group| !group.exists())).await;
}

#[test]
fn the_same_as_an_ordinary_user() {
    ordinary_user::run_again("the_same_as_an_ordinary_user");
}
