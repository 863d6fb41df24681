//! `runner`: which runners of a server may take a step.

use std::collections::BTreeSet;

use staith_model::Placement;

use super::{
    keys::{Keys, NAME, Shape, key},
    problems::Problem,
    values,
    walk::Table,
};

pub(super) const KEYS: Keys = Keys {
    known: &[
        key(
            "pool",
            Shape::Text(&NAME),
            "the project's pool",
            "Runners of this pool only. The project has to be allowed to use it.",
        ),
        key(
            "labels",
            Shape::List { of: &Shape::Text(&NAME), filled: true },
            "none",
            "Runners only that have all of these labels: `[\"gpu\"]`.",
        ),
    ],
    elsewhere: &[
        ("group", "pool"),
        ("queue", "pool"),
        ("label", "labels"),
        ("tags", "labels"),
        ("tag", "labels"),
    ],
};

pub(super) const SHAPE: Shape = Shape::Table(&KEYS);

/// `runner` of the file, or of a step. An empty table says that any runner of the project's pool will do.
pub(super) fn read(table: &Table<'_>) -> Option<Placement> {
    let entry = table.entry("runner")?;
    if !entry.value.get_ref().is_table() {
        let help = "write `runner = { labels = [\"gpu\"] }`, or `runner = { pool = \"linux\" }`";
        table.wrong_kind("runner", entry.value, "a table", help.into());
        return None;
    }
    let place = Table::below("`runner`".into(), entry.value, &KEYS, table.problems())?;
    let pool = place.text("pool", values::name).map(|pool| pool.value);
    let mut labels = BTreeSet::new();
    for label in place.filled_list("labels", values::name).unwrap_or_default() {
        if !labels.insert(label.value) {
            table.problems().add(Problem::at(
                label.place,
                "`labels` of `runner` names a label twice",
                "here again",
                "name it once",
            ));
        }
    }
    Some(Placement { pool, labels })
}

/// That of the step, or else the file's.
pub(super) fn or_inherited(step: &Table<'_>, inherited: &Placement) -> Placement {
    if step.has("runner") { read(step).unwrap_or_default() } else { inherited.clone() }
}
