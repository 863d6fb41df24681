//! Releases to machines: what is planned, what happens, where it stands. A map:
//!
//! 1. Here: releases, plans, where an environment stands, what was deployed.
//! 2. `watch`: a deployment while it is carried out.
//! 3. `whereabouts`: what differs between releases, which machines run what, and the run-book.
//! 4. `environments`: what was seen of environments. `targets`: their machines.
//! 5. `notes`: what is new in a release; how well releases go.
//! 6. `warm`: pools that served before a swap.
//! 7. `words`: what is done and what is wanted, in words.

mod environments;
mod notes;
mod targets;
mod warm;
mod watch;
mod whereabouts;
mod words;

use std::io;

use serde_json::{Value, json};
use staith_model::{
    DeploymentId, DeploymentRecord, DeploymentState, Direction, FleetPlan, FleetRelease, Name,
};
use staith_releaser::fleet::{drive::FleetStatus, plan::lines};

use super::{
    OutputMode,
    clean::{clean_lines, clean_word},
    human,
    look::Tone,
    notice::look,
    sink::Sink,
    table,
};
use crate::clock;

pub(crate) use environments::{KnownEnvironment, environments, fleet_look};
pub(crate) use notes::{metrics, release_notes};
pub(crate) use targets::{CheckedTarget, KnownTarget, quarantine, targets, targets_checked};
pub(crate) use warm::cooled;
use warm::warm_in_words;
pub(crate) use watch::FleetWatch;
pub(crate) use whereabouts::{releases_differ, run_book, whereabouts};
pub(super) use words::state_in_words;

fn say(mode: OutputMode, values: &[Value], lines: &[String]) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        values.iter().for_each(|value| out.line(&value.to_string()));
    } else {
        lines.iter().for_each(|line| out.line(line));
    }
    out.written()
}

/// Says that a release was made, or was there.
///
/// # Errors
/// It could not be written, and not because nobody reads. This holds for all functions here.
pub(crate) fn release_made(release: &FleetRelease, already: bool, mode: OutputMode) -> io::Result<()> {
    let mut value = release_value(release);
    value["already"] = already.into();
    let verb = if already { "is there already" } else { "is made" };
    let environments: Vec<&str> = release.settings.keys().map(Name::as_str).collect();
    let package = &release.package;
    let line = format!(
        "release {} {verb}: {}@{} for {}",
        release.digest().short(),
        package.name,
        package.version,
        environments.join(", ")
    );
    say(mode, &[value], &[look().tint(Tone::Good, &line)])
}

fn release_value(release: &FleetRelease) -> Value {
    json!({
        "release": release.digest(), "project": release.project, "package": release.package.name,
        "version": release.package.version, "commit": release.source.commit, "branch": release.source.branch,
        "dirty": release.source.dirty, "environments": release.settings.keys().collect::<Vec<_>>(),
    })
}

/// Lists releases.
pub(crate) fn releases(releases: &[FleetRelease], mode: OutputMode) -> io::Result<()> {
    let values: Vec<Value> = releases.iter().map(release_value).collect();
    let row = |release: &FleetRelease| {
        let environments: Vec<&str> = release.settings.keys().map(Name::as_str).collect();
        let commit = release.source.commit.as_deref().map_or("", |commit| &commit[..commit.len().min(12)]);
        vec![
            release.digest().short(),
            format!("{}@{}", release.package.name, release.package.version),
            clean_word(commit),
            environments.join(", "),
        ]
    };
    let mut lines = table::lines(&releases.iter().map(row).collect::<Vec<_>>());
    if lines.is_empty() {
        lines.push("there is no release yet; `staith release create` makes one".into());
    }
    say(mode, &values, &lines)
}

/// Shows a plan, and what people look at before they say yes to it, where that is said.
pub(crate) fn fleet_plan(plan: &FleetPlan, instructions: &str, mode: OutputMode) -> io::Result<()> {
    let mut value = serde_json::to_value(plan).unwrap_or_default();
    value["plan"] = json!(plan.digest());
    let mut lines = in_lines(plan);
    if !instructions.trim().is_empty() {
        value["instructions"] = json!(instructions);
        lines.push(approvers_look_at(instructions));
    }
    say(mode, &[value], &lines)
}

pub(super) fn approvers_look_at(instructions: &str) -> String {
    format!("what approvers look at: {}", clean_word(instructions.trim()))
}

