//! What happens next. Pure: the same log, the same sights and the same time give the same decision, whoever asks.

use staith_model::{
    Ask, Blame, DeploymentChange as Change, DeploymentState as State, Direction, HookPoint, Reason,
    TargetAction, Work,
};

use super::{
    deployer::ABOVE_THE_FLOOR,
    lingering, phases,
    reconcile::{Steps, backward, forward, reconcile},
    soak,
    view::{Decision, Gates, View, Waiting, WaitsFor},
};

/// How often a plan is made anew because what is there keeps changing.
const MOST_REPLANS: u32 = 5;

/// Decides what happens next to a deployment.
pub fn decide(view: &View<'_>) -> Decision {
    if view.record.state.is_terminal() {
        return Decision::Over;
    }
    if let Some(decision) = stop(view) {
        return decision;
    }
    match view.record.state {
        State::Planned => planned(view),
        State::AwaitingGates => gates(view),
        State::Acquiring if is_past(view, view.limits.gates_fresh) || is_held_back(view) => {
            Decision::Change(Change::GatesLapsed, None)
        }
        State::Acquiring => Decision::Acquire,
        State::Staging => phases::staging(view),
        State::Staged if view.record.pause => before_the_switch(view),
        State::Staged => phases::barrier(view),
        State::Migrating => phases::hooks(view, HookPoint::BeforeSwitch)
            .unwrap_or(Decision::Change(Change::SwitchBegan, None)),
        State::Switching { .. } if view.record.pause => Decision::Change(Change::Paused, None),
        State::Switching { wave } => switching(view, wave),
        State::Soaking { .. } if view.record.pause => Decision::Change(Change::Paused, None),
        State::Soaking { wave } => soak::soaking(view, wave),
        State::Paused { wave, soaking } => paused(view, wave, soaking),
        State::Finalizing => phases::finalizing(view),
        State::Halting => halting(view),
        State::RollingBack => rolling_back(view),
        State::NeedsDecision => decision(view),
        _ => Decision::Over,
    }
}

/// Abort is heeded before anything else is looked at.
fn stop(view: &View<'_>) -> Option<Decision> {
    let (by, why) = view.record.abort.as_ref()?;
    let what = format!("stopped by {by}: {why}");
    let reason = Some(Reason { blame: Blame::Environment, what, remedy: None });
    match view.record.state {
        State::Planned | State::AwaitingGates | State::Acquiring => {
            Some(Decision::Change(Change::Cancelled, reason))
        }
        State::Halting | State::RollingBack => None,
        State::NeedsDecision if view.record.back => None,
        _ => Some(Decision::Change(Change::Aborted, reason)),
    }
}

pub(super) const fn is_past(view: &View<'_>, limit: u64) -> bool {
    view.record.since.saturating_add(limit) <= view.now
}

pub(super) const fn until(view: &View<'_>, limit: u64) -> u64 {
    view.record.since.saturating_add(limit)
}

pub(super) const fn progress(until: u64) -> Decision {
    Decision::Wait(Waiting { what: WaitsFor::Progress, until })
}

pub(super) fn trouble(what: String, remedy: &str) -> Option<Reason> {
    Some(Reason { blame: Blame::Environment, what, remedy: Some(remedy.into()) })
}

fn planned(view: &View<'_>) -> Decision {
    match view.record.outdated {
        true if view.record.replans >= MOST_REPLANS => Decision::Change(
            Change::Cancelled,
            trouble(
                format!("what is there changed {MOST_REPLANS} times while it was planned"),
                "find out who else changes these machines, then deploy again",
            ),
        ),
        true => Decision::Replan,
        false => match refused_by_floor(view) {
            Some(why) => Decision::Change(Change::Cancelled, trouble(why.to_owned(), OVERRIDE)),
            None => Decision::Change(Change::Submitted, None),
        },
    }
}

const OVERRIDE: &str = "ask for it with `--override-floor REASON` if it has to be";

/// Why the plan is not carried out unless a person said so with a reason.
fn refused_by_floor<'a>(view: &View<'a>) -> Option<&'a str> {
    let floor = view.record.plan.floor.as_ref().filter(|_| view.record.floor_override.is_none());
    floor.and_then(|floor| floor.refused.as_deref())
}

