//! What serves where, for `staith status`.

mod pools;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal, Write};

use console::{Term, truncate_str};
use serde::Serialize;

use super::{
    clean::clean_word,
    human,
    look::{Look, Mark, Tone},
    sink::Sink,
    wrap::{self, wrap},
};

/// An environment as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct EnvironmentStatus {
    /// Whose it is.
    pub(crate) project: String,
    /// Its name.
    pub(crate) environment: String,
    /// Why it can't be told how it is. All else that could not be found out is empty then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unreadable: Option<String>,
    /// Where it answers.
    pub(crate) url: Option<String>,
    /// The process that supervises its pools and is its proxy, while it runs.
    pub(crate) keeper_pid: Option<u32>,
    /// How to bring the keeper back, when it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_running: Option<String>,
    /// What serves.
    pub(crate) release: Option<ReleaseStatus>,
    /// Since when it serves, in milliseconds since 1970.
    pub(crate) since: Option<u64>,
    /// Its pools.
    pub(crate) pools: Vec<PoolStatus>,
    /// Where a rollback leads.
    pub(crate) previous: Option<ReleaseStatus>,
    /// The other releases on disk; going back to one of them moves no bytes.
    pub(crate) other_releases: Vec<ReleaseStatus>,
    /// The last deployment.
    pub(crate) last_deployment: Option<DeploymentStatus>,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ReleaseStatus {
    /// Its digest in full, with its algorithm.
    pub(crate) digest: String,
    /// The digits of it that people read.
    pub(crate) short: String,
    /// `name@version` of its package.
    pub(crate) package: String,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PoolStatus {
    /// Its name.
    pub(crate) name: String,
    /// Where its process is, in one word.
    pub(crate) phase: String,
    /// Whether it has the traffic.
    pub(crate) serves: bool,
    /// Digest of the release in it, in full.
    pub(crate) release: Option<String>,
    /// The digits of it that people read.
    pub(crate) release_short: Option<String>,
    /// Where its process listens.
    pub(crate) port: Option<u16>,
    /// Its process.
    pub(crate) pid: Option<u32>,
    /// Requests it is answering.
    pub(crate) in_flight: Option<u64>,
    /// How often its process had to be started again.
    pub(crate) restarts: u64,
    /// How its process ended the last time.
    pub(crate) last_exit: Option<String>,
    /// Where what its process writes is kept.
    pub(crate) log: Option<String>,
    /// Whether its process ended when it should not have, so that people want to know how.
    #[serde(skip)]
    pub(crate) is_ill: bool,
}

/// A deployment that is over, or under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DeploymentStatus {
    /// Its id.
    pub(crate) id: String,
    /// Where it is, in words.
    pub(crate) state: String,
    /// Whether it is not over yet.
    pub(crate) under_way: bool,
    /// Whether the release it brought serves.
    pub(crate) succeeded: bool,
    /// When it got there, in milliseconds since 1970.
    pub(crate) at: u64,
    /// Why, if the state does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// Shows environments on standard output: as tables for people, or as one JSON array. `now` is in milliseconds since 1970.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn status(environments: &[EnvironmentStatus], json: bool, now: u64) -> io::Result<()> {
    let look = Look::choose(io::stdout().is_terminal(), |name| std::env::var(name).ok());
    let mut out = Sink::new(io::stdout());
    show(&mut out, environments, json, View { look, width: wrap::columns(&Term::stdout()), now });
    out.written()
}

/// How environments are seen.
#[derive(Debug, Clone, Copy)]
struct View {
    look: Look,
    /// Of a terminal; other readers get lines as long as they are.
    width: Option<usize>,
    /// In milliseconds since 1970.
    now: u64,
}

/// Columns before a fact.
const LABEL: usize = 14;

fn show(out: &mut Sink<impl Write>, environments: &[EnvironmentStatus], json: bool, view: View) {
    if json {
        out.line(&serde_json::to_string(environments).unwrap_or_default());
        return;
    }
    if environments.is_empty() {
        out.line("nothing has been released on this machine");
    }
    for (place, environment) in environments.iter().enumerate() {
        if place > 0 {
            out.line("");
        }
        rows(environment, view).iter().for_each(|row| out.line(row));
    }
}

