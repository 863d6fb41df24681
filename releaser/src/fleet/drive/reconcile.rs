//! The smallest things to do so that machines come to run what they should, and to get requests then.
//!
//! Nothing here remembers a position: what is to be done follows from what is seen and what is written down. Whoever was
//! killed in the middle decides the same.

use std::collections::BTreeSet;

use staith_model::{DeploymentRecord, Digest, HookPoint, Name, PaceKind, TargetStep, Work};

use super::{
    shares::{Shares, is_same},
    view::View,
};

/// What machines should run.
#[derive(Debug, Clone)]
pub(super) struct Goal {
    /// Machines in the order in which they change, and what each should run.
    pub(super) targets: Vec<(Name, Option<Digest>)>,
    /// The wave, on the way forward.
    pub(super) wave: Option<u32>,
    /// Whether anything may be begun: machines may be changed that were left alone so far, and requests may go to another pool.
    pub(super) may_begin: bool,
}

impl Goal {
    pub(super) fn of(&self, name: &Name) -> Option<Option<Digest>> {
        self.targets.iter().find(|(target, _)| target == name).map(|(_, to)| *to)
    }

    /// Whether machines get another release where they are, rather than traffic moving from pool to pool. Going back
    /// from the first release of a pool has no other pool to go to.
    pub(super) fn relinks_in_place(&self, record: &DeploymentRecord) -> bool {
        match &record.plan.pace.kind {
            PaceKind::InPlace => true,
            PaceKind::Pools { from, .. } => record.back && from.is_none(),
        }
    }
}

/// What came of looking for things to do.
#[derive(Debug, Clone, Default)]
pub(super) struct Steps {
    /// What is to be done now.
    pub(super) works: Vec<Work>,
    /// Whether all is as it should be, but for what is stuck.
    pub(super) arrived: bool,
    /// Machines that can't be brought there, and why.
    pub(super) stuck: Vec<(Name, String)>,
    /// Why who gets requests can't be changed.
    pub(super) traffic_stuck: Option<String>,
    /// When something may be due again.
    pub(super) until: Option<u64>,
}

impl Steps {
    fn due(&mut self, at: u64) {
        self.until = Some(self.until.map_or(at, |until| until.min(at)));
    }
}

/// Finds what is to be done for a goal.
pub(super) fn reconcile(view: &View<'_>, goal: &Goal) -> Steps {
    let mut steps = Steps::default();
    let mut leaving = Vec::new();
    let candidates = look_around(view, goal, &mut steps);
    let takes = |(name, _): &(Name, Option<Digest>)| match view.is_available(name) {
        true => goal.may_begin,
        false => view.may_answer(name),
    };
    let fresh = candidates.iter().any(takes) && is_fresh(view, &mut steps);
    let mut away: BTreeSet<&Name> = population(view).filter(|name| !view.is_available(name)).collect();
    let budget = usize::try_from(view.record.plan.pace.max_unavailable).unwrap_or(usize::MAX);
    // Back to before the first release: whoever is taken away has nobody to hand over to, and nobody is missed.
    let to_nothing = began_with_nothing(view);
    let drains = view.has_traffic() && view.record.plan.pace.drains && !to_nothing;
    let mut serving = view.shares().len();
    for (name, to) in &candidates {
        if !goal.may_begin && !view.is_begun(name) {
            continue;
        }
        if view.is_pool_in_use(name) && !goal.relinks_in_place(view.record) {
            if let Some(at) = view.lingering_until() {
                steps.due(at);
            }
            continue;
        }
        let answers = view.is_available(name);
        // One that runs something unproven counts as out of service, and is taken out of it nevertheless, should it answer.
        if (answers || view.may_answer(name)) && goal.relinks_in_place(view.record) {
            let within = to_nothing || away.iter().filter(|one| **one != name).count() < budget;
            if !fresh || !within || (answers && (!goal.may_begin || (drains && serving < 2))) {
                continue;
            }
            away.insert(name);
        }
        // What is down has nothing to finish; where it is the last one, there is nobody to hand over to.
        let hands_over = !view.is_down(name) || serving > 1;
        if drains && view.may_get_requests(name) && hands_over {
            // First out of traffic; what follows is decided when it is. One that gets none, for all that the provider
            // knows, waits for what was asked last.
            if view.shares().contains_key(name) && (serving > 1 || !answers) {
                serving = serving.saturating_sub(1);
                leaving.push(name.clone());
            }
            if let Some(at) = view.lingering_until() {
                steps.due(at);
            }
            continue;
        }
        let before = view.next_hook(name, HookPoint::BeforeRestart);
        steps.works.push(before.unwrap_or_else(|| Work::Switch { target: name.clone(), to: *to }));
    }
    let settled = share(view, goal, &leaving, &mut steps);
    let there = |(name, to): &(Name, Option<Digest>)| {
        view.is_ready(name, *to) || steps.stuck.iter().any(|(stuck, _)| stuck == name)
    };
    steps.arrived = settled && steps.works.is_empty() && goal.targets.iter().all(there);
    steps
}

