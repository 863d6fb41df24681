//! Projects of a server, and what happens to them.

use std::io;

use serde::Serialize;
use staith_model::service::{Arrival, Explanation, Happening, Project, ProjectSettings};

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

/// Shows a project with its settings, by the keys that `staith project set` takes.
///
/// # Errors
/// As [`project_list`].
pub(crate) fn project_shown(project: &Project, mode: OutputMode) -> io::Result<()> {
    if mode.is_json() {
        return values(std::slice::from_ref(project));
    }
    let mut all = vec![format!("{}  {}", project.name, shown(&project.origin))];
    let rows: Vec<Vec<String>> = settings(&project.settings)
        .into_iter()
        .map(|(key, value)| vec![format!("  {key}"), shown(&value)])
        .collect();
    all.extend(table::lines(&rows));
    lines(&all)
}

fn settings(settings: &ProjectSettings) -> Vec<(String, String)> {
    let row = |key: &str, value: String| (key.to_owned(), value);
    let word = |value: serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let listed = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let poll = match settings.poll_seconds {
        None => "as usual: every 5 minutes, or 30 where the forge sends webhooks".to_owned(),
        Some(0) => "0, only when the server starts".to_owned(),
        Some(seconds) => format!("{seconds}, every so many seconds"),
    };
    let mut rows = vec![
        row("protected_branches", listed(&settings.protected_branches)),
        row("protected_tags", listed(&settings.protected_tags)),
        row("poll_seconds", poll),
        row("batch_pushes", settings.batch_pushes.to_string()),
        row("concurrency", word(serde_json::json!(settings.concurrency))),
        row("pool", settings.pool.to_string()),
    ];
    match &settings.forge {
        None => rows.push(row("forge", "none".to_owned())),
        Some(forge) => {
            rows.push(row("forge.kind", forge.kind.as_str().to_owned()));
            let parts = [
                ("forge.url", &forge.url),
                ("forge.repository", &forge.repository),
                ("forge.webhook_secret", &forge.webhook_secret),
                ("forge.status_secret", &forge.status_secret),
            ];
            let not = || "not set".to_owned();
            rows.extend(parts.map(|(key, value)| row(key, value.clone().unwrap_or_else(not))));
        }
    }
    if settings.schedules.is_empty() {
        rows.push(row("schedules", "none".to_owned()));
    }
    rows.extend(settings.schedules.iter().map(|schedule| {
        let changed = if schedule.only_if_changed { ", only if it has changed" } else { "" };
        let (cron, zone) = (&schedule.cron, &schedule.time_zone);
        let first = if schedule.priority.is_usual() {
            String::new()
        } else {
            format!(", priority {}", schedule.priority)
        };
        let value = format!("{}: {cron} ({zone}) of {}{changed}{first}", schedule.name, schedule.branch);
        row("schedules", value)
    }));
    rows
}

/// Says that a run is in the queue, and how to follow it.
///
/// # Errors
/// As [`project_list`].
pub(crate) fn run_begun(arrival: &Arrival, mode: OutputMode) -> io::Result<()> {
    let (false, Some(run)) = (mode.is_json(), &arrival.run) else {
        return arrivals(std::slice::from_ref(arrival), mode);
    };
    let about = happened(&arrival.happening);
    lines(&[
        format!("{}#{} is in the queue: {}", arrival.project, run.number, shown(&about)),
        format!("follow it: staith runs watch {}", run.id),
    ])
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_shown_by_the_keys_that_set_them() {
        let all: ProjectSettings = serde_json::from_value(json!({
            "protected_branches": ["main", "release/*"], "poll_seconds": 60,
            "forge": { "kind": "github", "repository": "me/shop" },
            "schedules": [{ "name": "nightly", "cron": "0 3 * * *", "branch": "main", "only_if_changed": true, "priority": -5 }],
        }))
        .unwrap();
        let rows: Vec<String> =
            settings(&all).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        for row in [
            "protected_branches=main, release/*",
            "poll_seconds=60, every so many seconds",
            "concurrency=free",
            "forge.repository=me/shop",
            "forge.url=not set",
            "schedules=nightly: 0 3 * * * (UTC) of main, only if it has changed, priority -5",
        ] {
            assert!(rows.iter().any(|it| it == row), "{row}: {rows:#?}");
        }
        let known = serde_json::to_value(ProjectSettings::default()).unwrap();
        for key in known.as_object().unwrap().keys() {
            assert!(rows.iter().any(|it| it.starts_with(key.as_str())), "{key} is not shown");
        }
    }
}
