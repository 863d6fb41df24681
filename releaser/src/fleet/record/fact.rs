//! A deployment, as far as anybody asks about it afterwards.

use std::collections::BTreeSet;

use serde::Serialize;
use staith_model::{DeploymentId, Digest, Name, RunId, Version};

/// A deployment to an environment. Times are milliseconds since 1970; facts are in the order in which they were requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeploymentFact {
    /// Which.
    pub deployment: DeploymentId,
    /// Where to.
    pub environment: Name,
    /// Whether it brings something new or goes back.
    pub kind: Kind,
    /// What was deployed.
    pub release: Digest,
    /// By which plan.
    pub plan: Digest,
    /// The package of the release.
    pub package: (Name, Version),
    /// The run that made the package, where one did.
    pub run: Option<RunId>,
    /// The commit of the release, where there is one.
    pub commit: Option<String>,
    /// When that commit was made, where that is known.
    pub committed_at: Option<u64>,
    /// Who asked for it.
    pub who: String,
    /// When it was asked for.
    pub requested_at: u64,
    /// When the first machine was touched; `None` if none was.
    pub began_at: Option<u64>,
    /// When it ended; `None` while it is under way.
    pub ended_at: Option<u64>,
    /// What came of it.
    pub outcome: Outcome,
    /// Why, where it did not simply succeed.
    pub why: Option<String>,
    /// What it did to each machine.
    pub targets: Vec<TargetFact>,
}

/// Whether a deployment brings something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A release, for the first time or again.
    Deploy,
    /// Somebody goes back to an earlier release.
    Rollback,
}

/// What came of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It waits, or is under way.
    UnderWay,
    /// All machines that it was for serve its release.
    Succeeded,
    /// It failed, and what served before serves.
    RolledBack,
    /// It failed, and going back did as well.
    RollbackFailed,
    /// It failed, and a person has to decide.
    NeedsDecision,
    /// It never began: rejected, expired, superseded or cancelled.
    NeverBegan,
}

/// What a deployment did to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetFact {
    /// Which.
    pub name: Name,
    /// What it served before; `None` if nothing.
    pub before: Option<Digest>,
    /// What it serves after; `None` if nothing.
    pub after: Option<Digest>,
}

impl DeploymentFact {
    /// Whether it brought something new and users met it.
    pub(super) fn is_change(&self) -> bool {
        self.kind == Kind::Deploy && self.began_at.is_some() && self.ended_at.is_some()
    }
}

/// The environments in which a release has succeeded, and was not taken back afterwards: for
/// [`Protection::after`](staith_model::Protection::after).
pub fn succeeded_in(facts: &[DeploymentFact], release: &Digest) -> BTreeSet<Name> {
    let mut found = BTreeSet::new();
    for (place, fact) in facts.iter().enumerate() {
        if fact.release == *release && fact.outcome == Outcome::Succeeded {
            found.insert(fact.environment.clone());
        } else if undone_by(facts, place).is_some_and(|undone| facts[undone].release == *release) {
            found.remove(&fact.environment);
        }
    }
    found
}

/// The place of the deployment that the rollback at `place` undoes: the last one to its environment that succeeded and whose
/// release a machine served when it came.
pub(super) fn undone_by(facts: &[DeploymentFact], place: usize) -> Option<usize> {
    let rollback = facts.get(place)?;
    if rollback.kind != Kind::Rollback || rollback.outcome != Outcome::Succeeded {
        return None;
    }
    let served = |release: &Digest| {
        rollback
            .targets
            .iter()
            .any(|target| target.before.as_ref() == Some(release) && target.after.as_ref() != Some(release))
    };
    facts[..place].iter().rposition(|fact| {
        fact.environment == rollback.environment
            && fact.kind == Kind::Deploy
            && fact.outcome == Outcome::Succeeded
            && served(&fact.release)
    })
}

#[cfg(test)]
pub(super) mod samples {
    use super::*;

    pub(crate) const DAY: u64 = 24 * 3600 * 1000;

    pub(crate) fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    pub(crate) fn release(number: u64) -> Digest {
        Digest::of(&number.to_be_bytes())
    }

    /// A deployment of release `number` over the one before, begun on day `number`, of one hour.
    pub(crate) fn deployed(number: u64) -> DeploymentFact {
        let began = number * DAY;
        let target = |target| TargetFact {
            name: name(target),
            before: number.checked_sub(1).map(release),
            after: Some(release(number)),
        };
        DeploymentFact {
            deployment: DeploymentId::new(began, [1; 10]),
            environment: name("production"),
            kind: Kind::Deploy,
            release: release(number),
            plan: Digest::of(b"plan"),
            package: (name("shop"), format!("1.0.{number}").try_into().unwrap()),
            run: None,
            commit: Some(format!("{number:040x}")),
            committed_at: Some(began - DAY / 2),
            who: "anna@deploy1".into(),
            requested_at: began - 60_000,
            began_at: Some(began),
            ended_at: Some(began + DAY / 24),
            outcome: Outcome::Succeeded,
            why: None,
            targets: vec![target("web1"), target("web2")],
        }
    }

    /// One that failed and went back by itself.
    pub(crate) fn rolled_back(number: u64) -> DeploymentFact {
        let mut fact = deployed(number);
        fact.outcome = Outcome::RolledBack;
        fact.targets.iter_mut().for_each(|target| target.after = target.before);
        fact
    }

    /// Somebody goes back from release `number` to the one before, two hours after it came.
    pub(crate) fn undoing(number: u64) -> DeploymentFact {
        let mut fact = deployed(number);
        let began = number * DAY + DAY / 12;
        fact.kind = Kind::Rollback;
        fact.release = release(number - 1);
        (fact.requested_at, fact.began_at, fact.ended_at) = (began, Some(began), Some(began + 1000));
        for target in &mut fact.targets {
            (target.before, target.after) = (Some(release(number)), Some(release(number - 1)));
        }
        fact
    }
}

#[cfg(test)]
mod tests {
    use super::{samples::*, *};

    #[test]
    fn a_release_that_was_taken_back_has_not_succeeded() {
        let facts = [deployed(1), deployed(2), undoing(2), rolled_back(3)];
        let of = |number| !succeeded_in(&facts, &release(number)).is_empty();
        assert!(of(1) && !of(2) && !of(3));
        assert_eq!(undone_by(&facts, 2), Some(1));
        assert_eq!(undone_by(&facts, 1), None);
    }
}
