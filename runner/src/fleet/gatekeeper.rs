//! What protects an environment, judged from its ledger and from what is asked of others. `turn` is about deployments that wait for one
//! another.

mod turn;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use staith_model::{
    DeploymentId, DeploymentRecord, DeploymentState, Digest, Direction, FleetEvent, FleetState, Name,
    Protection,
};
use staith_releaser::fleet::{
    drive::{Gates, Judge, Log, Verdict},
    freeze::FleetShelf,
    gate::{
        Facts, GateState, GateVerdict, Override, Ruling, Sample, Say, Vote,
        analysis::{Judgement, analyse},
        ask::Asker,
        judge,
    },
};

use crate::clock;
use turn::Turn;

/// Judges by an environment's protection.
pub(crate) struct Gatekeeper {
    protection: Protection,
    log: Log,
    others: Vec<(Log, Name)>,
    shelf: FleetShelf,
    asker: Asker,
    /// Who may go past gates; anybody if that is not known.
    overriders: Option<BTreeSet<String>>,
    /// Until when people are heard, where what they say comes from afar.
    heard: Option<Heard>,
}

/// Until when all that people said from afar stands in the ledgers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Arc<AtomicU64>);

impl Heard {
    /// In milliseconds since 1970.
    fn until(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// All that was said until then is written down.
    pub(crate) fn all_until(&self, millis: u64) {
        self.0.fetch_max(millis, Ordering::AcqRel);
    }
}

impl Gatekeeper {
    pub(super) fn new(
        protection: Protection,
        log: Log,
        others: Vec<(Log, Name)>,
        shelf: FleetShelf,
        asker: Asker,
    ) -> Self {
        Self { protection, log, others, shelf, asker, overriders: None, heard: None }
    }

    /// The same, where only what these people say goes past gates. A word of somebody who was one of them and no longer is counts for
    /// nothing, as an approval does.
    pub(super) fn overridden_by(self, overriders: Option<BTreeSet<String>>) -> Self {
        Self { overriders, ..self }
    }

    /// The same, where what people say gets into the ledger by way of a server.
    pub(super) fn hearing(self, heard: Option<Heard>) -> Self {
        Self { heard, ..self }
    }

    fn may_override(&self, person: &str) -> bool {
        self.overriders.as_ref().is_none_or(|people| people.contains(person))
    }

    /// Why a plan that leads below the rollback floor is not carried out any more: who said that it may no longer could.
    fn floor_again(&self, record: &DeploymentRecord) -> Option<String> {
        let refused = record.plan.floor.as_ref()?.refused.as_ref()?;
        let (by, _) = record.floor_override.as_ref().filter(|(by, _)| !self.may_override(by))?;
        Some(format!("{refused}; {by} said that it may nevertheless, and may not say so any more"))
    }

    /// The verdict on a deployment now. Cancel-safe.
    pub(crate) async fn verdict(&self, record: &DeploymentRecord) -> GateVerdict {
        let plan = record.plan.digest();
        let release = record.plan.release;
        let mut checks = BTreeMap::new();
        for (place, check) in self.protection.checks.iter().enumerate() {
            if let Some(answer) = self.asker.check(check, &release).await {
                checks.insert(place, Sample { at: clock::unix_millis(), answer });
            }
        }
        let source = self.shelf.get(&release).ok().flatten().map(|release| release.source);
        // Taken before the ledger is read: what is heard is in it.
        let heard_until = self.heard.as_ref().map_or_else(clock::unix_millis, Heard::until);
        let said = self.said(&record.deployment);
        let facts = Facts {
            requester: record.by.clone(),
            requested_at: record.requested_at,
            plan,
            planned_at: said.planned_at.unwrap_or(record.requested_at),
            heard_until,
            branch: source.as_ref().and_then(|source| source.branch.clone()),
            trust: source.as_ref().and_then(|source| source.trust),
            dirty: source.as_ref().is_none_or(|source| source.dirty),
            succeeded_in: self.succeeded_in(&release),
            votes: said.votes,
            checks,
            freeze_override: said.freeze_override,
            break_glass: said.break_glass,
        };
        judge(&self.protection, &facts, clock::unix_millis())
    }

