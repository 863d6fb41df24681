//! Machines of environments.

use std::io;

use serde_json::{Value, json};
use staith_model::{Access, Name, Target};
use staith_releaser::fleet::{machine::Facts, record::whereabouts::Trace};

use super::{
    super::{
        OutputMode,
        clean::clean_word,
        human,
        look::{Mark, Tone},
        notice::look,
        table,
    },
    say,
};
use crate::clock;

/// A machine, as runner.toml, its inventory and the ledger have it.
#[derive(Debug)]
pub(crate) struct KnownTarget {
    /// The environment.
    pub(crate) environment: Name,
    /// The machine.
    pub(crate) target: Target,
    /// What it serves by the ledger.
    pub(crate) serves: Option<Trace>,
    /// When it was last heard of in a deployment, in milliseconds since 1970.
    pub(crate) heard_at: Option<u64>,
    /// Why it is out of deployments, if it is.
    pub(crate) quarantined: Option<String>,
}

/// Lists machines.
///
/// # Errors
/// It could not be written, and not because nobody reads. This holds for all functions here.
pub(crate) fn targets(known: &[KnownTarget], mode: OutputMode) -> io::Result<()> {
    let values: Vec<Value> = known.iter().map(value).collect();
    let heads = ["environment", "machine", "access", "pool", "roles", "tags", "serves", "last heard of", ""];
    let now = clock::unix_millis();
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(known.iter().map(|one| row(one, now)));
    let lines = match known.is_empty() {
        true => vec!["there are no machines".to_owned()],
        false => table::lines(&rows),
    };
    say(mode, &values, &lines)
}

fn value(one: &KnownTarget) -> Value {
    let target = &one.target;
    json!({
        "environment": one.environment, "target": target.name, "access": target.access, "pool": target.pool,
        "roles": target.roles, "tags": target.tags, "serves_at": target.serves_at,
        "release": one.serves.as_ref().map(|trace| trace.release),
        "since": one.serves.as_ref().and_then(|trace| trace.since),
        "heard_at": one.heard_at, "quarantined": one.quarantined,
    })
}

fn row(one: &KnownTarget, now: u64) -> Vec<String> {
    let names = |names: &std::collections::BTreeSet<Name>| -> String {
        let names: Vec<&str> = names.iter().map(Name::as_str).collect();
        if names.is_empty() { "-".to_owned() } else { names.join(",") }
    };
    let ago = |at: u64| format!("{} ago", human::millis(now.saturating_sub(at)));
    let quarantined = one.quarantined.as_deref().map(in_quarantine);
    vec![
        one.environment.to_string(),
        one.target.name.to_string(),
        access_in_words(&one.target.access),
        one.target.pool.as_ref().map_or("-".to_owned(), Name::to_string),
        names(&one.target.roles),
        names(&one.target.tags),
        one.serves.as_ref().map_or("-".to_owned(), |trace| trace.release.short()),
        one.heard_at.map_or("-".to_owned(), ago),
        quarantined.unwrap_or_default(),
    ]
}

/// Why a machine is out of deployments.
pub(super) fn in_quarantine(reason: &str) -> String {
    look().tint(Tone::Odd, &format!("in quarantine: {}", clean_word(reason)))
}

fn access_in_words(access: &Access) -> String {
    match access {
        Access::Local => "this machine".to_owned(),
        Access::Pull => "asks by itself".to_owned(),
        Access::Ssh { host, user, port, .. } => {
            let user = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("ssh {user}{host}{port}")
        }
        Access::Windows { host, user, .. } => {
            let user = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
            format!("windows {user}{host}")
        }
    }
}

/// A machine that was called.
#[derive(Debug)]
pub(crate) struct CheckedTarget {
    /// The environment.
    pub(crate) environment: Name,
    /// The machine.
    pub(crate) target: Name,
    /// What it said of itself, if it answered.
    pub(crate) said: Option<Facts>,
    /// What is wrong with it, and what to do about that.
    pub(crate) wrong: Vec<(String, String)>,
}

/// Shows what is wrong with machines, and that nothing is with the others.
pub(crate) fn targets_checked(checked: &[CheckedTarget], mode: OutputMode) -> io::Result<()> {
    let value = |one: &CheckedTarget| {
        let wrong: Vec<Value> =
            one.wrong.iter().map(|(what, remedy)| json!({"what": what, "remedy": remedy})).collect();
        let said = one.said.as_ref();
        json!({
            "environment": one.environment, "target": one.target, "well": one.wrong.is_empty(), "wrong": wrong,
            "answers": said.is_some(), "system": said.map(|facts| &facts.system),
            "architecture": said.map(|facts| &facts.architecture), "machine_id": said.map(|facts| &facts.machine_id),
            "superuser": said.map(|facts| facts.superuser), "systemd": said.map(|facts| facts.systemd),
            "free_bytes": said.map(|facts| facts.free_bytes),
        })
    };
    let values: Vec<Value> = checked.iter().map(value).collect();
    let look = look();
    let mut lines = Vec::new();
    for one in checked {
        let mark = look.mark(if one.wrong.is_empty() { Mark::Passed } else { Mark::Failed });
        let said = one.said.as_ref().map_or_else(String::new, |facts| {
            let (system, room) = (clean_word(&facts.system), human::size(facts.free_bytes));
            format!(": {system}, {}, {room} free", clean_word(&facts.architecture))
        });
        lines.push(format!("{mark} {} {}{said}", one.environment, one.target));
        for (what, remedy) in &one.wrong {
            lines.push(format!("    {}", look.tint(Tone::Bad, &clean_word(what))));
            lines.push(format!("    do: {}", clean_word(remedy)));
        }
    }
    if checked.is_empty() {
        lines.push("runner.toml has no environment of machines".to_owned());
    }
    say(mode, &values, &lines)
}

/// Says that a machine was taken out of deployments for a reason, or, without one, put back; `already` if it was so before.
pub(crate) fn quarantine(
    environment: &Name,
    target: &Name,
    reason: Option<&str>,
    already: bool,
    nothing_left: bool,
    mode: OutputMode,
) -> io::Result<()> {
    let value = json!({
        "environment": environment, "target": target, "quarantined": reason, "already": already,
        "nothing_left": nothing_left,
    });
    let what = match (reason.is_some(), already) {
        (true, false) => "is in quarantine now: deployments leave it alone",
        (true, true) => "is in quarantine already, for this reason",
        (false, false) => "is back; the next deployment brings it what it has missed",
        (false, true) => "is in no quarantine",
    };
    let mut lines = vec![format!("{target} of {environment} {what}")];
    if nothing_left {
        lines.push(format!(
            "note: no machine is left that a release could come to; deployments to {environment} are refused until one is"
        ));
    }
    say(mode, &[value], &lines)
}
