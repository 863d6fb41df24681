//! Deciders that are wrong on purpose: each forgets one thing, so that it can be seen that the properties notice.
//!
//! In this crate's own tests every decision goes through here. It is the right one, unless the test's thread asked for a wrong one.

use std::cell::Cell;

use staith_model::{
    Blame, DeploymentChange as Change, DeploymentRecord, DeploymentState as State, Direction, Failure,
    Reason, TargetStep, Work,
};

use super::{
    decide::decide as rightly,
    view::{Decision, Limits, View},
};

/// What is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// I1: that somebody wants it stopped.
    Abort,
    /// I1: that it stops at once, and not when nothing is in flight any more.
    AbortAtOnce,
    /// I1: that nothing leads forward any more once it was stopped.
    WayBack,
    /// I2: that all machines have the files before the first shows them.
    Barrier,
    /// I3: how many machines may be out of service.
    Budget,
    /// That machines are taken out of traffic before they change.
    Drain,
    /// That a release has to prove itself before it gets requests.
    Proof,
    /// That nothing is begun while it stands still.
    Pause,
    /// That only a person can tell whether a hook has run.
    Undecided,
    /// I4: that what waits has a deadline.
    Deadline,
    /// I5: that another driver has taken over.
    Lease,
    /// I6: that going back asks nobody.
    Free,
    /// I6: that going back moves no bytes.
    Bytes,
    /// I7: that no reply is no failure.
    NoReply,
    /// I7: that no data is no success.
    NoData,
    /// I7: how many measurements may be bad.
    Limit,
    /// How many requests the machines of a wave get.
    Share,
    /// I8: that what is done is only looked at.
    Reads,
}

thread_local! {
    static WRONG: Cell<Option<Wrong>> = const { Cell::new(None) };
}

impl Wrong {
    /// Decisions of this thread are wrong while `during` runs.
    pub(super) fn while_doing<T>(self, during: impl FnOnce() -> T) -> T {
        WRONG.set(Some(self));
        let done = during();
        WRONG.set(None);
        done
    }

    /// Whether this is forgotten now.
    pub(super) fn is_forgotten(self) -> bool {
        WRONG.get() == Some(self)
    }
}

/// What happens next, rightly or wrongly.
///
/// # Panics
/// It waits for ever, which is forbidden (I4).
pub(super) fn decide(view: &View<'_>) -> Decision {
    let decision = WRONG.get().map_or_else(|| rightly(view), |wrong| wrongly(wrong, view));
    if let Decision::Wait(waiting) = &decision {
        let most = view.now.saturating_add(longest(view.limits));
        assert!(waiting.until <= most, "I4: it waits without a deadline in {:?}", view.record.state);
    }
    decision
}

fn longest(limits: &Limits) -> u64 {
    let of_people = limits.gates.max(limits.pause).max(limits.decision);
    of_people.max(limits.staging).max(limits.wave).max(limits.back).max(limits.finalizing).max(limits.halting)
}

fn wrongly(wrong: Wrong, view: &View<'_>) -> Decision {
    let begins = view.now == view.record.since && view.running.is_empty();
    match (wrong, view.record.state) {
        (Wrong::Abort, _) => as_if(view, |record| record.abort = None),
        (Wrong::AbortAtOnce, _) if !view.running.is_empty() => as_if(view, |record| record.abort = None),
        (Wrong::WayBack, State::RollingBack) if begins => {
            let forward = |name| Work::Switch { target: name, to: Some(view.record.plan.release) };
            Decision::Do(first(view).map(forward).into_iter().collect())
        }
        (Wrong::Barrier, State::Staging) if view.record.targets.values().any(is_staged) => {
            Decision::Change(Change::StagedEverywhere, None)
        }
        (Wrong::Barrier, State::Staged) => Decision::Change(Change::SwitchBegan, None),
        (Wrong::Budget, _) => as_if(view, |record| record.plan.pace.max_unavailable = u32::MAX),
        (Wrong::Drain, _) => as_if(view, |record| record.plan.pace.drains = false),
        (Wrong::Proof, _) => as_if(view, |record| {
            let release = record.plan.release;
            let switched = |target: &&mut staith_model::TargetRecord| target.step >= TargetStep::Switched;
            record
                .targets
                .values_mut()
                .filter(switched)
                .for_each(|target| target.proven = Some((release, view.now)));
        }),
        (Wrong::Pause, State::Paused { wave, soaking: false }) => {
            let on_its_way = as_if(view, |record| {
                (record.state, record.pause) = (State::Switching { wave }, false);
            });
            // It only begins things: the table knows no change of one that switches here.
            if matches!(on_its_way, Decision::Do(_)) { on_its_way } else { rightly(view) }
        }
        (Wrong::Undecided, _) => as_if(view, |record| {
            record
                .targets
                .values_mut()
                .filter_map(|target| target.failed.as_mut())
                .for_each(|failed| failed.undecided = false);
        }),
        (Wrong::Deadline, _) => {
            let limits =
                Limits { pause: u64::MAX, decision: u64::MAX, watch: u64::MAX, ..view.limits.clone() };
            rightly(&View { limits: &limits, ..*view })
        }
        (Wrong::Free, State::AwaitingGates) => {
            as_if(view, |record| record.plan.direction = Direction::Forward)
        }
        (Wrong::Bytes, State::RollingBack) if begins => {
            Decision::Do(first(view).map(|target| Work::Stage { target }).into_iter().collect())
        }
        (Wrong::NoReply, _) => as_if(view, blame_the_silent),
        (Wrong::NoData, _) => as_if(view, |record| {
            let silent = record.samples.values_mut().filter(|samples| samples.failed == 0);
            silent.for_each(|samples| (samples.passed, samples.missing) = (u32::MAX, 0));
        }),
        (Wrong::Limit, _) => as_if(view, |record| {
            let analysis = record.plan.analysis.iter_mut();
            analysis.for_each(|analysis| analysis.failure_limit = analysis.failure_limit * 2 + 1);
        }),
        (Wrong::Share, _) => as_if(view, |record| {
            let full = record.plan.traffic.as_ref().map_or(1, |traffic| traffic.full_weight);
            record.plan.waves.iter_mut().for_each(|wave| wave.weight = full);
        }),
        (Wrong::Reads, State::Finalizing) if begins => {
            let keep = view.record.plan.keep.clone();
            Decision::Do(first(view).map(|target| Work::Retain { target, keep }).into_iter().collect())
        }
        _ => rightly(view),
    }
}

/// What would be decided if the log had told another story.
fn as_if(view: &View<'_>, another: impl FnOnce(&mut DeploymentRecord)) -> Decision {
    let mut record = view.record.clone();
    another(&mut record);
    rightly(&View { record: &record, ..*view })
}

fn is_staged(target: &staith_model::TargetRecord) -> bool {
    target.step >= TargetStep::Staged
}

fn first(view: &View<'_>) -> Option<staith_model::Name> {
    view.record.plan.members().next().map(|one| one.target.name.clone())
}

fn blame_the_silent(record: &mut DeploymentRecord) {
    for target in
        record.targets.values_mut().filter(|target| target.lost.is_some() && target.failed.is_none())
    {
        let reason = Reason { blame: Blame::Environment, what: "it did not answer".into(), remedy: None };
        target.failed = Some(Failure { step: target.step, reason, undecided: false });
    }
}
