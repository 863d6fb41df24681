//! `run`: what a step or a service runs.

use staith_model::Command;
use toml::de::DeValue;

use super::{
    condition::Known,
    template,
    values::{self, Complaint, texts},
    walk::Table,
};

/// `run` of a table that must have it.
pub(super) fn required(table: &Table<'_>) -> Option<Command> {
    if table.has("run") {
        return optional(table);
    }
    table.missing("run", "run = \"...\"");
    None
}

/// `run` where there is one and it is right.
pub(super) fn optional(table: &Table<'_>) -> Option<Command> {
    let entry = table.entry("run")?;
    match entry.value.get_ref() {
        DeValue::String(_) => table.text("run", script).map(|script| Command::Shell(script.value)),
        DeValue::Array(_) => arguments(table, "run").map(Command::Argv),
        _ => {
            let help = "write `run = \"make\"` for a shell, or `run = [\"make\", \"all\"]` for a program and its arguments";
            table.wrong_kind("run", entry.value, "a text or a list", help.into());
            None
        }
    }
}

fn script(text: &str) -> values::Understood<String> {
    let says_something = text.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with('#'));
    if !says_something {
        return values::complaint(
            "is empty",
            "this runs nothing",
            "write the command to run, or remove the step",
        );
    }
    values::plain(text)
}

/// A program and its arguments: `key` as a list.
pub(super) fn arguments(table: &Table<'_>, key: &str) -> Option<Vec<String>> {
    let list = table.list(key, values::plain)?;
    let program = list.first();
    if program.is_some_and(|program| !program.value.trim().is_empty()) {
        return Some(texts(list));
    }
    let place = program.map(|program| program.place.clone()).or_else(|| Some(table.entry(key)?.value.span()));
    let complaint = Complaint {
        what: "names no program".into(),
        label: "the first text in the list is the program".into(),
        help: format!("write the program's name first: `{key} = [\"make\", \"all\"]`"),
    };
    table.complain(key, place?, complaint);
    None
}

/// Complains about placeholders in what is run: values there would be read as part of a script.
pub(super) fn refuse_templates(table: &Table<'_>, known: &Known<'_>) {
    let Some(entry) = table.entry("run") else { return };
    let is_list = entry.value.get_ref().is_array();
    let list = entry.value.get_ref().as_array().map(|items| items.iter().collect::<Vec<_>>());
    for value in list.unwrap_or_else(|| vec![entry.value]) {
        let flaw = value.get_ref().as_str().and_then(|text| template::refuse(text, known));
        if let Some(mut flaw) = flaw {
            if is_list {
                flaw.help = format!("write `run` as one text; there, {}", flaw.help);
            }
            table.complain_inside("run", value.span(), flaw);
        }
    }
}
