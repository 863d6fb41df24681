//! A build host and its jobs.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::Path,
};

use serde_json::{Value, json};
use staith_model::{AttemptId, Blame, Name, service::AttemptOutcome};

use super::{OutputMode, clean::clean_word, human, sink::Sink};
use crate::worker::{News, Registration};

/// A job that is on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunnerJob {
    pub(crate) attempt: AttemptId,
    pub(crate) project: Name,
    pub(crate) number: u64,
    pub(crate) name: Name,
    /// How it is, in a few words.
    pub(crate) state: &'static str,
}

fn told(registration: &Registration) -> Value {
    let mut all = json!({
        "runner": registration.runner, "name": registration.name, "server": registration.server.as_str(),
        "labels": registration.labels, "pool": registration.pool, "ephemeral": registration.ephemeral,
    });
    if let Some(target) = &registration.target {
        all["target"] = json!(target);
    }
    all
}

/// What it is there for, in a few words.
fn purpose(registration: &Registration) -> String {
    match &registration.target {
        Some(target) => format!("for deployments to {target}"),
        None => format!("pool {}, {}", registration.pool, labels(&registration.labels)),
    }
}

fn labels(labels: &BTreeSet<Name>) -> String {
    match labels.is_empty() {
        true => "no labels".to_owned(),
        false => format!("labels {}", labels.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")),
    }
}

/// Says that this host is a runner.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn runner_registered(registration: &Registration, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        out.line(&told(registration).to_string());
    } else {
        let Registration { server, name, runner, target, .. } = registration;
        let purpose = purpose(registration);
        out.line(&format!("{name} is runner {runner} of {} ({purpose})", clean_word(server.as_str())));
        let takes = if target.is_some() { "lets it be deployed to" } else { "takes jobs" };
        out.line(&format!(
            "`staith runner start` {takes}; `staith runner install` writes a unit for systemd"
        ));
    }
    out.written()
}

/// Says whether the runner takes anything new.
///
/// # Errors
/// As [`runner_registered`].
pub(crate) fn runner_drained(draining: bool, jobs: usize, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        out.line(&json!({ "draining": draining, "jobs": jobs }).to_string());
    } else if draining {
        let jobs = human::count(jobs, "job");
        out.line(&format!("the runner takes nothing new, and ends when what it has is finished ({jobs})"));
    } else {
        out.line("the runner takes jobs again");
    }
    out.written()
}

/// Says where a unit was written.
///
/// # Errors
/// As [`runner_registered`].
pub(crate) fn runner_installed(to: &Path, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    let to = to.display().to_string();
    out.line(&match mode.is_json() {
        true => json!({ "unit": to }).to_string(),
        false => format!("{} is written; its first lines say how to use it", clean_word(&to)),
    });
    out.written()
}

/// Shows what this host is a runner of, and its jobs.
///
/// # Errors
/// As [`runner_registered`].
pub(crate) fn runner_listed(
    registration: &Registration,
    is_running: bool,
    is_draining: bool,
    jobs: &[RunnerJob],
    mode: OutputMode,
) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        let job = |job: &RunnerJob| {
            json!({
                "attempt": job.attempt, "project": job.project, "number": job.number, "name": job.name, "state": job.state,
            })
        };
        let mut all = told(registration);
        all["running"] = json!(is_running);
        all["draining"] = json!(is_running && is_draining);
        all["jobs"] = jobs.iter().map(job).collect();
        out.line(&all.to_string());
        return out.written();
    }
    let state = match (is_running, is_draining) {
        (true, true) => "takes nothing new",
        (true, false) if registration.target.is_some() => "takes deployments",
        (true, false) => "takes jobs",
        (false, _) => "does not run",
    };
    let Registration { server, name, runner, .. } = registration;
    let purpose = purpose(registration);
    out.line(&format!("{name}: runner {runner} of {} ({purpose}); {state}", clean_word(server.as_str())));
    for job in jobs {
        out.line(&format!("{}  {} of {} #{}: {}", job.attempt, job.name, job.project, job.number, job.state));
    }
    out.written()
}

