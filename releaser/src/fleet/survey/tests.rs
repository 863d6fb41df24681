use std::collections::BTreeSet;

use async_trait::async_trait;
use staith_model::Hook;
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    fleet::machine::{HookOutcome, Load, Order},
    health::Verdict,
    host::{Done, PackageFiles, Progress, Staged},
};

/// Enough for what answers at once, however busy the machine of the test is.
const LONG: Duration = Duration::from_secs(60);

enum Kind {
    /// Answers when all of them are asked.
    Together(Arc<Barrier>),
    /// Never answers.
    Mute,
    /// Says what is there, and not how the files of it are.
    Shy,
}

struct Fake(Kind);

#[async_trait]
impl Machine for Fake {
    async fn reach(&self) -> Result<Facts, MachineError> {
        match &self.0 {
            Kind::Together(barrier) => barrier.wait().await,
            _ => std::future::pending().await,
        };
        Ok(Facts {
            machine_id: "m".into(),
            boot_id: "b".into(),
            architecture: "x86_64".into(),
            system: "Debian".into(),
            superuser: true,
            free_bytes: 1,
            systemd: true,
        })
    }

    async fn observe(&self) -> Result<MachineState, MachineError> {
        match &self.0 {
            Kind::Together(barrier) => {
                barrier.wait().await;
            }
            Kind::Mute => std::future::pending().await,
            Kind::Shy => {}
        }
        Ok(MachineState { current: Some(Digest::of(b"release")), ..MachineState::default() })
    }

    async fn inspect(&self, release: &Digest, _: Inspection) -> Result<Files, MachineError> {
        match &self.0 {
            Kind::Shy => std::future::pending().await,
            _ if *release == Digest::of(b"release") => Ok(Files::Damaged("`a`: it is missing".into())),
            _ => Ok(Files::Absent),
        }
    }

    async fn probe(&self, question: &Question, patience: Patience) -> Result<Health, MachineError> {
        assert_eq!((question.port, patience), (Some(8080), Patience::Glance));
        Ok(Health {
            verdict: Verdict::Healthy,
            url: String::new(),
            observations: vec![],
            needed: 1,
            took: Duration::ZERO,
            log: None,
        })
    }

    async fn stage(
        &self,
        _: &Order,
        _: &Load,
        _: Arc<dyn PackageFiles>,
        _: Progress,
        _: CancellationToken,
    ) -> Result<Staged, MachineError> {
        Err(MachineError::Cancelled)
    }

    async fn switch(&self, _: &Order, _: Option<&Digest>) -> Result<Done, MachineError> {
        Err(MachineError::Cancelled)
    }

    async fn hook(&self, _: &Order, _: &Digest, _: &Hook) -> Result<HookOutcome, MachineError> {
        Err(MachineError::Cancelled)
    }

    async fn retain(&self, _: &Order, _: &BTreeSet<Digest>) -> Result<BTreeSet<Digest>, MachineError> {
        Err(MachineError::Cancelled)
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn several(kinds: Vec<(&str, Option<Kind>)>) -> BTreeMap<Name, Option<Arc<dyn Machine>>> {
    let machine = |kind| Arc::new(Fake(kind)) as Arc<dyn Machine>;
    kinds.into_iter().map(|(text, kind)| (name(text), kind.map(machine))).collect()
}

fn question(_: &Name, release: &Digest) -> Option<Question> {
    Some(Question { release: *release, port: Some(8080), check: None, min_healthy_seconds: 60 })
}

#[tokio::test]
async fn all_are_looked_at_at_once() {
    let survey = Survey { files: Inspection::Touched, patience: LONG, patience_for_files: LONG };
    let barrier = Arc::new(Barrier::new(2));
    let both = || Some(Kind::Together(barrier.clone()));
    let machines = several(vec![("web1", both()), ("web2", both())]);
    for (_, seen) in survey.look(&machines, question).await {
        assert!(seen.state.is_ok(), "{seen:?}");
        assert!(matches!(seen.files, Some(Ok(Files::Damaged(_)))), "{seen:?}");
        assert!(seen.health.unwrap().unwrap().verdict == Verdict::Healthy);
    }
    assert!(call(&machines, LONG).await.values().all(Result::is_ok));
}

#[tokio::test]
async fn one_that_does_not_answer_is_told_and_keeps_nobody_waiting() {
    const SHORT: Duration = Duration::from_millis(1);
    let survey = Survey { files: Inspection::EveryByte, patience: LONG, patience_for_files: SHORT };
    let seen = survey.look(&several(vec![("shy", Some(Kind::Shy)), ("nobody", None)]), |_, _| None).await;
    let shy = &seen[&name("shy")];
    assert!(shy.state.is_ok() && shy.health.is_none(), "nobody knows what to ask: {shy:?}");
    assert!(shy.files.as_ref().unwrap().as_ref().is_err_and(|why| why.contains("no answer")));
    let nobody = &seen[&name("nobody")];
    assert!(nobody.state.is_err() && nobody.files.is_none());

    let survey = Survey { patience: SHORT, ..survey };
    let mute = several(vec![("mute", Some(Kind::Mute))]);
    assert!(survey.look(&mute, question).await[&name("mute")].state.is_err());
    let said = call(&mute, SHORT).await;
    assert!(said[&name("mute")].as_ref().is_err_and(MachineError::is_lost));
}