    fn said(&self, deployment: &DeploymentId) -> Said {
        let mut said = Said::default();
        // A log that can't be read says nothing in anybody's favour.
        for entry in self.log.since(0).unwrap_or_default() {
            match entry.event {
                FleetEvent::Voted { deployment: of, plan, by, approves, comment } if of == *deployment => {
                    let says = if approves { Say::Approve } else { Say::Reject };
                    said.votes.push(Vote { person: by, plan, at: entry.at, says, comment });
                }
                FleetEvent::Replanned { deployment: of, .. } if of == *deployment => {
                    said.planned_at = Some(entry.at);
                }
                FleetEvent::Overridden { deployment: of, plan, by, reason, freeze_only, floor: false }
                    if of == *deployment && self.may_override(&by) =>
                {
                    let taken = Override::new(&by, &reason, plan, entry.at).ok();
                    if freeze_only {
                        said.freeze_override = taken;
                    } else {
                        said.break_glass = taken;
                    }
                }
                _ => {}
            }
        }
        said
    }

    fn succeeded_in(&self, release: &Digest) -> BTreeSet<Name> {
        let serves = |log: &Log| {
            let entries = log.since(0).unwrap_or_default();
            let state = FleetState::of(entries.iter().map(|entry| (entry.at, &entry.event)));
            // What was taken back is not what serves last.
            let mut those = state.in_order().filter(|record| record.plan.release == *release);
            those.any(|record| {
                record.state == DeploymentState::Succeeded && record.plan.direction == Direction::Forward
            })
        };
        self.others.iter().filter(|(log, _)| serves(log)).map(|(_, name)| name.clone()).collect()
    }
}

#[derive(Default)]
struct Said {
    votes: Vec<Vote>,
    planned_at: Option<u64>,
    freeze_override: Option<Override>,
    break_glass: Option<Override>,
}

#[async_trait]
impl Judge for Gatekeeper {
    async fn gates(&self, record: &DeploymentRecord) -> Gates {
        let comes_first = match self.turn_of(record).await {
            Turn::Never { by } => return Gates::Superseded { by },
            Turn::Later(what) => Some(what),
            Turn::Now => None,
        };
        if let Some(why) = self.floor_again(record) {
            return Gates::Refused { why };
        }
        let verdict = self.verdict(record).await;
        let told = |state: &GateState| match state {
            GateState::Waiting { what, .. } => Some(what.clone()),
            GateState::Refused { why } => Some(why.clone()),
            GateState::Green { .. } | GateState::ByDefault { .. } | GateState::Overridden { .. } => None,
        };
        let missing = verdict.gates.iter().find_map(|gate| match &gate.state {
            GateState::ByDefault { missing } => Some(missing.clone()),
            _ => None,
        });
        let gates = verdict.gates.iter();
        let gates = gates.filter_map(|gate| Some(format!("{}: {}", gate.name, told(&gate.state)?)));
        let what: Vec<String> = gates.collect();
        match (verdict.ruling, comes_first) {
            (Ruling::Go | Ruling::Wait, Some(first)) => {
                let what = std::iter::once(first).chain(what).collect();
                Gates::Waiting { what, until: verdict.deadline }
            }
            (Ruling::Go, None) => missing.map_or(Gates::Open, |missing| Gates::OpenByDefault { missing }),
            (Ruling::Rejected { by, comment }, _) => {
                Gates::Refused { why: format!("{by} rejected it: {comment}") }
            }
            (Ruling::Refused, _) => Gates::Refused { why: what.join("; ") },
            // The driver lets it expire: it is the same time.
            (Ruling::Wait, None) | (Ruling::Expired, _) => Gates::Waiting { what, until: verdict.deadline },
        }
    }

    /// Remembers nothing: when it is asked, and what the answers come to, is a matter of the ledger.
    async fn analyse(&self, record: &DeploymentRecord, _wave: u32) -> Verdict {
        let Some(analysis) = &record.plan.analysis else {
            return Verdict::Inconclusive("nothing is measured here".into());
        };
        let mut answers = Vec::new();
        for metric in &analysis.metrics {
            answers.push(self.asker.metric(metric, &record.plan.release).await);
        }
        match analyse(analysis, &answers) {
            Judgement::Pass => Verdict::Pass,
            Judgement::Fail { why } => Verdict::Fail(why),
            Judgement::Inconclusive { why } => Verdict::Inconclusive(why),
        }
    }
}
