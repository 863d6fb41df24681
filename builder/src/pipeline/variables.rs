//! Environment variables: `env`, whose values anybody may read, and `secrets`, whose values are not in the file.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::{
    condition::Known,
    problems::{Problem, quoted},
    template,
    values::{self, Understood, complaint},
    walk::{Entry, Placed, Table, in_file_order},
};

/// Variables with the places of their values.
pub(super) type Variables = BTreeMap<String, Placed<String>>;

/// The variables of `env`; `allowed` says which names are refused and why.
pub(super) fn env(table: &Table<'_>, allowed: impl Fn(&str) -> Understood<String>) -> Variables {
    named(table, "env", "write `env = { NAME = \"value\" }`", allowed, values::plain)
}

/// Complains about placeholders in `env` that name nothing.
pub(super) fn check_templates(table: &Table<'_>, variables: &Variables, known: &Known<'_>) {
    for (name, value) in variables {
        for flaw in template::check(&value.value, known) {
            table.complain_inside(&format!("env.{name}"), value.place.clone(), flaw);
        }
    }
}

/// The values of variables without their places.
pub(super) fn values(variables: Variables) -> BTreeMap<String, String> {
    variables.into_iter().map(|(name, value)| (name, value.value)).collect()
}

/// Variable to secret's name. A list names variables after their secrets. A variable that `env` has too is refused.
pub(super) fn secrets(table: &Table<'_>, env: &Variables) -> BTreeMap<String, String> {
    let Some(entry) = table.entry("secrets") else { return BTreeMap::new() };
    let help = "write `secrets = [\"DB_PASSWORD\"]`, or `secrets = { DB_PASSWORD = \"shop/db-password\" }`";
    let secrets = match entry.value.get_ref() {
        DeValue::Array(_) => listed(table),
        DeValue::Table(entries) if entries.is_empty() => {
            table.complain("secrets", entry.value.span(), empty());
            return BTreeMap::new();
        }
        DeValue::Table(_) => named(table, "secrets", help, step_variable, secret),
        _ => {
            table.wrong_kind("secrets", entry.value, "a list or a table", help.into());
            return BTreeMap::new();
        }
    };
    for (name, secret) in &secrets {
        if let Some(plain) = env.get(name) {
            table.problems().add(
                Problem::at(
                    secret.place.clone(),
                    format!("variable `{name}` is both a secret and in `env`"),
                    "this is where its value would come from",
                    "remove one of them",
                )
                .and_at(plain.place.clone(), "and from here, too"),
            );
        }
    }
    values(secrets)
}

fn empty() -> values::Complaint {
    values::Complaint {
        what: "is empty".into(),
        label: "this names no secret".into(),
        help: "name something in it, or leave `secrets` out".into(),
    }
}

/// Secrets whose names are those of the variables.
pub(super) fn listed(table: &Table<'_>) -> Variables {
    let mut secrets = Variables::new();
    for name in table.filled_list("secrets", step_variable).unwrap_or_default() {
        if let Some(first) = secrets.get(&name.value) {
            let problem = Problem::at(
                name.place,
                format!("secret `{}` is named twice", name.value),
                "here again",
                "name it once",
            );
            table.problems().add(problem.and_at(first.place.clone(), "here first"));
        } else {
            secrets.insert(name.value.clone(), name);
        }
    }
    secrets
}

pub(super) fn named(
    table: &Table<'_>,
    key: &str,
    help: &str,
    allowed: impl Fn(&str) -> Understood<String>,
    understand: impl Fn(&str) -> Understood<String>,
) -> Variables {
    let mut variables = Variables::new();
    let Some(entry) = table.entry(key) else { return variables };
    let Some(entries) = entry.value.get_ref().as_table() else {
        table.wrong_kind(key, entry.value, "a table", help.into());
        return variables;
    };
    for Entry { key: name, key_place, value } in in_file_order(entries) {
        let allowed = allowed(name).map_err(|complaint| table.complain(key, key_place, complaint)).ok();
        let value = table.understand(&format!("{key}.{name}"), value, &understand);
        if let (Some(name), Some(value)) = (allowed, value) {
            variables.insert(name, value);
        }
    }
    variables
}

/// A variable that a step or a service may be given.
pub(super) fn step_variable(name: &str) -> Understood<String> {
    if name == "PATH" {
        return complaint(
            "sets `PATH`",
            "a step's `PATH` comes from the host image and the declared tools",
            "declare the folder of the programs instead: `tools = [{ name = \"jdk\", path = \"/opt/jdk\" }]` at the top \
             of the file",
        );
    }
    if name.starts_with("STAITH_") {
        return complaint(
            "sets a reserved variable",
            "variables that start with `STAITH_` are set by Staith",
            "choose another name",
        );
    }
    values::variable(name)
}

/// The name of a secret: what it is called where secrets are kept.
pub(super) fn secret(text: &str) -> Understood<String> {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let leads_out = text.split('/').any(|part| matches!(part, "" | "." | ".."));
    if starts_well && text.len() <= 200 && text.chars().all(fits) && !leads_out {
        return Ok(text.to_owned());
    }
    complaint(
        "is not a secret's name",
        format!("{} can't be the name of a secret", quoted(text)),
        "write the secret's name, never its value: letters, digits, `_`, `-`, `.` and `/`, 200 at most",
    )
}
