//! What transforms and variables made of a file. Values are never told.

use std::io;

use serde_json::json;
use staith_packager::transform::Deed;

use super::{OutputMode, clean::clean_word, sink::Sink};

/// What became of the file.
#[derive(Debug)]
pub(crate) struct TransformSummary {
    /// The file that was read.
    pub(crate) file: String,
    /// Where the result goes.
    pub(crate) to: String,
    /// Whether it is another text than before.
    pub(crate) changed: bool,
    /// Whether it was written.
    pub(crate) written: bool,
}

/// Says what was done, a line for each thing, and what became of the file.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn transformed(log: &[Deed], summary: &TransformSummary, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    for deed in log {
        out.line(&if mode.is_json() {
            deed_as_json(deed).to_string()
        } else {
            clean_word(&deed_as_text(deed))
        });
    }
    let TransformSummary { file, to, changed, written } = summary;
    let last = match (mode.is_json(), changed, written) {
        (true, ..) => json!({ "file": file, "to": to, "changed": changed, "written": written }).to_string(),
        (false, _, true) => format!("{to} is written"),
        (false, true, false) => format!("{to} would be written"),
        (false, false, false) => format!("nothing changes in {file}"),
    };
    out.line(&if mode.is_json() { last } else { clean_word(&last) });
    out.written()
}

fn deed_as_text(deed: &Deed) -> String {
    match deed {
        Deed::Transformed { by, done, .. } => {
            let (at, changed) = (done.at, done.changed);
            let elements = if changed == 1 { "1 element".to_owned() } else { format!("{changed} elements") };
            let note = done.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
            format!("{by}:{}:{}: {} of {elements} at {}{note}", at.line, at.column, done.transform, done.path)
        }
        Deed::Substituted { file, variable, places: 1 } => format!("{variable}: put into {file}"),
        Deed::Substituted { file, variable, places } => {
            format!("{variable}: put into {file} in {places} places")
        }
        Deed::NotFound { variable } => format!("{variable}: leads nowhere, and may"),
    }
}

fn deed_as_json(deed: &Deed) -> serde_json::Value {
    match deed {
        Deed::Transformed { file, by, done } => json!({
            "transform": done.transform,
            "place": { "file": by, "line": done.at.line, "column": done.at.column },
            "file": file,
            "path": done.path,
            "elements": done.changed,
            "note": done.note,
        }),
        Deed::Substituted { file, variable, places } => {
            json!({ "variable": variable, "file": file, "places": places })
        }
        Deed::NotFound { variable } => json!({ "variable": variable, "places": 0 }),
    }
}
