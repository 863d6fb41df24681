//! Releases and environments of a server.

use std::{io, time::Duration};

use serde_json::{Value, json};
use staith_model::{
    AtDeadline, Direction, Name, Queue,
    service::{DeploymentView, EnvironmentRules, EnvironmentView, OrderAnswer, ReleaseSeen},
};

use super::{
    OutputMode,
    clean::clean_word,
    fleet::{approvers_look_at, fleet_plan, state_in_words},
    human,
    sink::Sink,
    table,
};
use crate::clock;

fn say(mode: OutputMode, values: &[Value], lines: &[String]) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        values.iter().for_each(|value| out.line(&value.to_string()));
    } else {
        lines.iter().for_each(|line| out.line(line));
    }
    out.written()
}

/// What comes from servers and repositories: no control characters reach the terminal.
fn shown(text: &str) -> String {
    clean_word(text)
}

/// Lists releases.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn server_releases(releases: &[ReleaseSeen], mode: OutputMode) -> io::Result<()> {
    let row = |one: &ReleaseSeen| {
        let commit = one.source.commit.as_deref().unwrap_or_default();
        vec![
            one.number.to_string(),
            format!("{}@{}", one.package, one.version),
            one.digest.map_or_else(|| one.state.as_str().to_owned(), |digest| digest.short()),
            one.trust.as_str().to_owned(),
            shown(commit.get(..12).unwrap_or(commit)),
            one.environments.iter().map(Name::as_str).collect::<Vec<_>>().join(" "),
            one.why.as_deref().map(shown).unwrap_or_default(),
        ]
    };
    let values: Vec<Value> = releases.iter().map(|one| json!(one)).collect();
    let lines = match releases {
        [] => vec![
            "no releases yet: `staith server release create PROJECT#RUN` makes one of a run that passed"
                .to_owned(),
        ],
        releases => table::lines(&releases.iter().map(row).collect::<Vec<_>>()),
    };
    say(mode, &values, &lines)
}

/// Says what the deployer made of what was asked.
///
/// # Errors
/// As [`server_releases`].
pub(crate) fn server_order(answer: &OrderAnswer, mode: OutputMode) -> io::Result<()> {
    match answer {
        OrderAnswer::Planned { plan, .. } if !mode.is_json() => fleet_plan(plan, "", mode),
        OrderAnswer::Done if !mode.is_json() => say(mode, &[], &["it is written down".to_owned()]),
        answer => say(mode, &[json!(answer)], &[]),
    }
}

/// Says where a deployment is.
///
/// # Errors
/// As [`server_releases`].
pub(crate) fn server_deployment(deployment: &DeploymentView, mode: OutputMode) -> io::Result<()> {
    say(mode, &[json!(deployment)], &lines_of(deployment))
}

fn lines_of(one: &DeploymentView) -> Vec<String> {
    let by = if one.by.is_empty() { String::new() } else { format!(" by {}", shown(&one.by)) };
    let why = if one.reason.is_empty() { String::new() } else { format!(": {}", shown(&one.reason)) };
    let (to, state) = (direction(one.direction), state_in_words(one.state));
    let ago = human::millis(clock::unix_millis().saturating_sub(one.requested));
    let release = one.release.short();
    let mut lines =
        vec![format!("{}  {to} release {release}  {state}, asked{by} {ago} ago{why}", one.deployment)];
    if !one.over {
        lines.push(format!("  plan {}", one.plan));
        lines.extend(one.gates.iter().map(|gate| format!("  waits: {}", shown(gate))));
    }
    if !one.approved_by.is_empty() {
        let people: Vec<String> = one.approved_by.iter().map(|person| shown(person)).collect();
        lines.push(format!("  approved by {}", people.join(", ")));
    }
    let past = |one: &staith_model::service::PastGates| {
        let what = if one.freeze_only { "the freeze" } else { "the gates" };
        format!("  {} went past {what}: {}", shown(&one.by), shown(&one.reason))
    };
    lines.extend(one.by_default.iter().map(|why| format!("  by default at the deadline: {}", shown(why))));
    lines.extend(one.overridden.iter().map(past));
    lines.extend(one.trouble.iter().map(|trouble| format!("  trouble: {}", shown(trouble))));
    lines
}

const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Forward => "to",
        Direction::Back => "back to",
    }
}

