//! Does one thing to one machine, or to whoever balances, and says what came of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use staith_model::{
    Blame, DeploymentRecord, Digest, Hook, HookPoint, Name, Reason, TargetAction, TrafficPlan, Work,
    WorkResult,
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        balancer::{BalancerState, Shift},
        machine::{Machine, MachineError, MachineState, Order, Question},
    },
    seams::{Fleet, Verdict},
};
use crate::{
    health::{Health, Verdict as HealthVerdict, explain},
    host::{Patience, Progress},
    traffic::TrafficError,
};

/// What came of some work.
pub(super) enum Effect {
    Result(WorkResult),
    Saw(MachineState),
    SawTraffic(BalancerState),
    /// Looking came to nothing.
    Blind(String),
    /// Somebody else has the environment.
    Fenced(String),
    /// It was not waited for.
    Cut,
}

/// Does `work`, for as long as it may take, or until it is cut off. Dropping it is the same as cutting it off.
pub(super) async fn perform(
    fleet: Fleet,
    record: Arc<DeploymentRecord>,
    work: Work,
    operation: Digest,
    cut: CancellationToken,
) -> (Work, Digest, Effect) {
    let order = Order { epoch: record.epoch, deployment: record.deployment.clone(), operation };
    let most = longest(&fleet, &record, &work);
    let effect = tokio::select! {
        biased;
        () = cut.cancelled() => Effect::Cut,
        done = tokio::time::timeout(most, act(&fleet, &record, &work, &order)) => done.unwrap_or_else(|_| {
            unknown(&work, format!("no answer within {} s", most.as_secs()))
        }),
    };
    (work, operation, effect)
}

/// No reply is no failure: what was asked may have been done.
fn unknown(work: &Work, why: String) -> Effect {
    if work.is_look() { Effect::Blind(why) } else { Effect::Result(WorkResult::Unknown { why }) }
}

fn failed(blame: Blame, what: String, remedy: Option<String>) -> Effect {
    Effect::Result(WorkResult::Failed { reason: Reason { blame, what, remedy } })
}

/// The seams have deadlines of their own; this one is for an answer that never comes.
fn longest(fleet: &Fleet, record: &DeploymentRecord, work: &Work) -> Duration {
    let setting = &record.plan.setting;
    let health = setting.health.as_ref().map_or(60, |health| health.deadline_seconds);
    let up = health.saturating_add(setting.min_healthy_seconds).saturating_add(30);
    let seconds = match work {
        Work::Stage { .. } => return Duration::from_millis(fleet.limits.staging),
        Work::Hook { hook, at, .. } => {
            find_hook(record, *at, hook).map_or(60, |hook| hook.timeout_seconds.saturating_add(30))
        }
        Work::Switch { .. } | Work::Retain { .. } => 180,
        Work::Probe { .. } => up,
        Work::Serve { .. } => {
            up.saturating_add(record.plan.traffic.as_ref().map_or(0, |traffic| traffic.drain_seconds))
        }
        Work::Analyse { .. } => 60,
        Work::Observe { .. } | Work::Look => 30,
    };
    Duration::from_secs(seconds)
}

fn find_hook<'a>(record: &'a DeploymentRecord, at: HookPoint, name: &Name) -> Option<&'a Hook> {
    record.plan.hooks.iter().map(|hook| &hook.hook).find(|hook| hook.at == at && hook.name == *name)
}

async fn act(fleet: &Fleet, record: &DeploymentRecord, work: &Work, order: &Order) -> Effect {
    let machine = match work.target() {
        None => None,
        Some(target) => match fleet.machines.get(target) {
            Some(machine) => Some(machine),
            None => return unknown(work, "nobody said how it is reached".into()),
        },
    };
    match (work, machine) {
        (Work::Serve { to }, _) => serve(fleet, record, to, order).await,
        (Work::Look, _) => look(fleet).await,
        (Work::Analyse { wave }, _) => Effect::Result(analyse(fleet, record, *wave).await),
        (Work::Stage { target }, Some(machine)) => stage(fleet, record, target, machine, order).await,
        (Work::Switch { to, .. }, Some(machine)) => match machine.switch(order, to.as_ref()).await {
            Ok(done) => Effect::Result(WorkResult::done(done.already)),
            Err(error) => of_machine(work, error),
        },
        (Work::Hook { hook, at, .. }, Some(machine)) => match find_hook(record, *at, hook) {
            Some(hook) => run_hook(fleet, record, hook, machine, order, work).await,
            None => failed(Blame::Us, format!("the plan has no hook `{hook}`"), None),
        },
        (Work::Probe { target, release, glance }, Some(machine)) => {
            probe(fleet, record, (target, release, *glance), machine, work).await
        }
        (Work::Retain { keep, .. }, Some(machine)) => match machine.retain(order, keep).await {
            Ok(gone) => Effect::Result(WorkResult::done(gone.is_empty())),
            Err(error) => of_machine(work, error),
        },
        (Work::Observe { .. }, Some(machine)) => match machine.observe().await {
            Ok(seen) => Effect::Saw(seen),
            Err(MachineError::Fenced { .. }) => Effect::Blind("it says that somebody else deploys".into()),
            Err(error) => Effect::Blind(error.to_string()),
        },
        (_, None) => unknown(work, "nobody said how it is reached".into()),
    }
}

fn of_machine(work: &Work, error: MachineError) -> Effect {
    match error {
        MachineError::Fenced { .. } => Effect::Fenced(error.to_string()),
        MachineError::Lost { .. } | MachineError::Unreachable { .. } => unknown(work, error.to_string()),
        MachineError::Undecided { .. } => Effect::Result(WorkResult::Undecided { why: error.to_string() }),
        MachineError::Cancelled => Effect::Cut,
        MachineError::Refused { ref remedy, blame, .. } => {
            let remedy = Some(remedy.clone());
            failed(blame, error.to_string(), remedy)
        }
    }
}

