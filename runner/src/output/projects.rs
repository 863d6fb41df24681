//! Projects of a server, and what happens to them.

use std::io;

use serde::Serialize;
use staith_model::service::{Arrival, Explanation, Happening, Project};

use super::{OutputMode, sink::Sink, table};

fn values<T: Serialize>(values: &[T]) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    for value in values {
        // Made of types that JSON can hold.
        if let Ok(line) = serde_json::to_string(value) {
            out.line(&line);
        }
    }
    out.written()
}

fn lines(lines: &[String]) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    lines.iter().for_each(|line| out.line(line));
    out.written()
}

/// Lists projects.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn project_list(projects: &[Project], mode: OutputMode) -> io::Result<()> {
    if mode.is_json() {
        return values(projects);
    }
    let row = |project: &Project| vec![project.name.to_string(), shown(&project.origin)];
    lines(&table::lines(&projects.iter().map(row).collect::<Vec<_>>()))
}

/// Shows a project with its settings, as `staith project set` takes them.
///
/// # Errors
/// As [`project_list`].
pub(crate) fn project_shown(project: &Project, mode: OutputMode) -> io::Result<()> {
    if mode.is_json() {
        return values(std::slice::from_ref(project));
    }
    let mut all = vec![format!("{}  {}", project.name, shown(&project.origin))];
    let settings = serde_json::to_string_pretty(&project.settings).unwrap_or_default();
    all.extend(settings.lines().map(shown));
    lines(&all)
}

/// Says what became of a project.
///
/// # Errors
/// As [`project_list`].
pub(crate) fn project_told(project: &Project, what: &str, mode: OutputMode) -> io::Result<()> {
    if mode.is_json() {
        return values(std::slice::from_ref(project));
    }
    lines(&[format!("{} {what} {}", project.name, shown(&project.origin))])
}

/// Writes a hook as it is; for programs, as a value.
///
/// # Errors
/// As [`project_list`].
pub(crate) fn hook(script: &str, mode: OutputMode) -> io::Result<()> {
    if mode.is_json() {
        return values(&[serde_json::json!({ "script": script })]);
    }
    let mut out = Sink::new(io::stdout());
    out.write(script);
    out.written()
}

/// Lists what happened, and what came of it.
///
/// # Errors
/// As [`project_list`].
pub(crate) fn arrivals(arrivals: &[Arrival], mode: OutputMode) -> io::Result<()> {
    if mode.is_json() {
        return values(arrivals);
    }
    let row = |arrival: &Arrival| {
        let mut row = vec![shown(&happened(&arrival.happening)), arrival.source.clone()];
        row.push(arrival.state.as_str().to_owned());
        row.push(arrival.why.as_deref().map(first_line).unwrap_or_default());
        row
    };
    let mut all = table::lines(&arrivals.iter().map(row).collect::<Vec<_>>());
    let remedies = arrivals.iter().filter_map(|arrival| arrival.remedy.as_deref());
    all.extend(remedies.map(|remedy| format!("help: {}", shown(remedy))));
    lines(&all)
}

fn happened(happening: &Happening) -> String {
    let short = |commit: &str| commit.get(..12).unwrap_or(commit).to_owned();
    match happening {
        Happening::Push { branch, after, .. } => format!("push to {branch} ({})", short(after)),
        Happening::Gone { reference } => format!("{reference} is gone"),
        Happening::Tag { tag, commit } => format!("tag {tag} ({})", short(commit)),
        Happening::PullRequest { number, head, target, fork, .. } => {
            let fork = if *fork { " of a fork" } else { "" };
            format!("request {number}{fork} for {target} ({})", short(head))
        }
        Happening::PullRequestClosed { number } => format!("request {number} closed"),
        Happening::Other { event } => event.clone(),
        Happening::Schedule { name, branch, .. } => format!("schedule {name} of {branch}"),
        Happening::Asked { reference, by, .. } => format!("{by} asked for {reference}"),
    }
}

/// Says what something would set off.
///
/// # Errors
/// As [`project_list`].
pub(crate) fn explanation(explained: &Explanation, mode: OutputMode) -> io::Result<()> {
    if mode.is_json() {
        return values(std::slice::from_ref(explained));
    }
    let verdict = if explained.starts { "there would be a run" } else { "there would be no run" };
    let mut all =
        vec![format!("{verdict}: {}", explained.why.lines().map(shown).collect::<Vec<_>>().join("\n"))];
    if let (Some(trust), Some(because)) = (explained.trust, &explained.trusted_because) {
        all.push(format!("trust: {}, because {}", trust.as_str(), shown(because)));
    }
    if let Some(plan) = &explained.plan {
        all.extend(explained.plan_digest.map(|digest| format!("plan: {digest}")));
        all.extend(plan.steps.iter().map(|step| format!("  runs       {}", step.name)));
        all.extend(
            plan.left_out.iter().map(|left| format!("  leaves out {}: {}", left.step, shown(&left.why))),
        );
    }
    all.extend(explained.notices.iter().map(|notice| format!("notice: {}", shown(notice))));
    lines(&all)
}

fn first_line(text: &str) -> String {
    shown(text.lines().next().unwrap_or_default())
}

/// Names of branches and what servers say come from others: no control characters reach the terminal.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
