//! `concurrency`: the group whose runs keep apart on a server.

use staith_model::service::RunGroup;
use toml::de::DeValue;

use super::{
    keys::{Keys, NAME, REQUIRED, Shape, key},
    values,
    walk::Table,
};

pub(super) const KEYS: Keys = Keys {
    known: &[
        key("group", Shape::Text(&NAME), REQUIRED, "What the group is called, in this project."),
        key(
            "newest",
            Shape::Truth,
            "`false`",
            "Whether a newer run of the group ends the older ones, instead of waiting for them.",
        ),
    ],
    elsewhere: &[
        ("name", "group"),
        ("key", "group"),
        ("cancel-in-progress", "newest"),
        ("cancel_in_progress", "newest"),
        ("cancel", "newest"),
        ("interruptible", "newest"),
    ],
};

pub(super) const SHAPE: Shape = Shape::Either(&[Shape::Text(&NAME), Shape::Table(&KEYS)]);

/// `concurrency` of the file. A name alone says that its runs go one after the other.
pub(super) fn read(file: &Table<'_>) -> Option<RunGroup> {
    let entry = file.entry("concurrency")?;
    match entry.value.get_ref() {
        DeValue::String(_) => {
            file.text("concurrency", values::name).map(|name| RunGroup { name: name.value, newest: false })
        }
        DeValue::Table(_) => {
            group(&Table::below("`concurrency`".into(), entry.value, &KEYS, file.problems())?)
        }
        _ => {
            let help =
                "write `concurrency = \"deploy\"`, or `concurrency = { group = \"deploy\", newest = true }`";
            file.wrong_kind("concurrency", entry.value, "a name or a table", help.into());
            None
        }
    }
}

fn group(table: &Table<'_>) -> Option<RunGroup> {
    let newest = table.truth("newest").unwrap_or(false);
    let name = table.required("group", "group = \"deploy\"", values::name)?;
    Some(RunGroup { name: name.value, newest })
}