fn in_lines(plan: &FleetPlan) -> Vec<String> {
    lines(plan)
        .iter()
        .flat_map(|line| clean_lines(line).map(|line| line.into_owned()).collect::<Vec<_>>())
        .collect()
}

/// Says that something was written down for a deployment.
pub(crate) fn fleet_asked(deployment: &DeploymentId, mode: OutputMode) -> io::Result<()> {
    let line = format!("written down for deployment {deployment}; whoever drives it heeds it");
    say(mode, &[json!({"deployment": deployment, "written": true})], &[line])
}

/// Says that runs may release there again.
pub(crate) fn hold_lifted(environment: &Name, held: Option<&str>, mode: OutputMode) -> io::Result<()> {
    let line = match held {
        Some(held) => format!("runs may release to {environment} again; it was held: {}", clean_word(held)),
        None => format!("nobody holds {environment}"),
    };
    say(mode, &[json!({"environment": environment, "held": held, "lifted": held.is_some()})], &[line])
}

/// Shows where an environment stands.
pub(crate) fn fleet_status(environment: &Name, status: &FleetStatus, mode: OutputMode) -> io::Result<()> {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    value["environment"] = json!(environment);
    let serves = match &status.release {
        Some(release) => format!("{environment}: release {} serves", release.short()),
        None => format!("{environment}: no release has served yet"),
    };
    let mut lines = vec![serves];
    lines.extend(status.held.iter().map(|why| format!("  held: {}", clean_word(why))));
    for (target, why) in &status.quarantined {
        lines.push(format!("  {target} is out of deployments: {}", clean_word(why)));
    }
    let now = clock::unix_millis();
    let believed = status.believed_until.filter(|until| *until > now);
    lines.extend(believed.map(|until| {
        let left = human::millis(until - now);
        format!("  clients may believe earlier answers for {left} more; machines that went are left alone until then")
    }));
    lines.extend(status.warm.iter().flat_map(|warm| warm_in_words(warm, now)));
    for one in &status.deployments {
        let since = human::millis(now.saturating_sub(one.since));
        lines.push(format!(
            "  deployment {} of release {} by {}: {} since {since}",
            one.deployment,
            one.release.short(),
            clean_word(&one.by),
            state_in_words(one.state),
        ));
        lines.extend(one.trouble.iter().map(|trouble| format!("    {}", clean_word(&trouble.what))));
        let waits = one.state == DeploymentState::AwaitingGates;
        let gates = one.gates.iter().filter(|_| waits);
        lines.extend(gates.map(|gate| format!("    waits for {}", clean_word(gate))));
        lines.extend(waits.then(|| format!("    plan {}", one.plan)));
        for target in one.targets.iter().filter(|_| !one.state.is_terminal() || one.trouble.is_some()) {
            let failed = target.failed.as_ref().map(|failed| format!(": {}", clean_word(&failed.what)));
            let lost = target.lost.as_ref().map(|lost| format!(": {}", clean_word(lost)));
            lines.push(format!(
                "    {} {:?}{}",
                target.target,
                target.step,
                failed.or(lost).unwrap_or_default()
            ));
        }
    }
    say(mode, &[value], &lines)
}

/// Lists deployments, the newest first.
pub(crate) fn fleet_history(records: &[&DeploymentRecord], mode: OutputMode) -> io::Result<()> {
    let value = |record: &&DeploymentRecord| {
        json!({
            "deployment": record.deployment, "release": record.plan.release, "plan": record.plan.digest(),
            "by": record.by, "reason": record.reason, "requested": record.requested_at, "state": record.state,
            "direction": record.plan.direction, "previous": record.plan.previous,
            "trouble": record.trouble, "targets": record.targets.keys().collect::<Vec<_>>(),
        })
    };
    let values: Vec<Value> = records.iter().map(value).collect();
    let now = clock::unix_millis();
    let row = |record: &&DeploymentRecord| {
        let direction = if record.plan.direction == Direction::Back { "back to" } else { "to" };
        vec![
            format!("{} ago", human::millis(now.saturating_sub(record.requested_at))),
            format!("{direction} {}", record.plan.release.short()),
            state_in_words(record.state).to_owned(),
            clean_word(&record.by),
            clean_word(record.trouble.as_ref().map_or(record.reason.as_str(), |trouble| &trouble.what)),
        ]
    };
    let mut lines = table::lines(&records.iter().map(row).collect::<Vec<_>>());
    if lines.is_empty() {
        lines.push("nothing was deployed here yet".into());
    }
    say(mode, &values, &lines)
}
