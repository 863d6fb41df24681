//! What is true of one machine, for a decision.

use staith_model::{
    DeploymentRecord, Digest, HookPoint, Lost, Name, PaceKind, TargetAction, TargetPlan, TargetRecord,
    TargetStep, TrafficPlan, Work,
};

use super::{
    super::machine::{MachineState, Serving},
    view::{Sight, View},
};

impl<'a> View<'a> {
    pub(super) fn target(&self, name: &Name) -> &'a TargetRecord {
        self.record.target(name)
    }

    pub(super) fn machine(&self, name: &Name) -> Option<&'a MachineState> {
        self.sights.machines.get(name).and_then(Sight::seen)
    }

    /// Contact that was lost with a machine: when looking at it, or when something was done to it.
    pub(super) fn lost(&self, name: &Name) -> Option<&'a Lost> {
        let looking = self.sights.machines.get(name).and_then(Sight::lost);
        looking.or(self.target(name).lost.as_ref())
    }

    /// Whether contact has been lost for so long that a person has to be told.
    pub(super) fn is_given_up(&self, name: &Name) -> bool {
        self.lost(name).is_some_and(|lost| lost.since.saturating_add(self.limits.contact) <= self.now)
    }

    /// Whether a machine, asked again, might answer now.
    pub(super) fn may_ask(&self, name: &Name) -> bool {
        self.lost(name).is_none_or(|lost| self.limits.again(lost) <= self.now)
    }

    /// Whether something was done to a machine in this deployment that has to be finished.
    pub(super) fn is_begun(&self, name: &Name) -> bool {
        let served = |plan: &TrafficPlan| plan.serving.contains_key(name);
        let was_serving = self.record.plan.traffic.as_ref().is_some_and(served);
        let is_taken_out = self.record.serve.as_ref().is_some_and(|serve| !serve.to.contains_key(name));
        let has_left =
            self.record.hooks.keys().any(|(at, _, of)| *at == HookPoint::BeforeRestart && of == name);
        let leaves = |work: &Work| matches!(work, Work::Hook { target, at: HookPoint::BeforeRestart, .. } if target == name);
        let is_leaving = self.record.pending.values().any(leaves);
        self.target(name).step >= TargetStep::Switched
            || (was_serving && is_taken_out)
            || has_left
            || is_leaving
    }

    pub(super) fn is_busy(&self, name: &Name) -> bool {
        self.running.iter().any(|work| work.target() == Some(name))
    }

    /// Whether something is being done to a machine that is more than looking.
    pub(super) fn is_touched_now(&self, name: &Name) -> bool {
        self.running.iter().any(|work| !work.only_reads() && work.target() == Some(name))
    }

    /// Whether a machine has to be looked at (again) before it is decided about.
    pub(super) fn is_stale(&self, name: &Name, oldest: u64) -> bool {
        match self.sights.machines.get(name) {
            None => true,
            Some(Sight::Seen { at, .. }) => *at < oldest,
            Some(Sight::Lost(lost)) => self.limits.again(lost) <= self.now,
        }
    }

    /// The work that looks at a machine, if that is needed and not under way.
    pub(super) fn look_at(&self, name: &Name, oldest: u64) -> Option<Work> {
        let looking = self.running.contains(&Work::Observe { target: name.clone() });
        let needed = self.is_stale(name, oldest) && !looking && !self.is_touched_now(name);
        needed.then(|| Work::Observe { target: name.clone() })
    }

    /// Whether a machine has to be told to switch. `None` if that can't be told before it is seen.
    pub(super) fn needs_switch(&self, name: &Name, to: Option<Digest>) -> Option<bool> {
        let (record, seen) = (self.target(name), self.machine(name)?);
        let is_told = record.switched == Some(to);
        let repairs = |plan: &TargetPlan| plan.action == TargetAction::Repair && !self.record.back;
        let is_repaired = self.record.plan.target(name).is_some_and(repairs);
        let runs_other = is_repaired || runs_something_else(seen, to);
        Some(seen.current != to || record.switching || (!is_told && runs_other))
    }

    /// Whether the release that a machine runs now has still to prove that it works.
    pub(super) fn needs_proof(&self, name: &Name, of: &Digest) -> bool {
        let record = self.target(name);
        let touched = record.step >= TargetStep::Switched;
        (touched || !self.record.back) && !record.has_proven(of)
    }

    /// The first hook of this point that has not run on the machine. None runs on the way back.
    pub(super) fn next_hook(&self, name: &Name, at: HookPoint) -> Option<Work> {
        if self.record.back {
            return None;
        }
        let mut hooks = self.record.plan.hooks.iter();
        let due = hooks.find(|hook| {
            hook.hook.at == at
                && hook.targets.contains(name)
                && !has_run(self.record, at, &hook.hook.name, name)
        })?;
        Some(Work::Hook { target: name.clone(), hook: due.hook.name.clone(), at })
    }

    /// Whether a machine is as it should be, but for traffic.
    pub(super) fn is_ready(&self, name: &Name, to: Option<Digest>) -> bool {
        let record = self.target(name);
        record.failed.is_none()
            && self.needs_switch(name, to) == Some(false)
            && to.is_none_or(|release| !self.needs_proof(name, &release))
            && self.next_hook(name, HookPoint::AfterRestart).is_none()
    }

    /// Whether a machine answers clients now, as far as is known. When in doubt, it does not.
    pub(super) fn is_available(&self, name: &Name) -> bool {
        let Some(seen) = self.machine(name) else { return false };
        let record = self.target(name);
        let runs = seen.current.is_some() && seen.serving != Some(Serving::Down);
        let proven = record.step < TargetStep::Switched
            || seen.current.is_some_and(|current| record.has_proven(&current));
        let in_traffic = self.sights.balancer.is_none() || self.is_serving(name);
        runs && proven && in_traffic && record.failed.is_none() && !self.is_touched_now(name)
    }

    /// Whether a machine answers clients now, for all that is known. When in doubt, it does.
    pub(super) fn may_answer(&self, name: &Name) -> bool {
        let gets_requests = !self.has_traffic() || self.may_get_requests(name);
        gets_requests && !self.is_down(name) && !self.is_touched_now(name)
    }

    /// Whether nothing runs on a machine, for certain.
    pub(super) fn is_down(&self, name: &Name) -> bool {
        let stopped = |seen: &MachineState| seen.current.is_none() || seen.serving == Some(Serving::Down);
        self.machine(name).is_some_and(stopped)
    }

    /// Whether a machine belongs to a pool that is not to be touched while it serves, and serves.
    pub(super) fn is_pool_in_use(&self, name: &Name) -> bool {
        let pools = matches!(self.record.plan.pace.kind, PaceKind::Pools { .. });
        pools && self.sights.balancer.is_some() && self.may_get_requests(name)
    }
}

/// Whether the process on a machine is certainly not the one that belongs to `to`.
fn runs_something_else(seen: &MachineState, to: Option<Digest>) -> bool {
    match (&seen.serving, to) {
        (Some(Serving::Down), Some(_)) | (Some(Serving::Up(_)), None) => true,
        (Some(Serving::Up(release)), Some(_)) => *release != to,
        (Some(Serving::Down), None) => false,
        (None, _) => seen.unfinished.is_some(),
    }
}

pub(super) fn has_run(record: &DeploymentRecord, at: HookPoint, hook: &Name, target: &Name) -> bool {
    matches!(record.hooks.get(&(at, hook.clone(), target.clone())), Some(Ok(())))
}
