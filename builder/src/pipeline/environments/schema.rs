//! `schema` and `rollback-floor`: what a release does to data that outlive it.

use staith_model::{Schema, SchemaChange, Version};

use super::super::{
    keys::{Key, Shape, VERSION, key},
    problems::{Problem, quoted},
    values::{self, Understood, complaint},
    walk::Table,
};

const CHANGES: [&str; 3] = ["none", "expand", "contract"];

pub(super) const CHANGE: Key = key(
    "schema",
    Shape::Word(&CHANGES),
    "`\"none\"`",
    "What a release does to the schema of its data: it adds to it (`\"expand\"`), or takes away what is not needed any more \
     (`\"contract\"`), which is a deployment of its own.",
);

pub(super) const FLOOR: Key = key(
    "rollback-floor",
    Shape::Text(&VERSION),
    "any version",
    "The oldest version that works with the data as this release leaves them. Nothing goes back below it. `\"contract\"` needs one.",
);

/// What the table says of it; `None` inside where it says nothing.
pub(super) fn read(table: &Table<'_>) -> Option<Option<Schema>> {
    let change = match table.has("schema") {
        true => table.text("schema", change)?.value,
        false => SchemaChange::None,
    };
    let rollback_floor = match table.has("rollback-floor") {
        true => Some(table.text("rollback-floor", version)?.value),
        false => None,
    };
    if let (SchemaChange::Contract, None, Some(entry)) = (change, &rollback_floor, table.entry("schema")) {
        table.problems().add(Problem::at(
            entry.key_place,
            format!(
                "`schema` of {} takes something away, and nothing says who can do without it",
                table.title()
            ),
            "older versions may need what goes",
            "add the oldest version that works afterwards: `rollback-floor = \"1.4.0\"`",
        ));
        return None;
    }
    let says_something = change != SchemaChange::None || rollback_floor.is_some();
    Some(says_something.then_some(Schema { change, rollback_floor }))
}

fn change(text: &str) -> Understood<SchemaChange> {
    let words = [
        ("none", SchemaChange::None),
        ("expand", SchemaChange::Expand),
        ("contract", SchemaChange::Contract),
    ];
    values::choice(text, &words)
}

fn version(text: &str) -> Understood<Version> {
    text.parse().or_else(|_| {
        complaint(
            "is not a version",
            format!("{} is none", quoted(text)),
            "use letters, digits, `.`, `-` and `+`, for example \"1.4.0\"",
        )
    })
}
