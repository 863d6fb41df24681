//! `runner`: which runners of a server may take a step.

use std::collections::{BTreeMap, BTreeSet};

use staith_model::{Name, Placement};

use super::{
    keys::{Keys, LABEL, NAME, Shape, key},
    matrix::{Matrix, Variant},
    problems::Problem,
    template,
    values::{self, Understood},
    walk::{Placed, Table},
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
            Shape::List { of: &Shape::Text(&LABEL), filled: true },
            "none",
            "Runners only that have all of these labels: `[\"gpu\"]`, or `[\"{matrix.os}\"]` in a step with a matrix.",
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

/// `runner` of the file. An empty table says that any runner of the project's pool will do.
pub(super) fn read(table: &Table<'_>) -> Option<Placement> {
    written(table, &Matrix::default()).map(|written| written.placement(None))
}

/// That of the step, or else the file's; and the variants of the step, each with its own where a label has one of its values in it.
pub(super) fn of_step(step: &Table<'_>, inherited: &Placement, matrix: &Matrix) -> (Placement, Vec<Variant>) {
    if !step.has("runner") {
        return (inherited.clone(), matrix.variants.clone());
    }
    let Some(written) = written(step, matrix) else { return (Placement::default(), matrix.variants.clone()) };
    let hangs_on_values = written.labels.iter().any(|label| template::dimensions(label).next().is_some());
    let own = |variant: &Variant| hangs_on_values.then(|| written.placement(Some(variant)));
    let with_own = |variant: &Variant| Variant { runner: own(variant), ..variant.clone() };
    (written.placement(None), matrix.variants.iter().map(with_own).collect())
}

/// `runner` as it is written.
struct Written {
    pool: Option<Name>,
    labels: Vec<String>,
}

impl Written {
    /// With the values of a variant. What is no name was complained about, and is left out.
    fn placement(&self, variant: Option<&Variant>) -> Placement {
        let labels = self.labels.iter().filter_map(|label| filled(label, variant).ok()).collect();
        Placement { pool: self.pool.clone(), labels }
    }
}

fn filled(label: &str, variant: Option<&Variant>) -> Understood<Name> {
    let none = BTreeMap::new();
    values::name(&template::fill(label, variant.map_or(&none, |variant| &variant.values), &none))
}

fn written(table: &Table<'_>, matrix: &Matrix) -> Option<Written> {
    let entry = table.entry("runner")?;
    if !entry.value.get_ref().is_table() {
        let help = "write `runner = { labels = [\"gpu\"] }`, or `runner = { pool = \"linux\" }`";
        table.wrong_kind("runner", entry.value, "a table", help.into());
        return None;
    }
    let place = Table::below("`runner`".into(), entry.value, &KEYS, table.problems())?;
    let pool = place.text("pool", values::name).map(|pool| pool.value);
    let labels = place.filled_list("labels", label).unwrap_or_default();
    let mut known = BTreeSet::new();
    for label in &labels {
        check_values(&place, label, matrix);
        if !known.insert(&label.value) {
            table.problems().add(Problem::at(
                label.place.clone(),
                "`labels` of `runner` names a label twice",
                "here again",
                "name it once",
            ));
        }
    }
    Some(Written { pool, labels: labels.into_iter().map(|label| label.value).collect() })
}

/// One with a placeholder in it is judged once values stand there.
fn label(text: &str) -> Understood<String> {
    if text.contains('{') { Ok(text.to_owned()) } else { values::name(text).map(|name| name.to_string()) }
}

/// Complains about placeholders that name nothing, and about values that make no label of it.
fn check_values(place: &Table<'_>, label: &Placed<String>, matrix: &Matrix) {
    let flaws = template::check_label(&label.value, &matrix.dimensions);
    if !flaws.is_empty() {
        flaws.into_iter().for_each(|flaw| place.complain_inside("labels", label.place.clone(), flaw));
        return;
    }
    let variants = matrix.variants.iter().map(Some).chain(matrix.variants.is_empty().then_some(None));
    if let Some(bad) = variants.map(|variant| filled(&label.value, variant)).find_map(Result::err) {
        place.complain("labels", label.place.clone(), bad);
    }
}
