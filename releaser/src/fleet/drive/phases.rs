//! The parts of a deployment that are not a way from one release to another: staging, barrier, hooks, the end.

use std::collections::BTreeSet;

use staith_model::{DeploymentChange as Change, HookPoint, Name, PaceKind, TargetAction, TargetStep, Work};

use super::{
    decide::{failure, is_past, members, progress, trouble, until, ways_on, within},
    target::has_run,
    view::{Decision, View},
};

/// Files everywhere, before anything shows anywhere.
pub(super) fn staging(view: &View<'_>) -> Decision {
    let release = view.record.plan.release;
    let mut works = Vec::new();
    let mut next = until(view, view.limits.staging);
    let mut complete = true;
    for one in members(view) {
        let name = &one.target.name;
        if let Some(failure) = &view.target(name).failed {
            return failed_to_stage(view, format!("{name}: {}", failure.reason.what));
        }
        if let Some(lost) = view.lost(name).filter(|_| view.is_given_up(name) && !view.is_busy(name)) {
            return failed_to_stage(view, format!("{name} did not answer: {}", lost.why));
        }
        let named = view.machine(name).is_some_and(|seen| seen.releases.contains(&release));
        // Files that are to be repaired have the release's name already.
        let here =
            named && (one.action != TargetAction::Repair || view.target(name).step >= TargetStep::Staged);
        complete &= here;
        if here || view.is_busy(name) {
            continue;
        }
        if !view.may_ask(name) {
            next = next.min(view.lost(name).map_or(u64::MAX, |lost| view.limits.again(lost)));
        } else if view.machine(name).is_some() {
            works.push(Work::Stage { target: name.clone() });
        } else {
            works.extend(view.look_at(name, 0));
        }
    }
    if complete {
        return Decision::Change(Change::StagedEverywhere, None);
    }
    if is_past(view, view.limits.staging) {
        return failed_to_stage(view, "the time for bringing files to all machines is up".into());
    }
    let works = within(view, &works);
    if works.is_empty() { progress(next) } else { Decision::Do(works) }
}

fn failed_to_stage(view: &View<'_>, what: String) -> Decision {
    let reason = trouble(what, "see to that machine, or quarantine it, then deploy again");
    // Tried again after something had become visible: then there is something to decide.
    let change = if view.record.showed { Change::Undecidable } else { Change::StagingFailed };
    Decision::Change(change, reason)
}

/// Nothing switches unless what is there is still what the plan was made for.
pub(super) fn barrier(view: &View<'_>) -> Decision {
    let oldest = view.now.saturating_sub(view.limits.fresh).max(view.record.since);
    let mut works: Vec<Work> =
        members(view).filter_map(|one| view.look_at(&one.target.name, oldest)).collect();
    works.extend(view.look_at_traffic(oldest));
    let works = within(view, &works);
    if !works.is_empty() {
        return Decision::Do(works);
    }
    let blind = members(view).any(|one| view.machine(&one.target.name).is_none())
        || (view.has_traffic() && view.balancer().is_none());
    if blind || !view.running.is_empty() {
        if is_past(view, view.limits.contact) {
            let what = "machines, or the traffic provider, stopped answering before the switch";
            return Decision::Change(Change::Undecidable, trouble(what.into(), ways_on(view)));
        }
        let wait = view.now.saturating_add(view.limits.backoff);
        return progress(wait.min(until(view, view.limits.contact)).max(view.now + 1));
    }
    if !view.record.showed && !matches_plan(view) {
        return Decision::Change(Change::PlanOutdated, None);
    }
    match hooks(view, HookPoint::BeforeSwitch) {
        Some(_) => Decision::Change(Change::MigrationBegan, None),
        None => Decision::Change(Change::SwitchBegan, None),
    }
}