fn rows(environment: &EnvironmentStatus, view: View) -> Vec<String> {
    let look = view.look;
    let name = format!("{} {}", clean_word(&environment.project), clean_word(&environment.environment));
    let mut rows = vec![look.tint(Tone::Strong, &name)];
    for (label, fact) in facts(environment, view) {
        let label = look.tint(Tone::Quiet, &format!("{label:<width$}", width = LABEL - 3));
        rows.push(format!("  {label} {fact}").trim_end().to_owned());
    }
    if !environment.pools.is_empty() {
        rows.push(String::new());
        rows.extend(pools::table(&environment.pools, view));
    }
    rows
}

/// Labels and what they say; what has no label of its own belongs to the one above.
fn facts(environment: &EnvironmentStatus, view: View) -> Vec<(&'static str, String)> {
    let look = view.look;
    if let Some(why) = &environment.unreadable {
        return below("unreadable", wrapped(why, view));
    }
    let mut facts = Vec::new();
    facts.extend(environment.url.as_deref().map(|url| ("url", clean_word(url))));
    if let Some(remedy) = &environment.not_running {
        facts.push(("keeper", look.tint(Tone::Odd, "not running")));
        facts.extend(below("", wrapped(remedy, view)));
    }
    let serving = environment.release.as_ref();
    facts.push(("release", serving.map_or("nothing serves".to_owned(), |it| release(it, Tone::Good, look))));
    facts.extend(environment.since.map(|since| ("since", moment(since, view.now))));
    let plain = |it: &ReleaseStatus| release(it, Tone::Plain, look);
    facts.extend(environment.previous.iter().map(|previous| ("previous", plain(previous))));
    facts.extend(below("kept", environment.other_releases.iter().map(plain)));
    if let Some(last) = &environment.last_deployment {
        facts.push(("deployment", deployment(last, view)));
        facts.extend(last.reason.as_deref().map(|reason| ("", first_line(reason, view))));
        facts.push(("", look.tint(Tone::Quiet, &clean_word(&last.id))));
    }
    facts
}

/// The label stands before the first line only.
fn below(label: &'static str, lines: impl IntoIterator<Item = String>) -> Vec<(&'static str, String)> {
    let labels = [label].into_iter().chain(std::iter::repeat(""));
    labels.zip(lines).collect()
}

fn wrapped(text: &str, view: View) -> Vec<String> {
    let text = clean_word(text);
    match view.width {
        Some(width) => wrap(&text, width.saturating_sub(LABEL)),
        None => vec![text],
    }
}

/// What fits in a row: a reason may hold all of a log's last words, and `--json` has them.
fn first_line(text: &str, view: View) -> String {
    let first = clean_word(text.lines().next().unwrap_or_default());
    match view.width {
        Some(width) => truncate_str(&first, width.saturating_sub(LABEL), view.look.ellipsis()).into_owned(),
        None => first,
    }
}

fn release(release: &ReleaseStatus, tone: Tone, look: Look) -> String {
    look.tint(tone, &clean_word(&release.package)) + look.dot() + &clean_word(&release.short)
}

fn deployment(last: &DeploymentStatus, view: View) -> String {
    let look = view.look;
    let (mark, tone) = match last {
        DeploymentStatus { under_way: true, .. } => (Mark::Waiting, Tone::Busy),
        DeploymentStatus { succeeded: true, .. } => (Mark::Passed, Tone::Good),
        _ => (Mark::Failed, Tone::Odd),
    };
    let (state, dot) = (look.tint(tone, &clean_word(&last.state)), look.dot());
    format!("{} {state}{dot}{}", look.mark(mark), moment(last.at, view.now))
}

/// A moment by the calendar (UTC, as logs have it) and as its distance from now.
fn moment(at: u64, now: u64) -> String {
    let calendar = i64::try_from(at).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    let calendar =
        calendar.map_or("at no known time".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string());
    format!("{calendar} ({} ago)", human::millis(now.saturating_sub(at)))
}
