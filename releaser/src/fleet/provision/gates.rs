//! Whether people and checks allow a plan.

use std::collections::{BTreeMap, BTreeSet};

use staith_model::{AtDeadline, Check, Protection, ProvisionEvent, Waiting};

use super::super::gate::{Facts, GateVerdict, Override, Sample, Say, Vote, ask::Asker, judge};

/// Where the description comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The branch, where it is known.
    pub branch: Option<String>,
    /// Whether there are changes that no commit has, or that can't be told.
    pub dirty: bool,
}

/// What protects an environment, as far as its machines are concerned: all but `after` and the health of machines, which are about
/// releases.
pub struct Rules {
    protection: Protection,
    asker: Asker,
    origin: Origin,
}

impl Rules {
    /// Those of a protection.
    pub fn new(protection: Protection, asker: Asker, origin: Origin) -> Self {
        let mut protection = Protection { after: BTreeSet::new(), trust: None, ..protection };
        // Machines are made and taken down by nobody's silence.
        if let Some(approvals) = &mut protection.approvals {
            approvals.at_deadline = AtDeadline::Expire;
        }
        protection.checks.retain(|check| !matches!(check, Check::Health));
        Self { protection, asker, origin }
    }

    /// The verdict on a plan that waits, at `now`. Cancel-safe.
    pub async fn verdict(&self, waiting: &Waiting, now: u64) -> GateVerdict {
        let plan = waiting.plan.digest();
        let mut checks = BTreeMap::new();
        for (place, check) in self.protection.checks.iter().enumerate() {
            if let Some(answer) = self.asker.check(check, &plan).await {
                checks.insert(place, Sample { at: now, answer });
            }
        }
        let mut facts = Facts {
            requester: waiting.by.clone(),
            requested_at: waiting.at,
            plan,
            planned_at: waiting.at,
            heard_until: now,
            branch: self.origin.branch.clone(),
            dirty: self.origin.dirty,
            trust: None,
            succeeded_in: BTreeSet::new(),
            votes: Vec::new(),
            checks,
            freeze_override: None,
            break_glass: None,
        };
        for vote in &waiting.votes {
            match &vote.said {
                ProvisionEvent::Voted { plan, by, approves, comment } => facts.votes.push(Vote {
                    person: by.clone(),
                    plan: *plan,
                    at: vote.at,
                    says: if *approves { Say::Approve } else { Say::Reject },
                    comment: comment.clone(),
                }),
                ProvisionEvent::Overridden { plan, by, reason, freeze_only } => {
                    let taken = Override::new(by, reason, *plan, vote.at).ok();
                    if *freeze_only { facts.freeze_override = taken } else { facts.break_glass = taken }
                }
                _ => {}
            }
        }
        judge(&self.protection, &facts, now)
    }
}
