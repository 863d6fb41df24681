//! What became of secrets, by their names.

use std::io;

use serde_json::json;

use super::{OutputMode, clean::clean_word, sink::Sink};

fn say(mode: OutputMode, value: &serde_json::Value, text: &str) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    out.line(&if mode.is_json() { value.to_string() } else { clean_word(text) });
    out.written()
}

/// Says that a secret was set.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn secret_set(name: &str, mode: OutputMode) -> io::Result<()> {
    say(mode, &json!({ "set": name }), &format!("the secret {name} is set"))
}

/// Says that a secret was removed.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn secret_removed(name: &str, mode: OutputMode) -> io::Result<()> {
    say(mode, &json!({ "removed": name }), &format!("the secret {name} is removed"))
}

/// Says that a server's secret has another value.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn secret_rotated(name: &str, version: u64, mode: OutputMode) -> io::Result<()> {
    let value = json!({ "rotated": name, "version": version });
    say(mode, &value, &format!("the secret {name} has a new value, its version {version}"))
}

/// Says that a server's secrets are sealed with a new key.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn secrets_resealed(count: u64, mode: OutputMode) -> io::Result<()> {
    let text = format!("{count} secrets are sealed with a new key, and the old one is gone");
    say(mode, &json!({ "resealed": count }), &text)
}

/// Lists the names of secrets.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn secret_names(names: &[String], mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        out.line(&json!({ "secrets": names }).to_string());
    } else {
        names.iter().for_each(|name| out.line(&clean_word(name)));
    }
    out.written()
}