fn gates(view: &View<'_>) -> Decision {
    // Going back waits for nobody.
    if view.record.plan.direction == Direction::Back {
        return Decision::Change(Change::GatesPassed, None);
    }
    let refused = |what: String| Some(Reason { blame: Blame::Project, what, remedy: None });
    if let (true, Some(held)) = (is_held_back(view), view.held) {
        let what = format!("runs don't release here now: {held}");
        return Decision::Change(
            Change::Rejected,
            trouble(what, "`staith release lift` lets runs release again"),
        );
    }
    match view.gates {
        Gates::Open | Gates::OpenByDefault { .. } => Decision::Change(Change::GatesPassed, None),
        Gates::Refused { why } => Decision::Change(Change::Rejected, refused(why.clone())),
        Gates::Superseded { by } => {
            Decision::Change(Change::Superseded, refused(format!("{by} took its place")))
        }
        Gates::Waiting { what, until: deadline } => {
            let deadline = (*deadline).min(until(view, view.limits.gates));
            if deadline <= view.now {
                let what = format!("its time was up while it waited for: {}", what.join("; "));
                return Decision::Change(Change::Expired, refused(what));
            }
            Decision::Wait(Waiting { what: WaitsFor::Gates(what.clone()), until: deadline })
        }
    }
}

/// Somebody went back to an older release, and nobody asked for this very one.
fn is_held_back(view: &View<'_>) -> bool {
    view.record.by_itself && view.record.plan.direction == Direction::Forward && view.held.is_some()
}

