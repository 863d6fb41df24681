//! What an apply did, for `staith apply`.

use std::io::{self, IsTerminal as _};

use serde_json::json;
use staith_packager::apply::{Action, Object};

use super::{clean::clean_word, look::Look, look::Tone, sink::Sink};
use crate::cli::Told;

/// Says what was applied, or would be: changes and counters on standard output, notes on standard error.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn applied(told: &Told, json: bool) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if json {
        in_json(told).iter().for_each(|line| out.line(line));
        return out.written();
    }
    let look = Look::choose(io::stderr().is_terminal(), |name| std::env::var(name).ok());
    let mut beside = Sink::new(io::stderr());
    for note in &told.notes {
        beside.line(&format!("{} {}", look.tint(Tone::Odd, "note:"), clean_word(note)));
    }
    lines(told).iter().for_each(|line| out.line(line));
    out.written()
}

fn in_json(told: &Told) -> Vec<String> {
    let plan = &told.applied.plan;
    let mut lines: Vec<String> =
        plan.changes.iter().map(|change| json!({"change": change}).to_string()).collect();
    let applied = json!({
        "total": plan.counters.total(), "counters": plan.counters, "what_if": told.what_if,
        "makes_directory": plan.makes_root, "kept": plan.kept, "hidden": plan.hidden,
        "backup": told.applied.backup.as_ref().map(|path| path.display().to_string()),
        "stays_offline": told.applied.stays_offline, "notes": told.notes,
    });
    lines.push(json!({"applied": applied}).to_string());
    lines
}

fn lines(told: &Told) -> Vec<String> {
    let plan = &told.applied.plan;
    let mut lines = Vec::new();
    if told.verbose {
        lines.extend(plan.changes.iter().map(|change| {
            let verb = match change.action {
                Action::Add => "adding",
                Action::Update => "updating",
                Action::Delete => "deleting",
            };
            let object = match change.object {
                Object::Directory => "directory",
                Object::File => "file",
                Object::Link => "link",
                Object::Special => "special file",
            };
            format!("{verb} {object} {}", clean_word(change.path.as_str()))
        }));
        lines.extend(plan.kept.iter().map(|path| format!("keeping {}", clean_word(path.as_str()))));
        lines.extend(plan.hidden.iter().map(|path| format!("skipping {}", clean_word(path.as_str()))));
    }
    if let Some(backup) = &told.applied.backup {
        lines.push(format!("Backup: {}", clean_word(&backup.display().to_string())));
    }
    if plan.counters.total() == 0 {
        lines.push("Nothing to change.".to_owned());
    }
    let would = if told.what_if { "What if: " } else { "" };
    lines.push(format!("{would}{}", plan.counters));
    lines
}

#[cfg(test)]
mod tests {
    use staith_packager::apply::{Applied, ApplyPlan, Change, Counters};

    use super::*;

    #[test]
    fn changes_are_told_only_to_who_asks_and_the_total_always() {
        let change = Change {
            action: Action::Update,
            object: Object::File,
            path: "a\u{7}".try_into().unwrap(),
            bytes: 3,
        };
        let counters = Counters { updated: 1, bytes_copied: 3, ..Counters::default() };
        let plan = ApplyPlan { changes: vec![change], counters, ..ApplyPlan::default() };
        let applied = Applied { plan: plan.clone(), backup: None, stays_offline: false, notes: vec![] };
        let mut told = Told { applied, what_if: true, verbose: true, notes: vec![] };
        let total =
            "What if: Total changes: 1 (0 added, 0 deleted, 1 updated, 0 parameters changed, 3 bytes copied)";
        assert_eq!(lines(&told), ["updating file a<U+0007>", total]);
        told.verbose = false;
        assert_eq!(lines(&told), [total]);
        told.applied.plan = ApplyPlan::default();
        assert_eq!(lines(&told)[0], "Nothing to change.");
        told.applied.plan = plan;
        let json = in_json(&told);
        assert_eq!(json[0], r#"{"change":{"action":"update","bytes":3,"object":"file","path":"a\u0007"}}"#);
        assert!(json[1].contains(r#""total":1"#) && json[1].contains(r#""what_if":true"#), "{}", json[1]);
    }
}