fn matches_plan(view: &View<'_>) -> bool {
    let plan = &view.record.plan;
    let as_planned = |one: &staith_model::TargetPlan| {
        let seen = view.machine(&one.target.name).map(|seen| seen.current);
        let expected = seen == Some(one.before) || seen == Some(Some(plan.release));
        one.action != TargetAction::Unreachable && expected
    };
    let idle_serves = match &plan.pace.kind {
        PaceKind::Pools { to, from } if from.as_ref() != Some(to) => {
            let shares = view.shares();
            members(view).any(|one| shares.contains_key(&one.target.name))
        }
        _ => false,
    };
    members(view).all(as_planned) && !idle_serves
}

/// The next hooks of a point that concern the deployment as a whole; `None` when all have run.
pub(super) fn hooks(view: &View<'_>, at: HookPoint) -> Option<Decision> {
    let of_point = view.record.plan.hooks.iter().filter(|hook| hook.hook.at == at);
    for hook in of_point {
        let takes_part = |name: &&Name| {
            !view.out.contains(*name)
                && !view.target(name).skipped
                && !has_run(view.record, at, &hook.hook.name, name)
        };
        let due: Vec<&Name> = hook.targets.iter().filter(takes_part).collect();
        if !due.is_empty() {
            return Some(run(view, &due, &hook.hook.name, at));
        }
    }
    None
}

fn run(view: &View<'_>, due: &[&Name], hook: &Name, at: HookPoint) -> Decision {
    if let Some(decision) = failure(view) {
        return decision;
    }
    let mut works = Vec::new();
    let mut next = until(view, view.limits.wave);
    for name in due.iter().copied() {
        if let Some(lost) = view.lost(name).filter(|_| view.is_given_up(name) && !view.is_busy(name)) {
            let what = format!("{name} did not answer while hook `{hook}` ran: {}", lost.why);
            return Decision::Change(Change::Undecidable, trouble(what, ways_on(view)));
        }
        if view.is_busy(name) {
            continue;
        }
        if view.may_ask(name) {
            works.push(Work::Hook { target: name.clone(), hook: hook.clone(), at });
        } else {
            next = next.min(view.lost(name).map_or(u64::MAX, |lost| view.limits.again(lost)));
        }
    }
    if is_past(view, view.limits.wave) {
        let what = format!("the time for hook `{hook}` is up");
        return Decision::Change(Change::Undecidable, trouble(what, ways_on(view)));
    }
    let works = within(view, &works);
    if works.is_empty() { progress(next) } else { Decision::Do(works) }
}

/// Old files go. What can't be removed stays: that is no reason to fail.
pub(super) fn finalizing(view: &View<'_>) -> Decision {
    let mut works = Vec::new();
    for one in members(view) {
        let name = &one.target.name;
        let tries = view.target(name).lost.as_ref().map_or(0, |lost| lost.tries);
        if view.target(name).retained || view.is_busy(name) || tries >= 3 {
            continue;
        }
        let Some(seen) = view.machine(name) else {
            let tries = view.lost(name).map_or(0, |lost| lost.tries);
            if tries < 3 && view.may_ask(name) {
                works.extend(view.look_at(name, 0));
            }
            continue;
        };
        let mut keep: BTreeSet<_> = view.record.plan.keep.clone();
        keep.extend(one.before);
        let stays = |release: &_| {
            keep.contains(release) || seen.current == Some(*release) || seen.previous == Some(*release)
        };
        if !seen.releases.iter().all(stays) && view.may_ask(name) {
            works.push(Work::Retain { target: name.clone(), keep });
        }
    }
    let works = within(view, &works);
    if !works.is_empty() && !is_past(view, view.limits.finalizing) {
        return Decision::Do(works);
    }
    let waits = members(view).map(|one| &one.target.name).filter(|name| {
        let tries = view.lost(name).map_or(0, |lost| lost.tries);
        tries > 0 && tries < 3 && !view.may_ask(name) && !view.target(name).retained
    });
    let next = waits.filter_map(|name| Some(view.limits.again(view.lost(name)?))).min();
    let in_flight = !view.running.is_empty();
    if (in_flight || next.is_some()) && !is_past(view, view.limits.finalizing) {
        return progress(next.unwrap_or(u64::MAX).min(until(view, view.limits.finalizing)));
    }
    Decision::Change(Change::Finalized, None)
}
