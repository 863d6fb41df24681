//! How an environment of a server stands, and what protects it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::super::Trust;
use crate::{
    Approvals, AtDeadline, Check, DeploymentId, DeploymentRecord, DeploymentState, Digest, Direction,
    FreezeWindow, HoursOfWeek, Name, Protection, Queue,
};

/// How long approvals are waited for where nobody says, in seconds.
const A_DAY: u64 = 86_400;

/// What protects an environment on a server. Kept by the server, set by its administrators: nothing that is in a repository changes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnvironmentRules {
    /// How many people have to say yes who may release there; nobody if 0.
    pub needed: u32,
    /// Whether who asked for the deployment counts among them.
    pub requester_may: bool,
    /// How long they are waited for, in seconds.
    pub deadline_seconds: u64,
    /// How it is decided without them then.
    pub at_deadline: AtDeadline,
    /// What people should look at before they say yes.
    pub instructions: String,
    /// Whose code may be deployed there, at least. What is not protected says itself to which machines it goes.
    pub trust: Trust,
    /// Whether a passed run of a protected branch is released there by itself.
    pub automatic: bool,
    /// Branches that may be released there, as globs; any if empty.
    pub branches: Vec<String>,
    /// Environments in which this very release must have succeeded before.
    pub after: BTreeSet<Name>,
    /// Spans of time in which nothing is deployed.
    pub freezes: Vec<FreezeWindow>,
    /// The hours in which deployments may begin; any if empty.
    pub hours: Vec<HoursOfWeek>,
    /// What else has to hold.
    pub checks: Vec<Check>,
    /// What becomes of deployments that wait for one another.
    pub queue: Queue,
}

impl Default for EnvironmentRules {
    /// What holds where nobody said anything: only protected code, by whoever may release there.
    fn default() -> Self {
        Self {
            needed: 0,
            requester_may: false,
            deadline_seconds: A_DAY,
            at_deadline: AtDeadline::default(),
            instructions: String::new(),
            trust: Trust::Protected,
            automatic: false,
            branches: Vec::new(),
            after: BTreeSet::new(),
            freezes: Vec::new(),
            hours: Vec::new(),
            checks: Vec::new(),
            queue: Queue::default(),
        }
    }
}

impl EnvironmentRules {
    /// The same as whoever deploys judges by it; `people` are those who may release there now.
    pub fn protection(&self, people: BTreeSet<String>) -> Protection {
        let approvals = (self.needed > 0).then(|| Approvals {
            people,
            needed: self.needed,
            requester_may: self.requester_may,
            deadline_seconds: self.deadline_seconds,
            at_deadline: self.at_deadline,
            instructions: self.instructions.clone(),
        });
        Protection {
            approvals,
            checks: self.checks.clone(),
            branches: self.branches.clone(),
            // Asked before there is a deployment, of what the server knows.
            trust: None,
            after: self.after.clone(),
            freezes: self.freezes.clone(),
            hours: self.hours.clone(),
            queue: self.queue,
        }
    }
}

/// `GET …/environments/{environment}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentView {
    /// The project.
    pub project: Name,
    /// The environment.
    pub environment: Name,
    /// What protects it; what is usual if nobody said anything.
    pub rules: EnvironmentRules,
    /// What serves there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serves: Option<Digest>,
    /// Why nothing is deployed there by itself, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// Machines that deployments leave alone, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quarantined: BTreeMap<Name, String>,
    /// Deployments, the newest first.
    pub deployments: Vec<DeploymentView>,
}

/// A deployment as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentView {
    /// Its id.
    pub deployment: DeploymentId,
    /// The release.
    pub release: Digest,
    /// The digest of its plan: what people approve.
    pub plan: Digest,
    /// Forward, or back.
    pub direction: Direction,
    /// Where it is.
    pub state: DeploymentState,
    /// Whether it is over.
    pub over: bool,
    /// Who asked.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub requested: u64,
    /// Since when it is where it is.
    pub since: u64,
    /// What its gates wait for.
    #[serde(default)]
    pub gates: Vec<String>,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Who said yes to this plan.
    #[serde(default)]
    pub approved_by: BTreeSet<String>,
    /// Who went past gates for this plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<PastGates>,
    /// Who was waited for in vain, where the protection let it through by default when the time for approvals was up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_default: Option<String>,
}

/// Somebody took it upon themselves to deploy in spite of what protects the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastGates {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether it was a freeze alone.
    pub freeze_only: bool,
}

impl DeploymentView {
    /// Of a record, and of who said what to which plan of it.
    pub fn of(record: &DeploymentRecord, said: &BTreeMap<(DeploymentId, Digest), BTreeSet<String>>) -> Self {
        let plan = record.plan.digest();
        let approved = said.get(&(record.deployment.clone(), plan)).cloned();
        let is_before = matches!(record.state, DeploymentState::Planned | DeploymentState::AwaitingGates);
        let waits = is_before && record.plan.direction != Direction::Back;
        Self {
            deployment: record.deployment.clone(),
            release: record.plan.release,
            plan,
            direction: record.plan.direction,
            state: record.state,
            over: record.state.is_terminal(),
            by: record.by.clone(),
            reason: record.reason.clone(),
            requested: record.requested_at,
            since: record.since,
            // What it waited for is over with the waiting; and nobody is waited for on the way back.
            gates: if waits { record.gates.clone() } else { Vec::new() },
            trouble: record.trouble.as_ref().map(|trouble| trouble.what.clone()),
            approved_by: approved.unwrap_or_default(),
            overridden: Vec::new(),
            by_default: record.by_default.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Guarded, *};

    #[test]
    fn without_rules_only_protected_code_goes_there() {
        let rules = EnvironmentRules::default();
        assert_eq!(
            (rules.trust, rules.protection(BTreeSet::new())),
            (Trust::Protected, Protection::default())
        );
        let unsaid = Guarded::unsaid("shop".parse().unwrap(), "production".parse().unwrap());
        assert_eq!(unsaid.trust, Trust::Protected);
    }

    #[test]
    fn the_people_of_a_quorum_are_those_who_may_release_now() {
        let rules: EnvironmentRules = serde_json::from_str(r#"{"needed": 2}"#).unwrap();
        let people: BTreeSet<String> = ["ann".to_owned(), "ben".to_owned()].into();
        let approvals = rules.protection(people.clone()).approvals.unwrap();
        assert_eq!((approvals.people, approvals.needed, approvals.requester_may), (people, 2, false));
        assert!(serde_json::from_str::<EnvironmentRules>(r#"{"neded": 2}"#).is_err());
    }
}