/// Says what happens, as it happens. Whoever does not read keeps no job from running.
pub(crate) fn runner_news(news: &News, mode: OutputMode) {
    let mut out = Sink::new(io::stdout());
    tell(&mut out, news, mode);
}

fn tell(out: &mut Sink<impl Write>, news: &News, mode: OutputMode) {
    out.line(&if mode.is_json() { as_json(news).to_string() } else { in_words(news) });
}

fn in_words(news: &News) -> String {
    match news {
        News::Started { registration, jobs } => {
            let Registration { server, name, .. } = registration;
            let jobs = human::count(*jobs, "job");
            format!("{name} takes jobs from {}, {jobs} at once", clean_word(server.as_str()))
        }
        News::Serves { registration, target } => {
            let Registration { server, name, .. } = registration;
            format!("{name} takes deployments to {target} from {}", clean_word(server.as_str()))
        }
        News::Begun { folder, .. } => format!("the deployer speaks to {}", clean_word(folder)),
        News::Over { why: None, .. } => "the deployer has ended".to_owned(),
        News::Over { why: Some(why), .. } => format!("the deployer is gone: {}", clean_word(why)),
        News::Taken { attempt, project, number, name, is_adopted } => {
            let how = if *is_adopted { "is taken up again" } else { "begins" };
            format!("{name} of {project} #{number} {how} (attempt {attempt})")
        }
        News::Ended { attempt, outcome } => match outcome {
            AttemptOutcome::Passed => format!("attempt {attempt} passed"),
            AttemptOutcome::Cancelled => format!("attempt {attempt} was cancelled"),
            AttemptOutcome::Failed { blame, why, .. } => {
                let whose = match blame {
                    Blame::Project => "",
                    Blame::Environment => " through its surroundings",
                    Blame::Us => " through a bug in Staith",
                };
                format!("attempt {attempt} failed{whose}: {}", clean_word(why))
            }
        },
        News::PutAway { attempt, why } => format!("attempt {attempt} does not count: {}", clean_word(why)),
        News::Away { why } => format!("the server does not answer, and is asked again: {}", clean_word(why)),
        News::Back => "the server answers again".to_owned(),
        News::Draining => "nothing new is taken any more".to_owned(),
        News::Leaving { jobs } => {
            let jobs = human::count(*jobs, "job");
            format!(
                "still running: {jobs}; the next `staith runner start` takes up what is here, within a minute"
            )
        }
    }
}

fn as_json(news: &News) -> Value {
    match news {
        News::Started { registration, jobs } => {
            let mut all = told(registration);
            all["news"] = json!("started");
            all["jobs"] = json!(jobs);
            all
        }
        News::Serves { registration, .. } => {
            let mut all = told(registration);
            all["news"] = json!("serves");
            all
        }
        News::Begun { tunnel, folder } => json!({ "news": "begun", "tunnel": tunnel, "folder": folder }),
        News::Over { tunnel, why } => json!({ "news": "over", "tunnel": tunnel, "why": why }),
        News::Taken { attempt, project, number, name, is_adopted } => json!({
            "news": "taken", "attempt": attempt, "project": project, "number": number, "name": name, "adopted": is_adopted,
        }),
        News::Ended { attempt, outcome } => {
            json!({ "news": "ended", "attempt": attempt, "outcome": outcome })
        }
        News::PutAway { attempt, why } => json!({ "news": "put-away", "attempt": attempt, "why": why }),
        News::Away { why } => json!({ "news": "away", "why": why }),
        News::Back => json!({ "news": "back" }),
        News::Draining => json!({ "news": "draining" }),
        News::Leaving { jobs } => json!({ "news": "leaving", "jobs": jobs }),
    }
}
