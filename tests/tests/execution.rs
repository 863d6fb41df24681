//! What a pipeline says about failures, conditions, attempts and limits, as its users see it happen.

use staith_model::{Event, EventKind, RunState, StepOutcome};
use staith_tests::world::World;

fn world(pipeline: &str) -> World {
    let world = World::new();
    world.write("runner.toml", &format!("name = \"one\"\nversion = \"1\"\n{pipeline}"));
    world.commit("first");
    world
}

/// What a run's `--json` lines say; what is no event (an error at the end) is passed over.
fn state(lines: &str) -> (RunState, Vec<Event>) {
    let events: Vec<Event> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    (RunState::replay(&events).unwrap(), events)
}

fn outcome(state: &RunState, step: &str) -> Option<StepOutcome> {
    state.outcome_of(&step.parse().unwrap())
}

#[test]
fn a_failure_that_is_allowed_lets_the_run_pass_and_release() {
    let world = world(
        r#"
[steps.lint]
run = "echo too long; exit 1"
continue-on-failure = true
[steps.build]
needs = ["lint"]
run = "echo x > file"
outputs = ["file"]
[package]
from = ["build"]
"#,
    );
    world.staith(&["run"]).exits(0).says("allowed").says("why: exit code 1").says("made in");
    // It is not taken for known: it runs again, and is seen again.
    world.staith(&["run"]).exits(0).says("too long").says("allowed");
}

#[test]
fn a_package_takes_nothing_from_a_step_that_failed_though_it_may() {
    let world = world(
        r#"
[steps.build]
run = "echo x > file; exit 1"
outputs = ["file"]
continue-on-failure = true
[package]
from = ["build"]
"#,
    );
    world.staith(&["run"]).exits(10).says("no package was made").says("build");
}

#[test]
fn conditions_see_what_earlier_steps_came_to() {
    let world = world(
        r#"
[steps.test]
run = "exit 1"
[steps.publish]
needs = ["test"]
run = "echo published"
[steps.report]
needs = ["publish"]
when = "failed()"
run = "echo it failed somewhere before"
[steps.clean]
needs = ["publish"]
when = "always()"
run = "echo clean"
"#,
    );
    let said = world.staith(&["run"]).exits(10).says("it failed somewhere before").says("| clean");
    said.never_says("published").says("publish > skipped: it needs `test`, which failed");
    world.edit("runner.toml", |text| text.replace("exit 1", "true"));
    let said = world.staith(&["run"]).exits(0).says("published").says("| clean");
    said.says("report  > skipped: its condition does not hold");
}

#[test]
fn a_step_is_tried_again_in_a_fresh_place_and_shown_as_flaky() {
    // Nothing lasts from one attempt to the next, so a step on its own can't pass at the second one; it shows that here.
    let failing = r#"
[steps.flaky]
run = "test ! -e left-over; touch left-over; echo an attempt; exit 3"
retry = { attempts = 3, on = ["failure"] }
"#;
    let said = world(failing).staith(&["run", "--json"]).exits(10);
    let (state, events) = state(&said.out);
    assert_eq!(outcome(&state, "flaky"), Some(StepOutcome::Failed));
    assert_eq!(state.attempts(&"flaky".parse().unwrap()), 3);
    let wrote =
        |event: &&Event| matches!(&event.what, EventKind::StepOutput { line, .. } if line == "an attempt");
    assert_eq!(events.iter().filter(wrote).count(), 3, "an attempt saw what another had left");
    let once = failing.replace("\"failure\"", "\"timeout\"");
    world(&once).staith(&["run"]).exits(10).never_says("attempt 1:");
}

#[test]
fn a_step_that_may_write_so_much_writes_no_more() {
    let world = world(
        r#"
[steps.fill]
run = "i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero > $i; done"
disk = "16MiB"
"#,
    );
    world.staith(&["run"]).exits(10).says("it wrote more than the 16 MiB that it may").says("set `disk`");
}

#[test]
fn a_step_sees_what_set_the_run_off_only_where_it_asks() {
    let world = world(
        r#"
[steps.asks]
run = "echo it is [$STAITH_EVENT] on [$STAITH_TAG]"
[steps.does-not-ask]
run = "env | grep STAITH_ && exit 1; echo nothing to see"
"#,
    );
    world.staith(&["run"]).exits(0).says("it is [local] on []").says("nothing to see");
}

#[test]
fn what_is_there_for_failures_runs_at_each_of_them() {
    let world = world(
        r#"
[steps.test]
run = "exit 1"
[steps.tell]
needs = ["test"]
when = "failed()"
run = "echo somebody is told"
"#,
    );
    world.staith(&["run"]).exits(10).says("somebody is told");
    world.staith(&["run"]).exits(10).says("somebody is told");
}
