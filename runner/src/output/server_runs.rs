//! Runs of a server.

use std::{io, time::Duration};

use serde_json::json;
use staith_model::{
    Blame, Name,
    service::{
        AttemptOutcome, AttemptState, AttemptView, JobState, JobView, RunPage, RunStanding, RunSummary,
        RunView,
    },
};

use super::{
    OutputMode,
    clean::clean_word,
    human,
    logs::look,
    look::{Look, Mark, Tone},
    sink::Sink,
    table,
};

/// Lists runs, and how to see older ones. `none` is said where there is none.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn server_runs(
    page: &RunPage,
    project: Option<&Name>,
    none: &str,
    mode: OutputMode,
) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        out.line(&serde_json::to_string(page).map_err(io::Error::other)?);
        return out.written();
    }
    let look = look(mode);
    if page.runs.is_empty() {
        out.line(&look.tint(Tone::Quiet, none));
    }
    let rows: Vec<Vec<String>> = page.runs.iter().map(|run| row(run, look)).collect();
    table::lines(&rows).iter().for_each(|line| out.line(line));
    if let Some(next) = &page.next {
        let project = project.map(|name| format!("--project {name} ")).unwrap_or_default();
        let older = format!("older ones: staith runs list {project}--after {next}");
        out.line(&look.tint(Tone::Quiet, &older));
    }
    out.written()
}

fn row(run: &RunSummary, look: Look) -> Vec<String> {
    vec![
        format!("{} {}", look.mark(mark(run.state)), title(run)),
        run.state.to_string(),
        run.commit.as_deref().map(short).unwrap_or_else(|| "no commit".to_owned()),
        clean_word(&run.asked_by),
        moment(run.created),
        look.tint(Tone::Quiet, run.id.as_str()),
    ]
}

/// As people speak of it.
fn title(run: &RunSummary) -> String {
    format!("{}#{}", run.project, run.number)
}

const fn mark(state: RunStanding) -> Mark {
    match state {
        RunStanding::Waiting => Mark::Waiting,
        RunStanding::Running => Mark::Running(0),
        RunStanding::Passed => Mark::Passed,
        RunStanding::Failed => Mark::Failed,
        RunStanding::Cancelled => Mark::Skipped,
    }
}

fn short(commit: &str) -> String {
    clean_word(commit).chars().take(12).collect()
}

/// Says in a line how a run stands now.
///
/// # Errors
/// As [`server_runs`].
pub(crate) fn server_run_told(view: &RunView, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        out.line(&json!({ "run": view }).to_string());
    } else {
        let (look, run) = (look(mode), &view.run);
        let why = run.why.as_deref().map(|why| format!(": {}", clean_word(why))).unwrap_or_default();
        let dot = look.dot();
        out.line(&format!("{} {}{dot}{}{why}", look.mark(mark(run.state)), title(run), run.state));
        let failed = view.jobs.iter().filter(|job| job.state == JobState::Failed);
        let told =
            failed.filter_map(|job| Some(format!("  {}: {}", job.name, clean_word(job.why.as_deref()?))));
        told.for_each(|line| out.line(&line));
    }
    out.written()
}

/// Says which attempt is shown from here on.
///
/// # Errors
/// As [`server_runs`].
pub(crate) fn server_attempt_begins(job: &Name, attempt: &AttemptView, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        out.line(&json!({ "job": job, "attempt": attempt }).to_string());
    } else {
        let again = if attempt.number > 1 { format!(", attempt {}", attempt.number) } else { String::new() };
        let heading = format!("job {job}, runner {}{again}", clean_word(&attempt.runner_name));
        out.line(&look(mode).tint(Tone::Strong, &heading));
    }
    out.written()
}

/// Shows a run with its jobs and their attempts.
///
/// # Errors
/// As [`server_runs`].
pub(crate) fn server_run(view: &RunView, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        out.line(&serde_json::to_string(view).map_err(io::Error::other)?);
        return out.written();
    }
    lines(view, look(mode)).iter().for_each(|line| out.line(line));
    out.written()
}

fn lines(view: &RunView, look: Look) -> Vec<String> {
    let run = &view.run;
    let mut all = vec![format!("{} {}{}{}", look.mark(mark(run.state)), title(run), look.dot(), run.state)];
    let mut facts = vec![
        ("run", run.id.to_string()),
        ("commit", run.commit.as_deref().map_or_else(|| "none".to_owned(), clean_word)),
        ("plan", run.plan_digest.to_string()),
        ("trust", run.trust.as_str().to_owned()),
        ("asked by", clean_word(&run.asked_by)),
        ("came", moment(run.created)),
    ];
    if let Some(ended) = run.ended {
        facts.push(("took", length(run.created, ended)));
    }
    facts.extend(run.concurrency.as_deref().map(|group| ("group", clean_word(group))));
    facts.extend((run.priority != 0).then(|| ("priority", run.priority.to_string())));
    facts.extend(run.why.as_deref().map(|why| ("why", clean_word(why))));
    let rows: Vec<Vec<String>> = facts.into_iter().map(|(what, is)| vec![format!("  {what}"), is]).collect();
    all.extend(table::lines(&rows));
    view.jobs.iter().for_each(|job| all.extend(job_lines(job)));
    if view.jobs.iter().any(|job| !job.attempts.is_empty()) {
        all.push(look.tint(Tone::Quiet, &format!("what its steps wrote: staith runs logs {}", title(run))));
    }
    all
}

