//! How a run goes: what runs after what, what is passed over, tried again, cancelled, cleaned up. The engine is scripted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where something is not as it should be"
)]

mod going_on;
mod scripted;
mod sharing;

use scripted::{Act, Stage, name, step};
use staith_builder::engine::StepExit;
use staith_builder::execute::{Budget, Manner};
use staith_model::{Condition, Ending, Limits, Retry, RetryCause, StepOutcome, StepPlan};

use StepOutcome::{Cancelled, Failed, Lost, Passed, Skipped};

fn fails() -> Act {
    Act::End(vec![Ok(StepExit::Code(1))])
}

fn when(condition: Condition, step: StepPlan) -> StepPlan {
    StepPlan { when: Some(condition), ..step }
}

fn retried(attempts: u32, on: &[RetryCause], step: StepPlan) -> StepPlan {
    StepPlan { retry: Some(Retry { attempts, on: on.to_vec() }), ..step }
}

#[tokio::test]
async fn a_condition_decides_once_all_that_is_needed_has_ended() {
    let stage = Stage::new(&[("bad", fails()), ("left", Act::Leave("left.txt"))]);
    let left = StepPlan { outputs: vec!["left.txt".into()], ..step("left", &[]) };
    let came = stage
        .run(vec![
            left,
            step("bad", &["left"]),
            when(Condition::Needs(Ending::Failed), step("report", &["left", "bad"])),
            when(Condition::Needs(Ending::Succeeded), step("deploy", &["bad"])),
            when(Condition::Needs(Ending::Ended), step("clean", &["deploy", "bad"])),
        ])
        .await;
    assert_eq!((came.outcome("report"), came.outcome("clean")), (Passed, Passed));
    assert_eq!((came.outcome("bad"), came.outcome("deploy")), (Failed, Skipped));
    // The layers that are there: the failed step left none.
    assert_eq!(stage.saw("report"), ["left.txt", "source.txt"]);
    assert!(!came.is_pass());
}

#[tokio::test]
async fn a_condition_that_does_not_hold_is_no_failure() {
    let stage = Stage::new(&[]);
    let came = stage
        .run(vec![
            step("test", &[]),
            when(Condition::Needs(Ending::Failed), step("report", &["test"])),
            step("after-report", &["report"]),
        ])
        .await;
    assert_eq!(
        (came.outcome("report"), came.why("report").as_str()),
        (Skipped, "its condition does not hold")
    );
    assert_eq!(came.why("after-report"), "it needs `report`, which was skipped");
    assert!(came.is_pass());
}

#[tokio::test]
async fn after_an_allowed_failure_the_run_goes_on_and_passes() {
    let stage = Stage::new(&[("lint", fails())]);
    let lint = StepPlan { may_fail: true, outputs: vec!["x".into()], ..step("lint", &[]) };
    let came = stage.run(vec![lint, step("build", &["lint"])]).await;
    assert_eq!((came.outcome("lint"), came.outcome("build")), (Failed, Passed));
    assert_eq!(stage.saw("build"), ["source.txt"]);
    assert!(came.is_pass());
}

#[tokio::test]
async fn the_first_failure_ends_what_has_not_begun_unless_told_to_keep_going() {
    let steps = || {
        vec![
            step("bad", &[]),
            step("slow", &[]),
            step("after-bad", &["bad"]),
            step("after-slow", &["slow"]),
            when(Condition::Needs(Ending::Ended), step("clean", &["slow"])),
        ]
    };
    // One at a time, so that `bad` has failed before anything else begins.
    let one_by_one = Budget { jobs: 1, cpu_milli: 1000, memory: 1 };
    let stage = Stage { budget: one_by_one, ..Stage::new(&[("bad", fails())]) };
    let came = stage.run(steps()).await;
    assert_eq!(stage.seen(), ["bad", "clean"]);
    assert_eq!(came.why("after-bad"), "it needs `bad`, which failed");
    assert_eq!(came.why("slow"), "`bad` failed; `--keep-going` runs it all the same");
    let manner = Manner { keep_going: true };
    let stage = Stage { budget: one_by_one, manner, ..Stage::new(&[("bad", fails())]) };
    let came = stage.run(steps()).await;
    assert_eq!(stage.seen(), ["bad", "slow", "after-slow", "clean"]);
    assert_eq!((came.outcome("after-bad"), came.outcome("after-slow")), (Skipped, Passed));
    assert!(!came.is_pass());
}

#[tokio::test]
async fn what_runs_when_another_step_fails_is_finished() {
    let two = Budget { jobs: 2, cpu_milli: 2000, memory: 2 };
    // `bad` fails only at its second attempt, long after `other` has begun.
    let bad = Act::End(vec![Err("gone".into()), Ok(StepExit::Code(1))]);
    let stage = Stage { budget: two, ..Stage::new(&[("bad", bad)]) };
    tokio::time::pause();
    let bad = retried(2, &[RetryCause::Environment], step("bad", &[]));
    let came = stage.run(vec![bad, step("other", &[]), step("third", &["other", "bad"])]).await;
    assert_eq!((came.outcome("bad"), came.outcome("other")), (Failed, Passed));
    assert_eq!(came.outcome("third"), Skipped);
}

