//! From a commit to the machines that serve it, and back.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use staith_model::{DeploymentId, Digest, Name, RunId, Version};

use super::fact::{DeploymentFact, Kind, Outcome};

/// A line of the history of environments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryLine {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Where to.
    pub environment: Name,
    /// Whether it brought something new.
    pub kind: Kind,
    /// `name@version` of the package.
    pub package: String,
    /// The release.
    pub release: Digest,
    /// Who asked for it.
    pub who: String,
    /// When, in milliseconds since 1970.
    pub requested_at: u64,
    /// Milliseconds from the first machine to the end; `None` where there was no beginning or no end yet.
    pub took: Option<u64>,
    /// What came of it.
    pub outcome: Outcome,
    /// Why, where it did not simply succeed.
    pub why: Option<String>,
    /// How many machines serve another release than before.
    pub switched: usize,
    /// Of how many.
    pub targets: usize,
}

/// The newest deployments first.
pub fn history(facts: &[DeploymentFact]) -> impl Iterator<Item = HistoryLine> + '_ {
    facts.iter().rev().map(|fact| HistoryLine {
        deployment: fact.deployment.clone(),
        environment: fact.environment.clone(),
        kind: fact.kind,
        package: format!("{}@{}", fact.package.0, fact.package.1),
        release: fact.release,
        who: fact.who.clone(),
        requested_at: fact.requested_at,
        took: fact.ended_at.zip(fact.began_at).map(|(ended, began)| ended.saturating_sub(began)),
        outcome: fact.outcome,
        why: fact.why.clone(),
        switched: fact.targets.iter().filter(|target| target.before != target.after).count(),
        targets: fact.targets.len(),
    })
}

/// A machine, what it serves, and where that came from: the whole way back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The environment.
    pub environment: Name,
    /// The machine.
    pub target: Name,
    /// What it serves.
    pub release: Digest,
    /// The deployment that brought it.
    pub deployment: DeploymentId,
    /// Since when, in milliseconds since 1970.
    pub since: Option<u64>,
    /// What is in the release; `None` if nothing recorded tells (it was there before the record began).
    pub origin: Option<Origin>,
}

/// Where a release came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The package.
    pub package: Name,
    /// Its version.
    pub version: Version,
    /// The run that made it, where one did.
    pub run: Option<RunId>,
    /// The commit, where there is one.
    pub commit: Option<String>,
}

/// Every machine that serves something, by environment and name, as the record has it.
pub fn serving(facts: &[DeploymentFact]) -> Vec<Trace> {
    let mut origins: BTreeMap<Digest, Origin> = BTreeMap::new();
    let mut now: BTreeMap<(Name, Name), Option<Trace>> = BTreeMap::new();
    for fact in facts {
        let (package, version) = fact.package.clone();
        let origin = Origin { package, version, run: fact.run.clone(), commit: fact.commit.clone() };
        origins.insert(fact.release, origin);
        for target in &fact.targets {
            let key = (fact.environment.clone(), target.name.clone());
            let there = now.entry(key).or_default();
            if there.as_ref().map(|trace| trace.release) == target.after {
                continue;
            }
            *there = target.after.map(|release| Trace {
                environment: fact.environment.clone(),
                target: target.name.clone(),
                release,
                deployment: fact.deployment.clone(),
                since: fact.ended_at.or(fact.began_at),
                origin: None,
            });
        }
    }
    let with_origin = |trace: Trace| Trace { origin: origins.get(&trace.release).cloned(), ..trace };
    now.into_values().flatten().map(with_origin).collect()
}

/// What each machine should serve, by environment and name: what the last deployment that changed it left there, or found to be right.
/// What somebody did to it by hand in between is not what it should serve, although later plans have seen it.
pub fn due(facts: &[DeploymentFact]) -> BTreeMap<(Name, Name), Option<Digest>> {
    let mut due = BTreeMap::new();
    for fact in facts {
        for target in &fact.targets {
            let key = (fact.environment.clone(), target.name.clone());
            let is_meant = target.before != target.after
                || (fact.outcome == Outcome::Succeeded && target.after == Some(fact.release));
            if is_meant {
                due.insert(key, target.after);
            } else {
                // Of a machine that was never changed from here, what was there first is taken for right.
                due.entry(key).or_insert(target.after);
            }
        }
    }
    due
}

