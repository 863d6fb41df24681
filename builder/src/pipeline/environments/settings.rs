//! `variables`, `role-variables` and `secrets` of an environment of machines.

use std::collections::BTreeMap;

use staith_model::{Name, ReleaseSetting, SecretVersion};
use toml::de::DeValue;

use super::super::{
    problems::{Problem, quoted},
    suggest::{closest, listed},
    values::{self, Understood, complaint},
    variables::{self, Variables},
    walk::{Entry, Table, in_file_order},
};

pub(super) use super::super::variables::values;

/// The variables of `key`.
pub(super) fn variables(table: &Table<'_>, key: &str) -> Variables {
    variables::named(table, key, &format!("write `{key} = {{ NAME = \"value\" }}`"), name, values::plain)
}

/// `role-variables`; each role is one of `roles`, where they are all known.
pub(super) fn of_roles(table: &Table<'_>, roles: Option<&[Name]>) -> BTreeMap<Name, Variables> {
    let Some(entry) = table.entry("role-variables") else { return BTreeMap::new() };
    let Some(entries) = entry.value.get_ref().as_table() else {
        let help = "each role is a table: `[environments.production.role-variables.web]`";
        table.wrong_kind("role-variables", entry.value, "a table", help.into());
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for Entry { key, key_place, value } in in_file_order(entries) {
        let role = match values::name(key) {
            Ok(role) => role,
            Err(complaint) => {
                table.complain("role-variables", key_place, complaint);
                continue;
            }
        };
        refuse_stranger(table, "role-variables", &role, key_place, roles);
        let inner = Table::of_names(format!("role `{role}`"), value, table.problems());
        let Some(inner) = inner else {
            let help = format!("write `{role} = {{ NAME = \"value\" }}`");
            table.wrong_kind("role-variables", value, "a table", help);
            continue;
        };
        let mut variables = Variables::new();
        for entry in inner.entries() {
            let understood = inner.understand(entry.key, entry.value, values::plain);
            match name(entry.key) {
                Ok(name) => variables.extend(understood.map(|value| (name, value))),
                Err(complaint) => inner.complain(entry.key, entry.key_place, complaint),
            }
        }
        found.insert(role, variables);
    }
    found
}

/// Complains about a role that no target has.
pub(super) fn refuse_stranger(
    table: &Table<'_>,
    key: &str,
    role: &Name,
    place: std::ops::Range<usize>,
    roles: Option<&[Name]>,
) {
    let Some(roles) = roles.filter(|roles| !roles.contains(role)) else { return };
    let names = || roles.iter().map(Name::as_str);
    let help = match closest(role.as_str(), names()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if roles.is_empty() => "give targets roles: `{ host = \"web1\", roles = [\"web\"] }`".to_owned(),
        None => format!("the targets' roles: {}", listed(names())),
    };
    let message = format!("`{key}` of {} names role {}", table.title(), quoted(role.as_str()));
    table.problems().add(Problem::at(place, message, "no target has this role", help));
}

/// Variable to secret; versions are not known yet. A variable that has a plain value, too, is refused.
pub(super) fn secrets(
    table: &Table<'_>,
    plain: &Variables,
    of_roles: &BTreeMap<Name, Variables>,
) -> BTreeMap<String, SecretVersion> {
    let Some(entry) = table.entry("secrets") else { return BTreeMap::new() };
    let secrets = match entry.value.get_ref() {
        DeValue::Array(_) => variables::listed(table),
        DeValue::Table(_) => {
            let help = "write `secrets = { DB_PASSWORD = \"shop/db-password\" }`";
            variables::named(table, "secrets", help, name, variables::secret)
        }
        _ => {
            let help =
                "write `secrets = [\"DB_PASSWORD\"]`, or `secrets = { DB_PASSWORD = \"shop/db-password\" }`";
            table.wrong_kind("secrets", entry.value, "a list or a table", help.into());
            return BTreeMap::new();
        }
    };
    for (name, secret) in &secrets {
        let twice = plain.get(name).or_else(|| of_roles.values().find_map(|variables| variables.get(name)));
        if let Some(twice) = twice {
            let problem = Problem::at(
                secret.place.clone(),
                format!("variable `{name}` is both a secret and a plain value"),
                "this is where its value would come from",
                "remove one of them",
            );
            table.problems().add(problem.and_at(twice.place.clone(), "and from here, too"));
        }
    }
    let version = |secret: String| SecretVersion { name: secret, version: String::new() };
    values(secrets).into_iter().map(|(variable, secret)| (variable, version(secret))).collect()
}

/// The name of a variable or of a parameter of the package: `LOG_LEVEL`, `ConnectionStrings.Default`, `Service Url`.
pub(super) fn name(text: &str) -> Understood<String> {
    if text.starts_with("STAITH_") {
        return complaint(
            "sets a reserved variable",
            "variables that start with `STAITH_` are set by Staith",
            "choose another name",
        );
    }
    if ReleaseSetting::can_name_variable(text) {
        return Ok(text.to_owned());
    }
    complaint(
        "has a bad name in it",
        format!("{} can't be a variable's name", quoted(text)),
        "use letters, digits, `_`, `.`, `:`, `-` and spaces, first a letter, a digit or `_`; 200 at most",
    )
}
