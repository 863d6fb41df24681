//! Environments: what runner.toml and the ledgers say of them, and what was seen there.

use std::io;

use serde_json::{Value, json};
use staith_model::{Digest, FleetEnvironment, FleetState, Name, Rollout, TrafficSpec};
use staith_releaser::{
    fleet::{machine::Serving, plan::in_ten_thousand},
    health::{Verdict, explain},
    host::Files,
};

use super::{
    super::{
        OutputMode,
        clean::{clean_lines, clean_word},
        look::{Mark, Tone},
        notice::look,
        table,
    },
    say,
    targets::in_quarantine,
    words::state_in_words,
};
use crate::fleet::{EnvironmentLook, TargetLook};

/// An environment, as runner.toml and its ledger have it.
#[derive(Debug)]
pub(crate) enum KnownEnvironment {
    /// On this machine, supervised by the keeper.
    Here {
        /// Its name.
        name: Name,
    },
    /// On machines.
    Machines {
        /// As runner.toml has it, with the machines that were made for it.
        environment: Box<FleetEnvironment>,
        /// Whether its machines are there, as far as Staith makes them.
        has_machines: bool,
        /// What its ledger says.
        state: FleetState,
    },
}

/// Of an environment whose machines Staith makes, and has not made, or has taken down.
const NOT_MADE: &str = "its machines are not made";

/// Lists environments.
///
/// # Errors
/// It could not be written, and not because nobody reads. This holds for all functions here.
pub(crate) fn environments(known: &[KnownEnvironment], mode: OutputMode) -> io::Result<()> {
    let values: Vec<Value> = known.iter().map(known_value).collect();
    let heads = ["environment", "machines", "strategy", "traffic", "serves", ""];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(known.iter().map(known_row));
    let lines = match known.is_empty() {
        true => vec!["runner.toml has no environments".to_owned()],
        false => table::lines(&rows),
    };
    say(mode, &values, &lines)
}

fn known_value(known: &KnownEnvironment) -> Value {
    match known {
        KnownEnvironment::Here { name } => json!({"environment": name, "kind": "local"}),
        KnownEnvironment::Machines { environment, has_machines, state } => json!({
            "environment": environment.name, "kind": "machines", "targets": environment.targets.len(),
            "inventory": environment.inventory.is_some(), "strategy": strategy(&environment.rollout),
            "traffic": environment.traffic.as_ref().map(provider), "release": state.history.first(),
            "machines_made": has_machines,
            "held": state.held, "quarantined": state.quarantined,
            "under_way": state.in_order().find(|one| !one.state.is_terminal()).map(|one| &one.deployment),
        }),
    }
}

fn known_row(known: &KnownEnvironment) -> Vec<String> {
    let (environment, has_machines, state) = match known {
        KnownEnvironment::Here { name } => {
            let words = [name.as_str(), "this one", "blue-green", "built-in", "see `staith status`"];
            return words.map(str::to_owned).to_vec();
        }
        KnownEnvironment::Machines { environment, has_machines, state } => {
            (environment, *has_machines, state)
        }
    };
    let and_more = if environment.inventory.is_some() { " and those of the inventory" } else { "" };
    let mut remarks = Vec::new();
    if !has_machines {
        remarks.push(NOT_MADE.to_owned());
    }
    if let Some(one) = state.in_order().find(|one| !one.state.is_terminal()) {
        remarks.push(format!("a deployment {}", state_in_words(one.state)));
    }
    if !state.quarantined.is_empty() {
        remarks.push(format!("{} in quarantine", state.quarantined.len()));
    }
    remarks.extend(state.held.iter().map(|why| format!("held: {}", clean_word(why))));
    vec![
        environment.name.to_string(),
        format!("{}{and_more}", environment.targets.len()),
        strategy(&environment.rollout).to_owned(),
        environment.traffic.as_ref().map_or("-", provider).to_owned(),
        short(state.history.first().filter(|_| has_machines)),
        remarks.join(", "),
    ]
}