fn job_lines(job: &JobView) -> Vec<String> {
    let mut about = format!("job {}: {}, pool {}", job.name, job.state, job.pool);
    for (what, names) in [("labels", &job.labels), ("after", &job.needs), ("no runner has", &job.unmet)] {
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().map(Name::as_str).collect();
            about.push_str(&format!(", {what} {}", names.join(" ")));
        }
    }
    let mut all = vec![about];
    all.extend(job.why.as_deref().map(|why| format!("  {}", clean_word(why))));
    let rows: Vec<Vec<String>> = job.attempts.iter().map(attempt_row).collect();
    all.extend(table::lines(&rows));
    all
}

fn attempt_row(attempt: &AttemptView) -> Vec<String> {
    let (ended, told) = match (&attempt.outcome, attempt.state) {
        (Some(AttemptOutcome::Passed), _) => ("passed", None),
        (Some(AttemptOutcome::Cancelled), _) => ("cancelled", None),
        (Some(AttemptOutcome::Failed { blame, why, .. }), _) => (blamed(*blame), Some(why.as_str())),
        (None, AttemptState::Lost) => ("lost", None),
        (None, AttemptState::Finished) => ("ended", None),
        (None, AttemptState::Leased) => ("goes on", None),
    };
    let took = attempt.ended.map(|ended| length(attempt.began, ended));
    vec![
        format!("  attempt {}", attempt.number),
        ended.to_owned(),
        format!("on {}", clean_word(&attempt.runner_name)),
        moment(attempt.began),
        took.unwrap_or_default(),
        attempt.why.as_deref().or(told).map(clean_word).unwrap_or_default(),
    ]
}

/// Whose fault it was decides whether it is tried again.
const fn blamed(blame: Blame) -> &'static str {
    match blame {
        Blame::Project => "failed",
        Blame::Environment => "failed by its host",
        Blame::Us => "failed by a bug of Staith's",
    }
}

/// Says that a log is not all that a step wrote.
///
/// # Errors
/// As [`server_runs`].
pub(crate) fn log_not_whole(step: &Name, why: &str, mode: OutputMode) -> io::Result<()> {
    if mode.is_json() {
        let mut out = Sink::new(io::stdout());
        out.line(&json!({ "step": step, "not_whole": why }).to_string());
        return out.written();
    }
    super::notice(&format!("the log of {step} is not whole: {why}"), mode);
    Ok(())
}

fn moment(at: u64) -> String {
    let at = i64::try_from(at).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    at.map_or_else(|| "at no known time".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

fn length(from: u64, to: u64) -> String {
    human::duration(Duration::from_millis(to.saturating_sub(from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_tells_what_people_ask_of_it() {
        let view: RunView = serde_json::from_value(json!({
            "id": "01arz3ndektsv4rrffq69g5fav", "project": "shop", "number": 7, "state": "running",
            "commit": "0123456789abcdef0123456789abcdef01234567", "plan_digest": staith_model::Digest::of(b""),
            "trust": "branch", "asked_by": "person:ann\u{1b}[2J", "priority": 0, "created": 1_795_000_000_000_u64,
            "jobs": [{
                "name": "run", "state": "queued", "why": "no runner has the label gpu", "pool": "default",
                "labels": ["gpu", "linux"], "unmet": ["gpu"], "needs": [],
                "attempts": [{
                    "id": "01arz3ndektsv4rrffq69g5fax", "number": 1, "state": "lost",
                    "runner": "01arz3ndektsv4rrffq69g5fa1", "runner_name": "host-1",
                    "why": "its runner was not heard of", "began": 1_795_000_000_000_u64, "ended": 1_795_000_012_000_u64,
                }],
            }],
        }))
        .unwrap();
        assert_eq!(
            lines(&view, Look::BARE),
            [
                "| shop#7, running",
                "  run       01arz3ndektsv4rrffq69g5fav",
                "  commit    0123456789abcdef0123456789abcdef01234567",
                "  plan      sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "  trust     branch",
                "  asked by  person:ann",
                "  came      2026-11-18 11:06:40 UTC",
                "job run: queued, pool default, labels gpu linux, no runner has gpu",
                "  no runner has the label gpu",
                "  attempt 1  lost  on host-1  2026-11-18 11:06:40 UTC  12 s  its runner was not heard of",
                "what its steps wrote: staith runs logs shop#7",
            ]
        );
    }
}