/// Machines that count, whatever they are to run. One that a person does without counts no more: it would be in the way of all others
/// where only one may be out of service.
fn population<'a>(view: &View<'a>) -> impl Iterator<Item = &'a Name> {
    let names = view.record.plan.targets.iter().map(|one| &one.target.name);
    let (record, out) = (view.record, view.out);
    names.filter(move |name| !out.contains(*name) && !record.target(name).skipped)
}

/// Whether it goes back to where no machine ran a release and nobody got requests.
fn began_with_nothing(view: &View<'_>) -> bool {
    let plan = &view.record.plan;
    let nobody_served = plan.traffic.as_ref().is_none_or(|traffic| traffic.serving.is_empty());
    view.record.back && nobody_served && plan.targets.iter().all(|one| one.before.is_none())
}

/// Looks at machines, proves what runs, and finds those that have to switch.
fn look_around(view: &View<'_>, goal: &Goal, steps: &mut Steps) -> Vec<(Name, Option<Digest>)> {
    let mut candidates = Vec::new();
    for (name, to) in &goal.targets {
        let record = view.target(name);
        if let Some(failure) = &record.failed {
            steps.stuck.push((name.clone(), failure.reason.what.clone()));
            continue;
        }
        if view.is_given_up(name) && !view.is_busy(name) {
            let why = view.lost(name).map(|lost| lost.why.clone()).unwrap_or_default();
            steps.stuck.push((name.clone(), why));
            steps.works.extend(view.look_at(name, 0));
            continue;
        }
        if view.is_busy(name) {
            continue;
        }
        if !view.may_ask(name) {
            if let Some(lost) = view.lost(name) {
                steps.due(view.limits.again(lost));
            }
            continue;
        }
        if let Some(look) = view.look_at(name, 0) {
            steps.works.push(look);
            continue;
        }
        match view.needs_switch(name, *to) {
            None => {}
            Some(true) if can_switch(view, name, *to) => candidates.push((name.clone(), *to)),
            Some(true) => steps.stuck.push((name.clone(), lacks(to))),
            Some(false) => steps.works.extend(prove(view, name, *to)),
        }
    }
    candidates
}

/// Nothing is switched to that is not there: the barrier, on the way back too.
fn can_switch(view: &View<'_>, name: &Name, to: Option<Digest>) -> bool {
    to.is_none_or(|release| view.machine(name).is_some_and(|seen| seen.releases.contains(&release)))
}

fn lacks(to: &Option<Digest>) -> String {
    let release = to.map_or_else(String::new, |to| to.short());
    format!("the files of release {release} are not there any more")
}