/// The machines that serve a commit, which may be given by its beginning (4 characters or more).
pub fn serving_commit(facts: &[DeploymentFact], commit: &str) -> Vec<Trace> {
    const SHORTEST: usize = 4;
    let commit = commit.to_ascii_lowercase();
    let is_of = |trace: &Trace| {
        let found = trace.origin.as_ref().and_then(|origin| origin.commit.as_deref());
        commit.len() >= SHORTEST && found.is_some_and(|found| found.starts_with(&commit))
    };
    serving(facts).into_iter().filter(is_of).collect()
}

/// The machines that the record knows, whatever they serve.
pub fn machines(facts: &[DeploymentFact]) -> BTreeSet<&Name> {
    facts.iter().flat_map(|fact| &fact.targets).map(|target| &target.name).collect()
}

/// What machines of this name serve; names are unique in one environment only.
pub fn trace(facts: &[DeploymentFact], target: &Name) -> Vec<Trace> {
    serving(facts).into_iter().filter(|trace| trace.target == *target).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::fact::samples::{deployed, name, release, rolled_back, undoing},
        *,
    };

    #[test]
    fn from_commit_to_machine_and_back() {
        let facts = [deployed(1), deployed(2)];
        let found = serving_commit(&facts, &format!("{:040x}", 2));
        assert_eq!(found.iter().map(|trace| trace.target.as_str()).collect::<Vec<_>>(), ["web1", "web2"]);
        assert_eq!(serving_commit(&facts, &format!("{:040x}", 1)), []);
        assert_eq!(serving_commit(&facts, "000"), [], "too short to mean one");
        let back = trace(&facts, &name("web1"));
        let origin = back[0].origin.as_ref().unwrap();
        assert_eq!((origin.version.to_string().as_str(), back[0].release), ("1.0.2", release(2)));
        assert_eq!(origin.commit, Some(format!("{:040x}", 2)));
    }

    #[test]
    fn after_going_back_the_earlier_release_serves_with_its_own_origin() {
        for facts in [vec![deployed(1), deployed(2), undoing(2)], vec![deployed(1), rolled_back(2)]] {
            let back = trace(&facts, &name("web2"));
            assert_eq!(back[0].release, release(1));
        }
        // The rollback's own fact must not lend its commit to the wrong release.
        let mut undone = undoing(2);
        undone.commit = deployed(1).commit;
        let facts = [deployed(1), deployed(2), undone];
        assert_eq!(trace(&facts, &name("web1"))[0].origin.as_ref().unwrap().commit, deployed(1).commit);
    }

    #[test]
    fn what_was_done_by_hand_is_not_what_should_be() {
        // Somebody switched web1 to release 7; a deployment that saw it never began.
        let mut seen = deployed(3);
        (seen.outcome, seen.began_at) = (Outcome::NeverBegan, None);
        for target in &mut seen.targets {
            let there = if target.name == name("web1") { release(7) } else { release(2) };
            (target.before, target.after) = (Some(there), Some(there));
        }
        let web1 = (name("production"), name("web1"));
        let facts = [deployed(1), deployed(2), seen.clone()];
        assert_eq!(due(&facts)[&web1], Some(release(2)));
        assert_eq!(due(&[deployed(1), rolled_back(2)])[&web1], Some(release(1)));
        assert_eq!(due(&[seen])[&web1], Some(release(7)), "there was nothing else to go by");
        // Found to be right already, and so meant.
        let mut again = deployed(3);
        again.targets.iter_mut().for_each(|target| target.before = target.after);
        assert_eq!(due(&[deployed(1), again])[&web1], Some(release(3)));
    }

    #[test]
    fn history_begins_with_the_newest() {
        let facts = [deployed(1), rolled_back(2)];
        let lines: Vec<HistoryLine> = history(&facts).collect();
        assert_eq!((lines[0].outcome, lines[0].switched, lines[0].targets), (Outcome::RolledBack, 0, 2));
        assert_eq!((lines[1].package.as_str(), lines[1].switched), ("shop@1.0.1", 2));
    }
}
