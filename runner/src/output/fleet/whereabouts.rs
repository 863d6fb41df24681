//! What differs between releases, which machines run what, and the run-book.

use std::io;

use serde_json::{Value, json};
use staith_releaser::fleet::{
    diff::Comparison,
    record::{run_book::RunBook, whereabouts::Trace},
};

use super::{
    super::{OutputMode, clean::clean_word, human, table},
    say,
};
use crate::clock;

/// Shows what two releases differ in, and says so if their files could not be compared.
///
/// # Errors
/// It could not be written, and not because nobody reads. This holds for all functions here.
pub(crate) fn releases_differ(found: &Comparison, mode: OutputMode) -> io::Result<()> {
    let value = serde_json::to_value(found).unwrap_or_default();
    let Comparison { diff: found, files_compared } = found;
    // A difference says itself what it escapes.
    let mut lines: Vec<String> = found.differences.iter().map(ToString::to_string).collect();
    if lines.is_empty() {
        lines.push(format!("{} and {} are the same", found.from.short(), found.to.short()));
    } else if !files_compared {
        lines.push("files were not compared: the store no longer has both packages".to_owned());
    }
    say(mode, &[value], &lines)
}

/// Shows which machines run what; `none` says that none does.
pub(crate) fn whereabouts(found: &[Trace], none: &str, mode: OutputMode) -> io::Result<()> {
    let values: Vec<Value> = found.iter().map(|trace| json!(trace)).collect();
    let now = clock::unix_millis();
    let mut lines = table::lines(&found.iter().map(|trace| row(trace, now)).collect::<Vec<_>>());
    if lines.is_empty() {
        lines.push(none.to_owned());
    }
    say(mode, &values, &lines)
}

fn row(trace: &Trace, now: u64) -> Vec<String> {
    let since = trace.since.map(|since| format!("for {}", human::millis(now.saturating_sub(since))));
    let mut row = vec![
        trace.environment.to_string(),
        trace.target.to_string(),
        format!("release {}", trace.release.short()),
    ];
    match &trace.origin {
        Some(origin) => {
            row.push(format!("{}@{}", origin.package, origin.version));
            row.push(origin.commit.as_deref().map_or("no commit".to_owned(), |commit| {
                format!("commit {}", clean_word(commit).chars().take(12).collect::<String>())
            }));
            row.push(origin.run.as_ref().map_or_else(String::new, |run| format!("run {run}")));
        }
        None => row.extend(["of before the record".to_owned(), String::new(), String::new()]),
    }
    row.push(since.unwrap_or_default());
    row
}

/// Shows a run-book; for programs as one text.
pub(crate) fn run_book(book: &RunBook, mode: OutputMode) -> io::Result<()> {
    let lines: Vec<String> = book.markdown.lines().map(str::to_owned).collect();
    say(mode, &[json!(book)], &lines)
}
