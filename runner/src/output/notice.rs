//! What the short commands did, in a line each.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use serde_json::json;
use staith_model::{Digest, EventKind};

use super::{
    OutputMode,
    clean::clean_word,
    human,
    look::{Look, Mark, Tone},
    sink::Sink,
};

/// Shows one event of a deployment that belongs to no run, such as a rollback's: as JSON, or what was done in words.
pub(crate) fn deployment_event(what: &EventKind, mode: OutputMode) {
    if mode.is_json() {
        return json_line(what);
    }
    if let EventKind::DeploymentOperation { operation, already, millis, .. } = what {
        let look = look();
        let how = if *already { "already so".to_owned() } else { human::millis(*millis) };
        let mark = look.mark(if *already { Mark::Cached } else { Mark::Passed });
        line(&format!("{mark} {}{}{how}", clean_word(operation), look.dot()));
    }
}

/// Says which release serves after a rollback.
pub(crate) fn rolled_back(
    release: &Digest,
    url: Option<&str>,
    already: bool,
    took: Duration,
    mode: OutputMode,
) {
    if mode.is_json() {
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        return json_line(&json!({"serving": release, "url": url, "already": already, "millis": took}));
    }
    let look = look();
    let verb = if already { "served already" } else { "serves again" };
    let text = format!("release {} {verb}", release.short());
    let place = url.map(|url| format!("{}{}", look.dot(), clean_word(url))).unwrap_or_default();
    line(&format!("{}{place}{}{}", look.tint(Tone::Good, &text), look.dot(), human::duration(took)));
}

/// Says that an environment was stopped, or was not running.
pub(crate) fn stopped(project: &str, environment: &str, ran: bool, mode: OutputMode) {
    if mode.is_json() {
        return json_line(&json!({"project": project, "environment": environment, "stopped": ran}));
    }
    let how = if ran { "stopped" } else { "was not running" };
    line(&format!("{} {} {how}", clean_word(project), clean_word(environment)));
}

fn json_line(value: &impl serde::Serialize) {
    line(&serde_json::to_string(value).unwrap_or_default());
}

fn line(text: &str) {
    Sink::new(io::stdout()).line(text);
}

fn look() -> Look {
    Look::choose(io::stdout().is_terminal(), |name| std::env::var(name).ok())
}
