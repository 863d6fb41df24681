//! What a failure leaves behind, and runs that go on with it.

use staith_builder::{cache::StepRecord, engine::StepExit, execute::Passing, layers::LayerStore};
use staith_model::{Condition, Ending, StepOutcome, StepPlan, StepResults};

use super::scripted::{Act, Came, Stage, name, step};

fn left(stage: &Stage) -> Option<StepOutcome> {
    let store = LayerStore::open(&stage.place.path().join("store"), None).unwrap();
    store.left(&name("p"), &name("test")).map(|left| left.outcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_leaves_its_workspace_until_the_step_passes() {
    let ends =
        [Ok(StepExit::Code(1)), Ok(StepExit::Cancelled), Ok(StepExit::TimedOut), Ok(StepExit::Code(0))];
    let stage = Stage::new(&[("test", Act::End(ends.to_vec()))]);
    let steps = || vec![step("test", &[])];
    stage.run(steps()).await;
    assert_eq!(left(&stage), Some(StepOutcome::Failed));
    stage.run(steps()).await;
    assert_eq!(left(&stage), Some(StepOutcome::Failed), "nobody asks what a cancelled step left");
    stage.run(steps()).await;
    assert_eq!(left(&stage), Some(StepOutcome::TimedOut));
    stage.run(steps()).await;
    assert_eq!(left(&stage), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_did_not_leave_its_outputs_leaves_its_workspace() {
    let stage = Stage::new(&[("test", Act::Leave("other"))]);
    let steps = vec![StepPlan { outputs: vec!["dist".into()], ..step("test", &[]) }];
    stage.run(steps).await;
    assert_eq!(left(&stage), Some(StepOutcome::Failed));
}

/// Everything that passed, as a later run is told of it.
fn passing(came: &Came, names: &[&str]) -> Vec<(staith_model::Name, Passing)> {
    let of = |step: &&str| {
        let report = &came.report.steps[&name(step)];
        let layers = came.plan.step(&name(step)).unwrap().layers.iter();
        let left = |below: &staith_model::Name| Some((below.clone(), came.report.steps[below].layer?));
        let record =
            StepRecord { layer: report.layer, results: StepResults::default(), millis: 0, made: None };
        (name(step), Passing { layers: layers.filter_map(left).collect(), record })
    };
    names.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passed_is_not_run_again_where_the_cache_does_not_answer() {
    let acts = [
        ("build", Act::Leave("out")),
        ("test", Act::End(vec![Ok(StepExit::Code(1)), Ok(StepExit::Code(0))])),
    ];
    let mut stage = Stage::new(&acts);
    let always = Some(Condition::Needs(Ending::Succeeded));
    let steps = || {
        vec![
            StepPlan { outputs: vec!["out".into()], ..step("build", &[]) },
            StepPlan { when: always.clone(), ..step("told", &["build"]) },
            step("test", &["build", "told"]),
        ]
    };
    let came = stage.run(steps()).await;
    assert_eq!(stage.seen(), ["build", "told", "test"]);
    stage.passed = passing(&came, &["build", "told"]).into_iter().collect();
    let came = stage.run(steps()).await;
    assert_eq!(stage.seen()[3..], ["test"]);
    assert_eq!(came.outcome("told"), StepOutcome::Cached);
    // On top of something else it is run again.
    stage.passed.get_mut(&name("told")).unwrap().layers.clear();
    let came = stage.run(steps()).await;
    assert_eq!(stage.seen()[4..], ["told"]);
    assert_eq!(came.outcome("build"), StepOutcome::Cached);
}
