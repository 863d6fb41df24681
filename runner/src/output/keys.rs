//! Keys for signatures.

use std::io;

use serde_json::{Value, json};
use staith_packager::seal::key::PublicKey;

use super::{OutputMode, sink::Sink};

fn told(key: &PublicKey) -> Value {
    json!({ "key": key.id(), "pem": key.pem() })
}

/// Shows a public key: alone on standard output, so that it can be kept in a file.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn public_key(key: &PublicKey, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        out.line(&told(key).to_string());
    } else {
        out.write(&key.pem());
    }
    out.written()
}

/// Lists keys by their ids.
///
/// # Errors
/// As [`public_key`].
pub(crate) fn trusted_keys(keys: &[PublicKey], mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    for key in keys {
        out.line(&if mode.is_json() { told(key).to_string() } else { key.id() });
    }
    out.written()
}

/// Says that a key counts from now on, or no longer does.
///
/// # Errors
/// As [`public_key`].
pub(crate) fn key_trusted(key: &PublicKey, is_trusted: bool, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    let id = key.id();
    out.line(&match (mode.is_json(), is_trusted) {
        (true, _) => json!({ "key": id, "trusted": is_trusted }).to_string(),
        (false, true) => format!("the key {id} is trusted"),
        (false, false) => format!("the key {id} is no longer trusted"),
    });
    out.written()
}

/// Writes a JSON document as it is; for programs that read a value a line, in one line.
///
/// # Errors
/// As [`public_key`].
pub(crate) fn document(json: &[u8], in_one_line: bool) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    let text = String::from_utf8_lossy(json);
    match serde_json::from_str::<Value>(&text) {
        Ok(value) if in_one_line => out.line(&value.to_string()),
        _ => out.write(&text),
    }
    out.written()
}