fn prove(view: &View<'_>, name: &Name, to: Option<Digest>) -> Option<Work> {
    let release = to?;
    if view.needs_proof(name, &release) {
        return Some(Work::Probe { target: name.clone(), release, glance: false });
    }
    view.next_hook(name, HookPoint::AfterRestart)
}

/// Whether everything that counts was looked at a moment ago. Nobody is taken out of service on old knowledge.
fn is_fresh(view: &View<'_>, steps: &mut Steps) -> bool {
    let oldest = view.now.saturating_sub(view.limits.fresh);
    let all = population(view).all(|name| !view.is_stale(name, oldest));
    let traffic = view.look_at_traffic(oldest);
    let fresh = all && traffic.is_none() && (!view.has_traffic() || view.balancer().is_some());
    if !fresh {
        let looks = population(view).filter_map(|name| view.look_at(name, oldest)).chain(traffic);
        let new: Vec<Work> = looks.filter(|look| !steps.works.contains(look)).collect();
        steps.works.extend(new);
    }
    fresh
}

/// Has whoever balances send requests to whom they should go. Returns whether they do.
fn share(view: &View<'_>, goal: &Goal, leaving: &[Name], steps: &mut Steps) -> bool {
    if !view.has_traffic() {
        return true;
    }
    if view.balancer().is_none() {
        steps.works.extend(view.look_at_traffic(0).filter(|look| !steps.works.contains(look)));
        if let Some(lost) = view.lost_traffic() {
            if view.is_traffic_given_up() {
                steps.traffic_stuck = Some(lost.why.clone());
            }
            steps.due(view.limits.again(lost));
        }
        return false;
    }
    if view.is_serve_running() {
        return false;
    }
    let wanted: Shares = view.wanted_shares(goal, leaving);
    // The provider may need longer than a look to find a member up that has only just been started.
    let holds = wanted.is_empty() || (is_same(&wanted, &view.shares()) && !view.is_unsettled());
    if holds {
        return true;
    }
    let last = view.record.serve.as_ref().filter(|serve| serve.to == wanted);
    if let Some(why) = last.and_then(|serve| serve.failed.as_ref()) {
        steps.traffic_stuck = Some(why.what.clone());
        return false;
    }
    if let Some(lost) = view.record.serve.as_ref().and_then(|serve| serve.lost.as_ref())
        && view.limits.again(lost) > view.now
    {
        if view.is_traffic_given_up() {
            steps.traffic_stuck = Some(lost.why.clone());
        }
        steps.due(view.limits.again(lost));
        return false;
    }
    // Who is taken out of traffic is taken out by what was seen a moment ago.
    let oldest = view.now.saturating_sub(view.limits.fresh);
    match view.look_at_traffic(oldest) {
        Some(look) if steps.works.contains(&look) => {}
        Some(look) => steps.works.push(look),
        None => steps.works.push(Work::Serve { to: wanted }),
    }
    false
}

/// The goal of the way forward: machines of the waves so far run the release.
pub(super) fn forward(view: &View<'_>, wave: u32, may_begin: bool) -> Goal {
    let plan = &view.record.plan;
    let taking_part = plan.up_to(wave).filter(|name| !view.out.contains(*name) && !view.target(name).skipped);
    let targets = taking_part.map(|name| (name.clone(), Some(plan.release))).collect();
    Goal { targets, wave: Some(wave), may_begin }
}

/// The goal of the way back: machines that were touched run what they ran before, the last first.
pub(super) fn backward(view: &View<'_>) -> Goal {
    let plan = &view.record.plan;
    let mut goal = Goal { targets: Vec::new(), wave: None, may_begin: true };
    if goal.relinks_in_place(view.record) {
        let touched = plan.targets.iter().rev().filter(|one| {
            let record = view.target(&one.target.name);
            record.step >= TargetStep::Switched && !record.skipped && !view.out.contains(&one.target.name)
        });
        goal.targets = touched.map(|one| (one.target.name.clone(), one.before)).collect();
    }
    goal
}
