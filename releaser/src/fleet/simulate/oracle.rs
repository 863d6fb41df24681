//! Asked at each change whether it may be. What it says ends up in [`World::violations`](super::World::violations).

use std::collections::{BTreeMap, BTreeSet};

use staith_model::{
    DeploymentChange as Change, DeploymentId, DeploymentRecord, DeploymentState, Digest, FleetEvent,
    FleetState, Name, PaceKind, Work, WorkResult,
};

use super::world::Truth;
use crate::fleet::drive::Stamped;

impl Truth {
    /// Whether a client that asks the balancer now gets a good answer.
    pub(super) fn is_served(&self) -> bool {
        let Some(admitted) = &self.admitted else { return true };
        admitted.keys().any(|name| self.machines.get(name).is_some_and(|machine| machine.answers()))
    }

    /// I2: nothing shows anywhere before everything is everywhere.
    pub(super) fn check_barrier(&mut self, what: &str) {
        let lacking = self.machines.iter().find(|(name, machine)| {
            !self.left_out.contains(*name) && !machine.releases.contains(&self.wanted)
        });
        if let Some((name, _)) = lacking {
            self.violations.push(format!("I2: {what} while {name} is not staged"));
        }
    }

    /// I3: what the driver was told counts, whatever the cause; taking out one more must stay within the bound. A machine
    /// that it was told is out of service anyway costs nothing.
    pub(super) fn check_budget(&mut self, taken: &[Name], what: &str) {
        let told_out = |name: &Name| {
            let out = self.admitted.as_ref().is_some_and(|admitted| !admitted.contains_key(name));
            out || self.machines.get(name).is_some_and(|machine| !machine.told_well)
        };
        if taken.iter().all(told_out) {
            return;
        }
        let out = self.machines.keys().filter(|name| taken.contains(name) || told_out(name)).count();
        if out > self.max_unavailable {
            let names: Vec<&str> = taken.iter().map(Name::as_str).collect();
            let max = self.max_unavailable;
            self.violations.push(format!("I3: {what} {} makes {out} unavailable of {max}", names.join(", ")));
        }
    }

    /// A machine that gets requests and answers them is not restarted, where it could have been drained.
    pub(super) fn check_drained(&mut self, name: &Name, to: Option<&Digest>) {
        let admitted = self.admitted.as_ref().is_some_and(|admitted| admitted.contains_key(name));
        let answers = self.machines.get(name).is_some_and(|machine| machine.answers());
        let changes = self.machines.get(name).is_some_and(|machine| machine.running.as_ref() != to);
        if self.drains && admitted && answers && changes && to.is_some() {
            self.violations.push(format!("{name} was restarted while it got requests"));
        }
        let believed = self.left.get(name).is_some_and(|left| left.elapsed() < self.lingers);
        if self.drains && believed && answers && changes && to.is_some() {
            self.violations.push(format!("{name} was restarted while clients believed that it serves"));
        }
    }

    /// Something is done, and a client that was served before is served after.
    pub(super) fn and_still_serve(&mut self, what: &str, change: impl FnOnce(&mut Self)) {
        let before = self.is_served();
        change(self);
        if before && !self.is_served() && self.drains {
            self.violations.push(format!("no endpoint is left after {what}"));
        }
    }
}

/// While a wave is watched, its machines and those before get of the requests what the plan says, and the others the rest; `began` is
/// who got them before. Told by the log, in which every shift is that was done. What it finds is a violation.
pub(super) fn check_shares(
    entries: &[Stamped],
    deployment: &DeploymentId,
    began: BTreeMap<Name, u32>,
) -> Vec<String> {
    let (mut state, mut serving, mut found) = (FleetState::default(), began, Vec::new());
    for entry in entries {
        state.apply(entry.at, &entry.event);
        match &entry.event {
            FleetEvent::Outcome { work: Work::Serve { to }, result: WorkResult::Done { .. }, .. } => {
                serving.clone_from(to);
            }
            FleetEvent::Changed { change: Change::WaveSwitched, .. } => {
                let record = state.deployment(deployment);
                found.extend(record.and_then(|record| share_of_wave(record, &serving)));
            }
            _ => {}
        }
    }
    found
}

fn share_of_wave(record: &DeploymentRecord, serving: &BTreeMap<Name, u32>) -> Option<String> {
    let DeploymentState::Soaking { wave: number } = record.state else { return None };
    let (plan, full) = (&record.plan, u64::from(record.plan.traffic.as_ref()?.full_weight));
    let wave = plan.wave(number)?;
    let new: BTreeSet<&Name> = plan.up_to(number).filter(|name| !record.target(name).skipped).collect();
    let planned = |name: &Name| if new.contains(name) { u64::from(wave.weight) } else { full };
    let (first, weight) = serving.first_key_value()?;
    let is_off =
        |(name, of): (&Name, &u32)| u64::from(*of) * planned(first) != u64::from(*weight) * planned(name);
    // Of machines that are down, whoever balances sends nothing: then the others get more.
    let everybody = plan.pace.kind == PaceKind::InPlace
        && plan.members().all(|one| serving.contains_key(&one.target.name));
    let of = |counts: &dyn Fn(&Name) -> bool| -> u64 {
        serving.iter().filter(|(name, _)| counts(name)).map(|(_, weight)| u64::from(*weight)).sum()
    };
    let (got, all) = (of(&|name| new.contains(name)), of(&|_| true).max(1));
    let is_more = everybody && (got * 10_000 + all / 2) / all != u64::from(wave.share);
    (serving.iter().any(is_off) || is_more).then(|| {
        let (weight, share) = (wave.weight, wave.share);
        format!("wave {number} is watched while {serving:?} serve; its weight is {weight} of {full}, {share} of 10000")
    })
}
