//! What the short commands did, in a line each.

use std::{
    io::{self, IsTerminal as _, Write},
    path::Path,
    time::Duration,
};

use serde_json::json;
use staith_model::{Digest, EVENT_VERSION, Event, EventKind};

use super::{
    OutputMode,
    clean::clean_word,
    human,
    look::{Look, Mark, Tone},
    sink::Sink,
};

/// Writes a text of Staith's own to standard output, as it is: for another program.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn text(text: &str) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    out.write(text);
    out.written()
}

/// Shows the events of a deployment that belongs to no run, such as a rollback's: as JSON, in a log of their own, or what was
/// done in words.
pub(crate) struct Retelling {
    mode: OutputMode,
    next_seq: u64,
}

impl Retelling {
    /// Shows events on standard output.
    pub(crate) fn new(mode: OutputMode) -> Self {
        Self { mode, next_seq: 0 }
    }

    /// Shows what happened now, `at` milliseconds since 1970. Output that fails does not keep a deployment from its work: the
    /// line that says how it ended fails too, and says so.
    pub(crate) fn tell(&mut self, what: EventKind, at: u64) {
        self.tell_on(&mut Sink::new(io::stdout()), look(), what, at);
    }

    fn tell_on(&mut self, out: &mut Sink<impl Write>, look: Look, what: EventKind, at: u64) {
        if self.mode.is_json() {
            let event = Event { v: EVENT_VERSION, seq: self.next_seq, at, what };
            self.next_seq += 1;
            out.line(&serde_json::to_string(&event).unwrap_or_default());
        } else if let EventKind::DeploymentOperation { operation, already, millis, .. } = what {
            let how = if already { "already so".to_owned() } else { human::millis(millis) };
            let mark = look.mark(if already { Mark::Cached } else { Mark::Passed });
            out.line(&format!("{mark} {}{}{how}", clean_word(&operation), look.dot()));
        }
    }
}

/// Says which release serves after a rollback.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn rolled_back(
    release: &Digest,
    url: Option<&str>,
    already: bool,
    took: Duration,
    mode: OutputMode,
) -> io::Result<()> {
    if mode.is_json() {
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        return json_line(&json!({"serving": release, "url": url, "already": already, "millis": took}));
    }
    let look = look();
    let verb = if already { "served already" } else { "serves again" };
    let text = format!("release {} {verb}", release.short());
    let place = url.map(|url| format!("{}{}", look.dot(), clean_word(url))).unwrap_or_default();
    line(&format!("{}{place}{}{}", look.tint(Tone::Good, &text), look.dot(), human::duration(took)))
}

/// Says that an environment was stopped, or was not running.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn stopped(project: &str, environment: &str, ran: bool, mode: OutputMode) -> io::Result<()> {
    if mode.is_json() {
        return json_line(&json!({"project": project, "environment": environment, "stopped": ran}));
    }
    let how = if ran { "stopped" } else { "was not running" };
    line(&format!("{} {} {how}", clean_word(project), clean_word(environment)))
}

/// Says that a pipeline was written for a kind of project, what told the kind, and what to do next.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn started(
    title: &str,
    kind: &str,
    sign: Option<&str>,
    at: &Path,
    mode: OutputMode,
) -> io::Result<()> {
    if mode.is_json() {
        return json_line(&json!({"kind": kind, "found": sign, "written": at.display().to_string()}));
    }
    let found = sign.map_or_else(|| "as you say".to_owned(), |sign| format!("by {}", clean_word(sign)));
    line(&format!("this is {title}, {found}"))?;
    let verdict = format!("{} is written", clean_word(&at.display().to_string()));
    line(&look().tint(Tone::Good, &verdict))?;
    line("next: look it over, see what it would do with `staith plan`, and run it with `staith run`")
}

/// Prints a script as it is.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn script(text: &str) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    out.write(text);
    out.written()
}

fn json_line(value: &impl serde::Serialize) -> io::Result<()> {
    line(&serde_json::to_string(value).unwrap_or_default())
}

fn line(text: &str) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    out.line(text);
    out.written()
}

pub(super) fn look() -> Look {
    Look::choose(io::stdout().is_terminal(), |name| std::env::var(name).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::stories;

    fn told(mode: OutputMode) -> String {
        let mut bytes = Vec::new();
        let mut retelling = Retelling::new(mode);
        for event in stories::rolled_back().events {
            retelling.tell_on(&mut Sink::new(&mut bytes), Look::BARE, event.what, 1_700_000_000_000);
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn programs_see_a_log_like_any_other() {
        let expected: Vec<Event> = stories::rolled_back()
            .events
            .into_iter()
            .map(|event| Event { at: 1_700_000_000_000, ..event })
            .collect();
        let seen: Vec<Event> =
            told(OutputMode::Json).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn people_see_what_was_done() {
        let told = told(OutputMode::Plain(Look::BARE));
        assert!(told.contains("+ move the traffic to blue, 3 ms\n"), "{told}");
        assert!(!told.contains("healthz"), "{told}");
    }
}