#[tokio::test(start_paused = true)]
async fn a_step_is_tried_again_for_its_causes_with_growing_pauses_and_a_fresh_place() {
    let flaky = Act::End(vec![Err("gone".into()), Ok(StepExit::Code(1)), Ok(StepExit::Code(0))]);
    let both = [RetryCause::Environment, RetryCause::Failure];
    let stage = Stage::new(&[("flaky", flaky.clone())]);
    let came = stage.run(vec![retried(3, &both, step("flaky", &[]))]).await;
    assert_eq!((came.outcome("flaky"), came.report.steps[&name("flaky")].attempts), (Passed, 3));
    assert_eq!(came.pauses(), [1000, 2000]);
    assert!(came.is_pass());
    let stage = Stage::new(&[("flaky", flaky.clone())]);
    let came = stage.run(vec![retried(3, &[], step("flaky", &[]))]).await;
    assert_eq!((came.outcome("flaky"), came.pauses()), (Failed, vec![1000]));
    let stage = Stage::new(&[("flaky", flaky)]);
    let came = stage.run(vec![step("flaky", &[])]).await;
    assert!(matches!(came.outcome("flaky"), Lost | StepOutcome::EngineBroken));
    assert!(came.pauses().is_empty());
}

#[tokio::test]
async fn a_cancelled_step_is_not_tried_again_and_a_pause_ends_at_once() {
    let all = [RetryCause::Environment, RetryCause::Failure];
    let stage = Stage::new(&[("bad", Act::End(vec![Err("gone".into())])), ("stays", Act::Stay)]);
    let steps = vec![retried(u32::MAX, &all, step("bad", &[])), retried(9, &all, step("stays", &[]))];
    let cancel = async {
        stage.until_runs("bad").await;
        stage.until_runs("stays").await;
        stage.stop.cancel.cancel();
    };
    let (came, ()) = tokio::join!(stage.run(steps), cancel);
    assert_eq!(came.outcome("stays"), Cancelled);
    // It may have been between two attempts, or at the end of one.
    assert_ne!(came.outcome("bad"), Passed);
    assert_eq!(stage.seen().iter().filter(|step| **step == "stays").count(), 1);
    let stage = Stage::new(&[("fails", Act::FailOfCancelling)]);
    let cancel = async {
        stage.until_runs("fails").await;
        stage.stop.cancel.cancel();
    };
    let (came, ()) = tokio::join!(stage.run(vec![retried(9, &all, step("fails", &[]))]), cancel);
    assert_eq!((came.outcome("fails"), came.pauses()), (Failed, vec![]));
}

#[tokio::test]
async fn what_is_made_for_the_worst_cleans_up_after_a_cancelled_run() {
    let stage = Stage::new(&[("long", Act::Stay)]);
    let steps = vec![
        step("long", &[]),
        step("next", &["long"]),
        when(Condition::Needs(Ending::Ended), step("clean", &["long"])),
        when(Condition::Needs(Ending::Failed), step("report", &["long"])),
    ];
    let cancel = async {
        stage.until_runs("long").await;
        stage.stop.cancel.cancel();
    };
    let (came, ()) = tokio::join!(stage.run(steps), cancel);
    assert_eq!((came.outcome("long"), came.outcome("next")), (Cancelled, Cancelled));
    assert_eq!((came.outcome("clean"), came.outcome("report")), (Passed, Skipped));
    assert!(!came.is_pass());
}

#[tokio::test(start_paused = true)]
async fn cleaning_up_has_an_end() {
    let stage = Stage::new(&[("long", Act::Stay), ("clean", Act::Stay)]);
    let always = Condition::Needs(Ending::Ended);
    let steps = vec![
        step("long", &[]),
        when(always.clone(), step("clean", &["long"])),
        when(always, step("clean-more", &["clean"])),
    ];
    let cancel = async {
        stage.until_runs("long").await;
        stage.stop.cancel.cancel();
        stage.until_runs("clean").await;
        // Time does not pass by itself while a thread waits for a step's output.
        tokio::time::advance(std::time::Duration::from_secs(61)).await;
    };
    let (came, ()) = tokio::join!(stage.run(steps), cancel);
    assert_eq!((came.outcome("clean"), came.outcome("clean-more")), (Cancelled, Cancelled));
}

#[tokio::test]
async fn insisting_ends_even_the_cleaning_up() {
    let stage = Stage::new(&[("long", Act::Stay), ("clean", Act::Stay)]);
    let steps = vec![step("long", &[]), when(Condition::Needs(Ending::Ended), step("clean", &["long"]))];
    let insist = async {
        stage.until_runs("long").await;
        stage.stop.cancel.cancel();
        stage.until_runs("clean").await;
        stage.stop.kill.cancel();
    };
    let (came, ()) = tokio::join!(stage.run(steps), insist);
    assert_eq!(came.outcome("clean"), Cancelled);
}

#[tokio::test]
async fn steps_that_do_not_fit_beside_each_other_run_one_after_the_other() {
    let half =
        |this| StepPlan { limits: Limits { memory: Some(600), ..Limits::default() }, ..step(this, &[]) };
    let budget = Budget { jobs: 4, cpu_milli: 4000, memory: 1000 };
    let stage = Stage { budget, ..Stage::new(&[("a", Act::Stay), ("b", Act::Stay)]) };
    let look = async {
        stage.until_runs("a").await;
        stage.until_runs("small").await;
        stage.stop.kill.cancel();
    };
    let small = StepPlan { limits: Limits { memory: Some(10), ..Limits::default() }, ..step("small", &[]) };
    let (came, ()) = tokio::join!(stage.run(vec![half("a"), half("b"), small]), look);
    assert!(!stage.seen().contains(&"b".to_owned()));
    assert_eq!(came.outcome("b"), Cancelled);
}