const fn strategy(rollout: &Rollout) -> &'static str {
    match rollout {
        Rollout::AllAtOnce { .. } => "all-at-once",
        Rollout::Rolling { .. } => "rolling",
        Rollout::Canary { .. } => "canary",
        Rollout::BlueGreen { .. } => "blue-green",
    }
}

const fn provider(traffic: &TrafficSpec) -> &'static str {
    match traffic {
        TrafficSpec::Haproxy { .. } => "haproxy",
        TrafficSpec::BuiltIn { .. } => "built-in",
        TrafficSpec::Dns { .. } => "dns",
        TrafficSpec::TrafficManager { .. } => "traffic-manager",
    }
}

fn short(release: Option<&Digest>) -> String {
    release.map_or("-".to_owned(), Digest::short)
}

/// Shows what was seen in environments.
pub(crate) fn fleet_look(looks: &[EnvironmentLook], mode: OutputMode) -> io::Result<()> {
    let values: Vec<Value> = looks.iter().map(look_value).collect();
    let mut lines: Vec<String> = looks.iter().flat_map(look_lines).collect();
    if looks.is_empty() {
        lines.push("runner.toml has no environment of machines".to_owned());
    }
    say(mode, &values, &lines)
}

fn look_value(seen: &EnvironmentLook) -> Value {
    let in_use = || seen.targets.iter().filter(|target| target.quarantined.is_none());
    let targets: Vec<Value> = seen.targets.iter().map(target_value).collect();
    let all_seen = !in_use().any(TargetLook::is_unknown) && !matches!(seen.traffic, Some(Err(_)));
    json!({
        "environment": seen.environment, "release": seen.state.history.first(), "held": seen.state.held,
        "under_way": seen.state.in_order().find(|one| !one.state.is_terminal()).map(|one| &one.deployment),
        "as_it_should_be": !in_use().any(TargetLook::is_wrong), "all_seen": all_seen,
        "traffic": seen.traffic.as_ref().map(|traffic| match traffic {
            Ok(_) => json!({"seen": true}),
            Err(why) => json!({"seen": false, "why": why}),
        }),
        "targets": targets, "machines_made": seen.has_machines,
    })
}

fn target_value(one: &TargetLook) -> Value {
    let state = one.seen.state.as_ref().ok();
    json!({
        "target": one.target.name, "pool": one.target.pool, "roles": one.target.roles, "tags": one.target.tags,
        "answers": state.is_some(), "why": one.seen.state.as_ref().err(), "should": one.should,
        "serves": state.and_then(|state| state.current), "process": process(one), "health": health(one),
        "files": files(one), "share": one.share, "quarantined": one.quarantined, "drift": one.drift,
        "wrong": one.is_wrong(),
    })
}

/// What the service runs, where that can be told.
fn process(one: &TargetLook) -> Option<Value> {
    match one.seen.state.as_ref().ok()?.serving.as_ref()? {
        Serving::Down => Some(json!({"up": false})),
        Serving::Up(release) => Some(json!({"up": true, "release": release})),
    }
}

fn health(one: &TargetLook) -> Option<&'static str> {
    Some(match one.seen.health.as_ref()? {
        Err(_) => "unknown",
        Ok(health) => match health.verdict {
            Verdict::Healthy => "healthy",
            Verdict::Unhealthy => "unhealthy",
            Verdict::Inconclusive => "inconclusive",
        },
    })
}

fn files(one: &TargetLook) -> Option<&'static str> {
    Some(match one.seen.files.as_ref()? {
        Err(_) => "unknown",
        Ok(Files::Complete) => "right",
        Ok(Files::Damaged(_) | Files::Absent) => "changed",
    })
}

