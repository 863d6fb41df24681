//! `retry`: when a step that did not pass is tried again.

use staith_model::{Retry, RetryCause};
use toml::de::DeValue;

use super::{
    keys::{Keys, REQUIRED, Shape, key},
    problems::Problem,
    values,
    walk::Table,
};

const MOST_ATTEMPTS: u64 = 10;
pub(super) const CAUSES: [&str; 4] = ["environment", "failure", "timeout", "out-of-memory"];

pub(super) const KEYS: Keys = Keys {
    known: &[
        key(
            "attempts",
            Shape::Whole { least: 2, most: MOST_ATTEMPTS },
            REQUIRED,
            "Attempts at most, the first included: 2 to 10.",
        ),
        key(
            "on",
            Shape::List { of: &Shape::Word(&CAUSES), filled: true },
            "`[\"environment\"]`",
            "The causes for which it is tried again: `environment` (the machine or the engine failed), `failure` (the step did), \
             `timeout`, `out-of-memory`.",
        ),
    ],
    elsewhere: &[
        ("count", "attempts"),
        ("max", "attempts"),
        ("times", "attempts"),
        ("max-attempts", "attempts"),
        ("when", "on"),
        ("causes", "on"),
    ],
};

pub(super) const SHAPE: Shape =
    Shape::Either(&[Shape::Whole { least: 1, most: MOST_ATTEMPTS - 1 }, Shape::Table(&KEYS)]);

/// `retry` of a step. A number says how often it is tried again, and then only where the step is not to blame: a test that
/// fails now and then would otherwise be green, and nobody would ever mend it.
pub(super) fn read(table: &Table<'_>) -> Option<Retry> {
    let entry = table.entry("retry")?;
    match entry.value.get_ref() {
        DeValue::Integer(_) => {
            let again = table.number("retry", 1, MOST_ATTEMPTS - 1)?;
            Some(Retry { attempts: u32::try_from(again).ok()? + 1, on: vec![RetryCause::Environment] })
        }
        DeValue::Table(_) => by_cause(&Table::below("`retry`".into(), entry.value, &KEYS, table.problems())?),
        _ => {
            let help =
                "write `retry = 2`, or `retry = { attempts = 3, on = [\"environment\", \"timeout\"] }`";
            table.wrong_kind("retry", entry.value, "a whole number or a table", help.into());
            None
        }
    }
}

fn by_cause(table: &Table<'_>) -> Option<Retry> {
    if !table.has("attempts") {
        table.missing("attempts", "attempts = 3");
    }
    let attempts = table.number("attempts", 2, MOST_ATTEMPTS);
    let words = [
        ("environment", RetryCause::Environment),
        ("failure", RetryCause::Failure),
        ("timeout", RetryCause::Timeout),
        ("out-of-memory", RetryCause::OutOfMemory),
    ];
    let mut on = Vec::new();
    for cause in table.filled_list("on", |text| values::choice(text, &words)).unwrap_or_default() {
        if on.contains(&cause.value) {
            table.problems().add(Problem::at(
                cause.place,
                "`on` of `retry` names a cause twice",
                "here again",
                "name it once",
            ));
        } else {
            on.push(cause.value);
        }
    }
    if !table.has("on") {
        on.push(RetryCause::Environment);
    }
    // The order says nothing, so it must not make another plan.
    on.sort_unstable();
    Some(Retry { attempts: u32::try_from(attempts?).ok()?, on })
}