async fn stage(
    fleet: &Fleet,
    record: &DeploymentRecord,
    target: &Name,
    machine: &Arc<dyn Machine>,
    order: &Order,
) -> Effect {
    let work = Work::Stage { target: target.clone() };
    let Some(plan) = record.plan.target(target) else {
        return failed(Blame::Us, format!("the plan has no target `{target}`"), None);
    };
    // What is to be brought is made ready while the machine is being reached.
    let (reached, cargo) =
        tokio::join!(machine.reach(), fleet.releases.cargo(&record.plan.release, &plan.target));
    if let Err(error) = reached {
        return of_machine(&work, error);
    }
    let mut cargo = match cargo {
        Ok(cargo) => cargo,
        Err(why) => return failed(Blame::Project, why, None),
    };
    cargo.load.every_byte = plan.action == TargetAction::Repair;
    let (watch, name) = (Arc::clone(&fleet.watch), target.clone());
    let progress: Progress = Arc::new(move |progress| watch(&name, progress));
    // Ended with this future, whoever drops it.
    let cancel = CancellationToken::new();
    let _ended = cancel.clone().drop_guard();
    match machine.stage(order, &cargo.load, cargo.files, progress, cancel).await {
        Ok(staged) => Effect::Result(WorkResult::done(staged.already)),
        Err(error) => of_machine(&work, error),
    }
}

async fn run_hook(
    fleet: &Fleet,
    record: &DeploymentRecord,
    hook: &Hook,
    machine: &Arc<dyn Machine>,
    order: &Order,
    work: &Work,
) -> Effect {
    let outcome = match machine.hook(order, &record.plan.release, hook).await {
        Ok(outcome) => outcome,
        Err(error) => return of_machine(work, error),
    };
    if outcome.code == Some(0) && !outcome.timed_out {
        return Effect::Result(WorkResult::done(outcome.already));
    }
    let how = match (outcome.timed_out, outcome.code) {
        (true, _) => format!("did not end within {} s", hook.timeout_seconds),
        (false, Some(code)) => format!("ended with exit code {code}"),
        (false, None) => "was ended by a signal".into(),
    };
    let said = fleet.releases.masked(&outcome.said);
    let what = format!("hook `{}` {how}\n{}", hook.name, said.trim_end());
    failed(Blame::Project, what.trim_end().to_owned(), None)
}

async fn probe(
    fleet: &Fleet,
    record: &DeploymentRecord,
    (target, release, glance): (&Name, &Digest, bool),
    machine: &Arc<dyn Machine>,
    work: &Work,
) -> Effect {
    let known = if *release == record.plan.release { None } else { fleet.releases.setting(release) };
    let setting = known.as_ref().unwrap_or(&record.plan.setting);
    let question = Question {
        release: *release,
        port: record.plan.target(target).map_or(setting.port, |plan| setting.port_on(&plan.target)),
        check: setting.health.clone(),
        min_healthy_seconds: if glance { 0 } else { setting.min_healthy_seconds },
    };
    // What a service wrote may hold its secrets.
    let told = |health: &Health| fleet.releases.masked(explain(health).as_bytes());
    let patience = if glance { Patience::Glance } else { Patience::Deadline };
    match machine.probe(&question, patience).await {
        Err(error) => of_machine(work, error),
        Ok(health) => match health.verdict {
            HealthVerdict::Healthy => Effect::Result(WorkResult::done(false)),
            HealthVerdict::Inconclusive => Effect::Result(WorkResult::Inconclusive { why: told(&health) }),
            HealthVerdict::Unhealthy => failed(Blame::Project, told(&health), None),
        },
    }
}

async fn analyse(fleet: &Fleet, record: &DeploymentRecord, wave: u32) -> WorkResult {
    match fleet.judge.analyse(record, wave).await {
        Verdict::Pass => WorkResult::done(false),
        Verdict::Inconclusive(why) => WorkResult::Inconclusive { why },
        Verdict::Fail(what) => {
            WorkResult::Failed { reason: Reason { blame: Blame::Project, what, remedy: None } }
        }
    }
}

async fn serve(fleet: &Fleet, record: &DeploymentRecord, to: &BTreeMap<Name, u32>, order: &Order) -> Effect {
    let work = Work::Serve { to: to.clone() };
    let Some(balancer) = &fleet.balancer else { return unknown(&work, "nobody balances".into()) };
    let health = record.plan.setting.health.as_ref().map_or(60, |health| health.deadline_seconds);
    let drain = record.plan.traffic.as_ref().map_or(0, |traffic: &TrafficPlan| traffic.drain_seconds);
    let shift =
        Shift { to: to.clone(), patience: Duration::from_secs(health), drain: Duration::from_secs(drain) };
    match balancer.serve(order, &shift).await {
        Ok(shifted) => Effect::Result(WorkResult::Done { already: shifted.already, left: shifted.left }),
        Err(error @ TrafficError::Fenced { .. }) => Effect::Fenced(error.to_string()),
        Err(error) if error.is_lost() => unknown(&work, error.to_string()),
        Err(error) => failed(error.blame(), error.to_string(), error.remedy()),
    }
}

async fn look(fleet: &Fleet) -> Effect {
    let Some(balancer) = &fleet.balancer else { return Effect::Blind("nobody balances".into()) };
    match balancer.observe().await {
        Ok(state) => Effect::SawTraffic(state),
        Err(error) => Effect::Blind(error.to_string()),
    }
}
