//! `coverage` and `findings`: what a step's results have to come up to.

use staith_model::{CoverageBar, FindingsBar, Severity};

use super::{
    keys::{Keys, Shape, key},
    problems::Problem,
    values,
    walk::Table,
};

const PERCENT: Shape = Shape::Whole { least: 1, most: 100 };
const MOST_FINDINGS: u64 = 1_000_000;
pub(super) const LEVELS: [&str; 3] = ["error", "warning", "note"];

pub(super) const COVERAGE_KEYS: Keys = Keys {
    known: &[
        key("lines", PERCENT, "any", "Lines that have to be covered at least, in percent."),
        key("branches", PERCENT, "any", "Branches that have to be covered at least, in percent."),
    ],
    elsewhere: &[("line", "lines"), ("statement", "lines"), ("statements", "lines"), ("branch", "branches")],
};

pub(super) const FINDINGS_KEYS: Keys = Keys {
    known: &[
        key(
            "level",
            Shape::Word(&LEVELS),
            "`\"error\"`",
            "What counts: findings of this level and worse ones. `error`, `warning` or `note`.",
        ),
        key(
            "most",
            Shape::Whole { least: 0, most: MOST_FINDINGS },
            "`0`",
            "As many may be found; with one more the step fails.",
        ),
    ],
    elsewhere: &[("severity", "level"), ("max", "most"), ("limit", "most"), ("allowed", "most")],
};

pub(super) const COVERAGE: Shape = Shape::Table(&COVERAGE_KEYS);
pub(super) const FINDINGS: Shape = Shape::Table(&FINDINGS_KEYS);

/// `coverage` of a step.
pub(super) fn coverage(step: &Table<'_>) -> Option<CoverageBar> {
    let entry = step.entry("coverage")?;
    if !entry.value.get_ref().is_table() {
        let help = "write `coverage = { lines = 80 }`, and name the file of the report in `reports`";
        step.wrong_kind("coverage", entry.value, "a table", help.into());
        return None;
    }
    refuse_without(
        step,
        "coverage",
        &["reports"],
        "name the file that the coverage tool writes: `reports = [\"coverage.xml\"]`",
    );
    let table = Table::below("`coverage`".into(), entry.value, &COVERAGE_KEYS, step.problems())?;
    let percent = |key| table.number(key, 1, 100).and_then(|percent| u8::try_from(percent).ok());
    if !table.has("lines") && !table.has("branches") {
        table.missing("lines", "lines = 80");
    }
    Some(CoverageBar { lines: percent("lines"), branches: percent("branches") })
}

/// `findings` of a step.
pub(super) fn findings(step: &Table<'_>) -> Option<FindingsBar> {
    let entry = step.entry("findings")?;
    if !entry.value.get_ref().is_table() {
        let help = "write `findings = { level = \"warning\", most = 0 }`";
        step.wrong_kind("findings", entry.value, "a table", help.into());
        return None;
    }
    let help = "name the SARIF file that the linter writes in `reports`, or what reads its output: `matcher = \"gcc\"`";
    refuse_without(step, "findings", &["reports", "matcher"], help);
    let table = Table::below("`findings`".into(), entry.value, &FINDINGS_KEYS, step.problems())?;
    let words = [("error", Severity::Error), ("warning", Severity::Warning), ("note", Severity::Note)];
    let level = table.text("level", |text| values::choice(text, &words));
    let most = table.number("most", 0, MOST_FINDINGS).and_then(|most| u32::try_from(most).ok());
    let usual = FindingsBar::default();
    Some(FindingsBar {
        level: level.map_or(usual.level, |level| level.value),
        most: most.unwrap_or(usual.most),
    })
}

fn refuse_without(step: &Table<'_>, key: &str, sources: &[&str], help: &str) {
    if sources.iter().any(|source| step.has(source)) {
        return;
    }
    if let Some(entry) = step.entry(key) {
        let message = format!("`{key}` asks for results, and the step has none");
        step.problems().add(Problem::at(
            entry.key_place,
            message,
            "there is nothing to be compared with this",
            help,
        ));
    }
}