fn look_lines(seen: &EnvironmentLook) -> Vec<String> {
    if !seen.has_machines {
        let name = &seen.environment;
        let head = look().tint(Tone::Strong, &format!("{name}: {NOT_MADE}"));
        return vec![head, format!("  `staith env provision {name}` makes them")];
    }
    let serves = match seen.state.history.first() {
        Some(release) => format!("{}: release {} is to serve", seen.environment, release.short()),
        None => format!("{}: no release was deployed here yet", seen.environment),
    };
    let mut lines = vec![look().tint(Tone::Strong, &serves)];
    lines.extend(seen.state.held.iter().map(|why| format!("  held: {}", clean_word(why))));
    for one in seen.state.in_order().filter(|one| !one.state.is_terminal()) {
        let (release, state) = (one.plan.release.short(), state_in_words(one.state));
        lines.push(format!("  deployment {} of release {release} {state}", one.deployment));
    }
    if let Some(Err(why)) = &seen.traffic {
        let text = format!("who gets requests can't be told: {}", clean_word(why));
        lines.push(format!("  {}", look().tint(Tone::Odd, &text)));
    }
    lines.extend(table_of(seen).into_iter().map(|line| format!("  {line}")));
    lines
}

/// The machines, one a row; what is wrong with one stands below it.
fn table_of(seen: &EnvironmentLook) -> Vec<String> {
    let has_pools = seen.targets.iter().any(|one| one.target.pool.is_some());
    let mut rows =
        vec![row(["machine", "pool", "should", "serves", "health", "files", "requests"], has_pools)];
    rows.extend(seen.targets.iter().map(|one| {
        let state = one.seen.state.as_ref().ok();
        let serves = state.map_or("?".to_owned(), |state| short(state.current.as_ref()));
        let cells = [
            one.target.name.as_str(),
            one.target.pool.as_ref().map_or("-", Name::as_str),
            &short(one.should.as_ref()),
            &serves,
            health(one).unwrap_or("-"),
            files(one).unwrap_or("-"),
            &one.share.map_or("-".to_owned(), in_ten_thousand),
        ];
        row(cells, has_pools)
    }));
    let mut table = table::lines(&rows).into_iter();
    let mut lines: Vec<String> = table.next().map(|head| format!("  {head}")).into_iter().collect();
    for (line, one) in table.zip(&seen.targets) {
        lines.push(format!("{} {line}", look().mark(mark(one))));
        lines.extend(remarks(one).into_iter().map(|remark| format!("    {remark}")));
    }
    lines
}

fn row(cells: [&str; 7], has_pools: bool) -> Vec<String> {
    let kept = cells.into_iter().enumerate().filter(|(place, _)| has_pools || *place != 1);
    kept.map(|(_, cell)| cell.to_owned()).collect()
}

fn mark(one: &TargetLook) -> Mark {
    if one.quarantined.is_some() {
        Mark::Skipped
    } else if one.is_wrong() {
        Mark::Failed
    } else if one.is_unknown() {
        Mark::Waiting
    } else {
        Mark::Passed
    }
}

fn remarks(one: &TargetLook) -> Vec<String> {
    let mut remarks: Vec<String> = one.quarantined.iter().map(|reason| in_quarantine(reason)).collect();
    let bad = |text: &str| look().tint(Tone::Bad, &clean_word(text));
    if let Err(why) = &one.seen.state {
        remarks.push(bad(why));
    }
    let known = one.drift.iter().filter(|drift| !drift.how.is_unknown());
    remarks.extend(known.map(|drift| bad(&format!("it {}", drift.how))));
    match &one.seen.health {
        Some(Ok(health)) if health.verdict != Verdict::Healthy => {
            remarks.extend(clean_lines(&explain(health)).map(|line| line.into_owned()));
        }
        Some(Err(why)) => remarks.push(bad(&format!("how it is can't be told: {why}"))),
        _ => {}
    }
    if let Some(Err(why)) = &one.seen.files {
        remarks.push(bad(&format!("its files can't be looked at: {why}")));
    }
    if let Some(left) = one.seen.state.as_ref().ok().and_then(|state| state.unfinished.as_ref()) {
        remarks.push(format!("an operation was begun and not ended there ({})", left.short()));
    }
    remarks
}

#[cfg(test)]
mod tests;
