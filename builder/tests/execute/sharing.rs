//! What others know of steps is used, and what they may not know is not told.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use staith_builder::{
    cache::{Elsewhere, StepPassed, StepRecord},
    layers::LayerStore,
};
use staith_model::{Condition, Digest, Ending, StepOutcome, StepPlan, StepResults};

use crate::scripted::{Act, Stage, step};

/// Others who know one record of every step, or nothing.
#[derive(Debug, Default)]
struct Others {
    knows: Option<StepRecord>,
    asked: Mutex<usize>,
    /// The steps that they were told of, whether with a key, and whether they were run.
    told: Mutex<Vec<(String, bool, bool)>>,
}

#[async_trait]
impl Elsewhere for Others {
    async fn find(&self, _: &Digest, _: &Arc<LayerStore>) -> Option<StepRecord> {
        *self.asked.lock().unwrap() += 1;
        self.knows.clone()
    }

    fn passed(&self, passed: StepPassed<'_>, _: &Arc<LayerStore>) {
        let told = (passed.step.to_string(), passed.key.is_some(), passed.ran);
        self.told.lock().unwrap().push(told);
    }
}

fn with(others: Others, acts: &[(&'static str, Act)]) -> (Stage, Arc<Others>) {
    let others = Arc::new(others);
    let mut stage = Stage::new(acts);
    stage.elsewhere = Some(Arc::clone(&others) as Arc<dyn Elsewhere>);
    (stage, others)
}

fn record(layer: Option<Digest>) -> StepRecord {
    StepRecord { layer, results: StepResults::default(), millis: 1, made: None }
}

#[tokio::test]
async fn what_others_know_is_not_run_and_known_here_from_then_on() {
    let (mut stage, others) = with(Others { knows: Some(record(None)), ..Others::default() }, &[]);
    let came = stage.run(vec![step("lint", &[])]).await;
    assert_eq!(came.outcome("lint"), StepOutcome::Cached);
    assert!(stage.seen().is_empty());
    stage.elsewhere = None;
    assert_eq!(stage.run(vec![step("lint", &[])]).await.outcome("lint"), StepOutcome::Cached);
    assert_eq!(*others.asked.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_record_whose_layer_is_not_here_counts_as_none() {
    let missing = record(Some(Digest::of(b"nowhere")));
    let (stage, others) = with(Others { knows: Some(missing), ..Others::default() }, &[]);
    assert_eq!(stage.run(vec![step("lint", &[])]).await.outcome("lint"), StepOutcome::Passed);
    assert_eq!(*others.told.lock().unwrap(), [("lint".to_owned(), true, true)]);
}

#[tokio::test]
async fn what_hangs_on_others_or_has_secrets_is_neither_asked_for_nor_told_under_a_key() {
    let (stage, others) = with(Others { knows: Some(record(None)), ..Others::default() }, &[]);
    let after = StepPlan { when: Some(Condition::Needs(Ending::Succeeded)), ..step("after", &["lint"]) };
    let mut secret = step("secret", &[]);
    secret.secrets.insert("TOKEN".into(), "token".into());
    stage.run(vec![step("lint", &[]), after, secret]).await;
    assert_eq!(*others.asked.lock().unwrap(), 1, "only `lint` is asked for");
    let told = others.told.lock().unwrap();
    assert!(told.iter().all(|(step, keyed, _)| (step == "lint") == *keyed), "{told:?}");
    assert!(told.iter().any(|(step, ..)| step == "after"), "{told:?}");
}
