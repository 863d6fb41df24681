//! What is new in a release, and how well releases go.

use std::io;

use serde_json::{Value, json};
use staith_releaser::fleet::record::{
    figures::Measured,
    notes::{Change, ReleaseNotes},
};

use super::{
    super::{OutputMode, clean::clean_word, human, look::Tone, notice::look, table},
    say,
};

/// Shows what is new in a release, with remarks on what is told.
///
/// # Errors
/// It could not be written, and not because nobody reads. This holds for all functions here.
pub(crate) fn release_notes(told: &ReleaseNotes, markdown: bool, mode: OutputMode) -> io::Result<()> {
    let mut value = serde_json::to_value(told).unwrap_or_default();
    let ReleaseNotes { notes, remarks } = told;
    if markdown {
        let page = notes.markdown();
        value["markdown"] = json!(page);
        let mut lines: Vec<String> = page.lines().map(str::to_owned).collect();
        if !remarks.is_empty() {
            lines.push(String::new());
            // Versions and numbers: nothing in them means anything to Markdown but a dot, which begins no list here.
            lines.extend(remarks.iter().map(|remark| format!("*{remark}.*")));
        }
        return say(mode, &[value], &lines);
    }
    let look = look();
    let since = notes.from.as_deref().map(|from| format!(" since {}", clean_word(from)));
    let mut lines = vec![format!("{}{}", clean_word(&notes.to), since.unwrap_or_default())];
    if notes.groups.is_empty() {
        lines.push("  no commits".to_owned());
    }
    for group in &notes.groups {
        lines.push(format!("  {}", look.tint(Tone::Strong, &group.title)));
        lines.extend(group.changes.iter().map(in_words));
    }
    for (title, items) in [("Work items", &notes.work_items), ("People", &notes.people)] {
        if !items.is_empty() {
            let items: Vec<String> = items.iter().map(|item| clean_word(item)).collect();
            lines.push(format!("  {}: {}", look.tint(Tone::Strong, title), items.join(", ")));
        }
    }
    lines.extend(remarks.iter().map(|remark| format!("  note: {}", clean_word(remark))));
    say(mode, &[value], &lines)
}

fn in_words(change: &Change) -> String {
    let scope = change.scope.as_deref().map(|scope| format!("{}: ", clean_word(scope)));
    let what = clean_word(&change.what);
    format!("    {} {}{what}", clean_word(&change.commit), scope.unwrap_or_default())
}

const HEADS: [&str; 7] =
    ["environment", "changes", "failed", "per day", "lead time", "failure rate", "time to restore"];

/// Shows how well releases go, in the last so many days; `none` says that there is no environment.
pub(crate) fn metrics(
    measured: &[Measured],
    days: u64,
    none: &str,
    markdown: bool,
    mode: OutputMode,
) -> io::Result<()> {
    let values: Vec<Value> = measured.iter().map(|one| json!(one)).collect();
    let rows: Vec<Vec<String>> =
        [HEADS.map(str::to_owned).to_vec()].into_iter().chain(measured.iter().map(row)).collect();
    let span = format!("the last {}", human::count(usize::try_from(days).unwrap_or(usize::MAX), "day"));
    let mut lines = match (measured.is_empty(), markdown) {
        (true, _) => vec![none.to_owned()],
        (false, true) => {
            let line = |row: &Vec<String>| format!("| {} |", row.join(" | "));
            let rule = vec!["---".to_owned(); HEADS.len()];
            [&rows[0], &rule].into_iter().chain(&rows[1..]).map(line).collect()
        }
        (false, false) => table::lines(&rows),
    };
    if !measured.is_empty() {
        let note = format!("In {span}. Lead time and time to restore are medians.");
        lines.extend([String::new(), note]);
    }
    say(mode, &values, &lines)
}

fn row(one: &Measured) -> Vec<String> {
    let figures = &one.figures;
    let time = |millis: Option<u64>| millis.map_or("-".to_owned(), human::millis);
    vec![
        one.environment.to_string(),
        figures.changes.to_string(),
        figures.failed.to_string(),
        format!("{:.2}", figures.deployments_per_day),
        time(figures.lead_time_millis),
        figures.change_failure_percent.map_or("-".to_owned(), |percent| format!("{percent:.0} %")),
        time(figures.time_to_restore_millis),
    ]
}