/// What a person can say where one has to decide.
pub(super) const fn ways_on(view: &View<'_>) -> &'static str {
    match view.record.back {
        true => "say `staith release retry`, `skip` or `accept`",
        false => "say `staith release retry`, `skip`, `accept` or `abort`",
    }
}

fn switching(view: &View<'_>, wave: u32) -> Decision {
    let steps = reconcile(view, &forward(view, wave, true));
    if let Some(decision) = failure(view) {
        return decision;
    }
    go_on(view, steps, lingering::beside(view.record, view.limits.wave), Change::WaveSwitched)
}

/// A machine on which something failed turns the deployment back; one of which it can't be told needs a person.
pub(super) fn failure(view: &View<'_>) -> Option<Decision> {
    let mut failed =
        view.record.targets.iter().filter_map(|(name, record)| Some((name, record.failed.as_ref()?)));
    let (name, failure) = failed.find(|(name, _)| !view.out.contains(*name))?;
    let mut reason = failure.reason.clone();
    reason.what = format!("{name}: {}", reason.what);
    let change = if failure.undecided { Change::Undecidable } else { Change::Aborted };
    Some(Decision::Change(change, Some(reason)))
}

/// Does what there is to do, or goes on if there is nothing, or asks a person if nothing can be done.
fn go_on(view: &View<'_>, steps: Steps, limit: u64, arrived: Change) -> Decision {
    let works = within(view, &steps.works);
    if !works.is_empty() {
        return Decision::Do(works);
    }
    if steps.arrived && steps.stuck.is_empty() && view.running.is_empty() {
        return Decision::Change(arrived, None);
    }
    if !view.running.is_empty() && !is_past(view, limit) {
        return progress(steps.until.unwrap_or(u64::MAX).min(until(view, limit)));
    }
    if let Some(why) = &steps.traffic_stuck {
        // Nobody lost requests by that: they are where they were.
        let reason = trouble(why.clone(), "look at the traffic provider");
        let back = view.record.back;
        let refused = view.record.serve.as_ref().is_some_and(|serve| serve.failed.is_some());
        let change = if back || !refused { Change::Undecidable } else { Change::Aborted };
        return Decision::Change(change, reason);
    }
    let only_stuck = steps.until.is_none() && !steps.stuck.is_empty();
    if steps.arrived || only_stuck || is_past(view, limit) {
        return Decision::Change(Change::Undecidable, trouble(stuck(&steps), ways_on(view)));
    }
    progress(steps.until.unwrap_or(u64::MAX).min(until(view, limit)))
}

fn stuck(steps: &Steps) -> String {
    if steps.stuck.is_empty() {
        return "its time is up, and no more machines may be taken out of service than are already".into();
    }
    let lines: Vec<String> = steps.stuck.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    lines.join("; ")
}

/// No more at once than the limit, looks first: they are cheap, and tell what else is to be done.
pub(super) fn within(view: &View<'_>, works: &[Work]) -> Vec<Work> {
    let room = view.limits.at_once.saturating_sub(view.running.len());
    let mut works: Vec<Work> = works.iter().filter(|work| !view.running.contains(work)).cloned().collect();
    works.sort_by_key(|work| (!work.is_look(), matches!(work, Work::Stage { .. })));
    works.truncate(room);
    works
}

fn nobody_went_on() -> Decision {
    let reason = trouble("nobody said to go on in time".into(), "deploy again when it may go on");
    Decision::Change(Change::Aborted, reason)
}

/// Nothing shows yet, and nothing does while it is to stand still: neither a migration nor a switch.
fn before_the_switch(view: &View<'_>) -> Decision {
    if is_past(view, view.limits.pause) {
        return nobody_went_on();
    }
    let what = WaitsFor::Resume("somebody paused it".into());
    Decision::Wait(Waiting { what, until: until(view, view.limits.pause) })
}

/// What is begun is finished, nothing else is begun. Measurements go on: what goes wrong meanwhile still turns it back.
fn paused(view: &View<'_>, wave: u32, soaking: bool) -> Decision {
    if !view.record.pause {
        return Decision::Change(Change::Resumed, None);
    }
    if let Some(decision) = failure(view) {
        return decision;
    }
    if is_past(view, view.limits.pause) {
        return nobody_went_on();
    }
    let works = if soaking {
        match soak::watch(view, wave) {
            Ok(works) => works,
            Err(decision) => return decision,
        }
    } else {
        reconcile(view, &forward(view, wave, false)).works
    };
    let works = within(view, &works);
    if !works.is_empty() {
        return Decision::Do(works);
    }
    let why =
        view.record.trouble.as_ref().map_or_else(|| "somebody paused it".into(), |why| why.what.clone());
    let next = view.now.saturating_add(view.limits.watch);
    let until = until(view, view.limits.pause).min(next);
    Decision::Wait(Waiting { what: WaitsFor::Resume(why), until })
}

fn halting(view: &View<'_>) -> Decision {
    let in_flight = view.running.iter().any(|work| !work.only_reads());
    if in_flight && !is_past(view, view.limits.halting) {
        return progress(until(view, view.limits.halting));
    }
    if let Some(why) = view.record.may_not_go_back().filter(|_| view.record.showed) {
        let before = view.record.trouble.as_ref().map(|trouble| trouble.what.as_str()).unwrap_or_default();
        let what = format!("{before}; it does not go back by itself: {why}");
        return Decision::Change(Change::Undecidable, trouble(what, ABOVE_THE_FLOOR));
    }
    if view.record.showed {
        return Decision::Change(Change::RollbackBegan, None);
    }
    Decision::Change(Change::Restored, None)
}

fn rolling_back(view: &View<'_>) -> Decision {
    let goal = backward(view);
    // The barrier: it is known of each machine whether it can go back before the first does.
    let blind =
        |(name, _): &&(staith_model::Name, _)| view.machine(name).is_none() && !view.is_given_up(name);
    let unseen: Vec<_> = goal.targets.iter().filter(blind).map(|(name, _)| name).collect();
    let begun = goal
        .targets
        .iter()
        .any(|(name, to)| view.target(name).switched == Some(*to) || view.target(name).switching);
    if !unseen.is_empty() && !begun {
        let looks: Vec<Work> = unseen.iter().filter_map(|name| view.look_at(name, 0)).collect();
        let looks = within(view, &looks);
        if !looks.is_empty() {
            return Decision::Do(looks);
        }
        if view.running.is_empty() {
            let next = unseen.iter().filter_map(|name| Some(view.limits.again(view.lost(name)?))).min();
            return progress(next.unwrap_or(u64::MAX).min(until(view, view.limits.back)));
        }
    }
    go_on(view, reconcile(view, &goal), lingering::beside(view.record, view.limits.back), Change::Restored)
}

fn decision(view: &View<'_>) -> Decision {
    let back = view.record.back;
    // Nothing was brought back yet, and nothing is before a person says so.
    let goes_back = back && view.record.may_not_go_back().is_none();
    match &view.record.ask {
        Some(Ask::Retry | Ask::Skip { .. }) if goes_back => Decision::Change(Change::RollbackBegan, None),
        Some(Ask::Retry | Ask::Skip { .. }) => Decision::Change(Change::Retried, None),
        Some(Ask::Accept) if goes_back => Decision::Change(Change::Restored, None),
        Some(Ask::Accept) => Decision::Change(Change::Accepted, None),
        _ if !is_past(view, view.limits.decision) => {
            let why = view.record.trouble.as_ref().map(|why| why.what.clone()).unwrap_or_default();
            let until = until(view, view.limits.decision);
            Decision::Wait(Waiting { what: WaitsFor::Decision(why), until })
        }
        _ if back => Decision::Change(Change::RestoreFailed, None),
        _ => Decision::Change(
            Change::Aborted,
            trouble("nobody decided in time".into(), "deploy again when the cause is gone"),
        ),
    }
}

/// Machines that take part, whatever happens to them.
pub(super) fn members<'a>(view: &View<'a>) -> impl Iterator<Item = &'a staith_model::TargetPlan> {
    let (record, out) = (view.record, view.out);
    record.plan.targets.iter().filter(move |one| {
        !matches!(one.action, TargetAction::Quarantined | TargetAction::Kept)
            && !out.contains(&one.target.name)
            && !record.target(&one.target.name).skipped
    })
}