/// Says which deployments there were.
///
/// # Errors
/// As [`server_releases`].
pub(crate) fn server_history(view: &EnvironmentView, mode: OutputMode) -> io::Result<()> {
    let values: Vec<Value> = view.deployments.iter().map(|one| json!(one)).collect();
    let lines = match view.deployments.as_slice() {
        [] => vec![format!("nothing was ever deployed to {}", view.environment)],
        deployments => deployments.iter().flat_map(lines_of).collect(),
    };
    say(mode, &values, &lines)
}

/// Says how environments stand, and what protects them.
///
/// # Errors
/// As [`server_releases`].
pub(crate) fn server_environments(all: &[EnvironmentView], mode: OutputMode) -> io::Result<()> {
    let values: Vec<Value> = all.iter().map(|one| json!(one)).collect();
    let lines = match all {
        [] => vec![
            "no environments yet: what was deployed somewhere, or is protected, is shown here".to_owned(),
        ],
        all => all.iter().flat_map(of_environment).collect(),
    };
    say(mode, &values, &lines)
}

fn of_environment(one: &EnvironmentView) -> Vec<String> {
    let serves =
        one.serves.map_or_else(|| "nothing".to_owned(), |digest| format!("release {}", digest.short()));
    let mut lines = vec![format!("{}: serves {serves}", one.environment)];
    lines.extend(one.held.iter().map(|held| format!("  held: {}", shown(held))));
    let out = |(target, why): (&Name, &String)| format!("  {target} is in quarantine: {}", shown(why));
    lines.extend(one.quarantined.iter().map(out));
    lines.extend(in_words(&one.rules).into_iter().map(|rule| format!("  {rule}")));
    let open = one.deployments.iter().filter(|deployment| !deployment.over);
    lines.extend(open.flat_map(lines_of).map(|line| format!("  {line}")));
    lines
}

/// What people look at before they say yes.
fn told(rules: &EnvironmentRules) -> Option<String> {
    let is_said = rules.needed > 0 && !rules.instructions.trim().is_empty();
    is_said.then(|| approvers_look_at(&rules.instructions))
}

/// Says what people look at before they say yes to a plan that was shown.
///
/// # Errors
/// As [`server_releases`].
pub(crate) fn server_instructions(view: &EnvironmentView, mode: OutputMode) -> io::Result<()> {
    let lines: Vec<String> = told(&view.rules).into_iter().collect();
    // For programs, it is among the environment's rules.
    say(mode, &[], &lines)
}

/// What protects an environment, a line for each thing that was said.
fn in_words(rules: &EnvironmentRules) -> Vec<String> {
    let mut lines = vec![format!("takes {} code", rules.trust.as_str())];
    if rules.needed > 0 {
        let requester = if rules.requester_may { "" } else { ", not of who asks" };
        let approvals = human::count(usize::try_from(rules.needed).unwrap_or(usize::MAX), "approval");
        let within = human::duration(Duration::from_secs(rules.deadline_seconds));
        let then = match rules.at_deadline {
            AtDeadline::Expire => "",
            AtDeadline::Deploy => ", and is deployed to if nobody says no until then",
        };
        lines.push(format!("needs {approvals}{requester}, within {within}{then}"));
        lines.extend(told(rules));
    }
    if rules.queue == Queue::InOrder {
        lines.push("deployments that wait come in their order".to_owned());
    }
    if rules.automatic {
        lines.push("is released to by itself".to_owned());
    }
    if !rules.branches.is_empty() {
        lines.push(format!("branches: {}", shown(&rules.branches.join(", "))));
    }
    if !rules.after.is_empty() {
        let after: Vec<&str> = rules.after.iter().map(Name::as_str).collect();
        lines.push(format!("after: {}", after.join(", ")));
    }
    let freeze = |one: &staith_model::FreezeWindow| {
        format!("frozen from {} until {}: {}", shown(&one.from), shown(&one.until), shown(&one.why))
    };
    lines.extend(rules.freezes.iter().map(freeze));
    if !rules.hours.is_empty() || !rules.checks.is_empty() {
        lines.push(format!(
            "{} of hours, {}",
            human::count(rules.hours.len(), "span"),
            human::count(rules.checks.len(), "check")
        ));
    }
    lines
}
