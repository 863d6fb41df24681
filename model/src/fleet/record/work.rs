//! What a deployment learns from the work that is begun for it, and from what comes of that.

use std::collections::BTreeMap;

use super::{DeploymentRecord, Failure, HookPoint, Lost, ServeRecord, TargetStep, Work};
use crate::{Blame, Digest, Name, Reason, fleet::WorkResult};

impl DeploymentRecord {
    /// What is about to be done may be done from here on.
    pub(in crate::fleet) fn intend(&mut self, operation: Digest, work: &Work) {
        match work {
            Work::Switch { target, .. } => {
                let target = self.edit(target);
                target.switching = true;
                target.switched = None;
                target.proven = None;
                target.reach(TargetStep::Switched);
            }
            Work::Serve { to } => {
                let lost = self.serve.take().filter(|serve| serve.to == *to).and_then(|serve| serve.lost);
                self.serve = Some(ServeRecord { to: to.clone(), settled: None, lost, failed: None });
            }
            _ => {}
        }
        self.pending.insert(operation, work.clone());
    }

    pub(in crate::fleet) fn learn(&mut self, operation: &Digest, work: &Work, result: &WorkResult, at: u64) {
        self.pending.remove(operation);
        if let Work::Probe { target, .. } = work {
            self.edit(target).asked_at = at;
        }
        if let Some(target) = work.target() {
            let target = self.edit(target);
            match result {
                WorkResult::Unknown { why } | WorkResult::Inconclusive { why } => {
                    target.lost = Some(Lost::again(target.lost.as_ref(), at, why));
                }
                _ => target.lost = None,
            }
        }
        match result {
            WorkResult::Done { .. } => self.take_done(work, at),
            WorkResult::Failed { reason } => self.take_failure(work, reason, false, at),
            WorkResult::Undecided { why } => {
                let reason = Reason {
                    blame: Blame::Environment,
                    what: why.clone(),
                    remedy: Some(
                        "look at the machine, then say `staith release retry`, `skip`, `accept` or `abort`"
                            .into(),
                    ),
                };
                self.take_failure(work, &reason, true, at);
            }
            WorkResult::Unknown { why } | WorkResult::Inconclusive { why } => match work {
                Work::Serve { to } => {
                    if let Some(serve) = self.serve.as_mut().filter(|serve| serve.to == *to) {
                        serve.lost = Some(Lost::again(serve.lost.as_ref(), at, why));
                    }
                }
                Work::Analyse { wave } => self.samples.entry(*wave).or_default().miss(at, why),
                _ => {}
            },
        }
    }

    fn take_done(&mut self, work: &Work, at: u64) {
        match work {
            Work::Stage { target } => self.edit(target).reach(TargetStep::Staged),
            Work::Switch { target, to } => {
                let target = self.edit(target);
                target.switching = false;
                target.switched = Some(*to);
                target.reach(TargetStep::Restarted);
            }
            Work::Probe { target, release, .. } => {
                let target = self.edit(target);
                target.proven = Some((*release, at));
                target.bad_glances = 0;
                target.reach(TargetStep::Probed);
            }
            Work::Hook { target, hook, at: point } => {
                self.hooks.insert((*point, hook.clone(), target.clone()), Ok(()));
            }
            Work::Serve { to } => self.take_served(to, at),
            Work::Analyse { wave } => self.samples.entry(*wave).or_default().pass(at),
            Work::Retain { target, .. } => self.edit(target).retained = true,
            Work::Observe { .. } | Work::Look => {}
        }
    }

    fn take_served(&mut self, to: &BTreeMap<Name, u32>, at: u64) {
        if let Some(serve) = self.serve.as_mut().filter(|serve| serve.to == *to) {
            (serve.settled, serve.lost) = (Some(at), None);
        }
        for (name, target) in &mut self.targets {
            let admitted = to.contains_key(name);
            if admitted && target.step == TargetStep::Probed {
                target.reach(TargetStep::Admitted);
            } else if !admitted && target.step < TargetStep::Switched {
                target.reach(TargetStep::Drained);
            }
        }
    }

    fn take_failure(&mut self, work: &Work, reason: &Reason, undecided: bool, at: u64) {
        let step = match work {
            Work::Stage { .. } => TargetStep::Staged,
            Work::Switch { .. } => TargetStep::Restarted,
            Work::Probe { glance: true, target, .. } => {
                let target = self.edit(target);
                target.bad_glances = target.bad_glances.saturating_add(1);
                if target.bad_glances < 3 {
                    target.lost = None;
                    return;
                }
                TargetStep::Probed
            }
            Work::Probe { .. } => TargetStep::Probed,
            Work::Hook { target, hook, at: point } => {
                self.hooks.insert((*point, hook.clone(), target.clone()), Err(reason.clone()));
                if *point == HookPoint::AfterRestart { TargetStep::Admitted } else { TargetStep::Switched }
            }
            Work::Serve { to } => {
                if let Some(serve) = self.serve.as_mut().filter(|serve| serve.to == *to) {
                    serve.failed = Some(reason.clone());
                }
                return;
            }
            Work::Analyse { wave } => {
                self.samples.entry(*wave).or_default().fail(at, &reason.what);
                return;
            }
            // Files that nobody needs are no reason to stop.
            Work::Retain { target, .. } => {
                self.edit(target).retained = true;
                return;
            }
            Work::Observe { .. } | Work::Look => return,
        };
        if let Some(target) = work.target() {
            self.edit(target).failed = Some(Failure { step, reason: reason.clone(), undecided });
        }
    }
}
