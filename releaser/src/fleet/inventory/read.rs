//! What an inventory says, understood. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use staith_model::{Access, Name, ReleaseSetting, Target, WindowsRelease, WindowsWay};

use super::{InventoryError, MOST_TARGETS, ansible, cut, terraform};

/// How an inventory is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// JSON.
    Json,
    /// TOML, with the list in `targets`.
    Toml,
}

impl Form {
    /// By the end of a file's name.
    pub fn of_file(file: &str) -> Self {
        if file.to_ascii_lowercase().ends_with(".toml") { Self::Toml } else { Self::Json }
    }
}

const KEYS: [&str; 17] = [
    "host",
    "user",
    "port",
    "host-key",
    "become",
    "app-pool",
    "site",
    "windows-service",
    "way",
    "local",
    "pull",
    "name",
    "pool",
    "tags",
    "roles",
    "variables",
    "serves-at",
];

/// The machines that a text names; `from` is what people call where it came from.
///
/// It is a list, an object with the list in `targets`, the dynamic inventory of Ansible, or what `terraform output -json` prints.
/// An item of the list is a text, `user@host:port`, or an object with the keys that a target has in `runner.toml`.
///
/// # Errors
/// The first thing that is wrong, with the entry that it is in.
pub fn read(text: &[u8], form: Form, from: &str) -> Result<Vec<Target>, InventoryError> {
    read_trusting(text, form, from, false)
}

/// The same of somebody who may name this machine itself.
pub(in crate::fleet) fn read_trusting(
    text: &[u8],
    form: Form,
    from: &str,
    may_be_local: bool,
) -> Result<Vec<Target>, InventoryError> {
    let not_understood = |why: String| InventoryError::NotUnderstood { from: from.to_owned(), why };
    let text = std::str::from_utf8(text).map_err(|_| not_understood("it is no text in UTF-8".into()))?;
    let value: Value = match form {
        Form::Json => serde_json::from_str(text).map_err(|error| not_understood(format!("no JSON: {error}"))),
        // A message with the line in it could show what is somebody's secret.
        Form::Toml => {
            toml::from_str(text).map_err(|error| not_understood(format!("no TOML: {}", error.message())))
        }
    }?;
    let items = items(value).map_err(not_understood)?;
    if items.len() > MOST_TARGETS {
        return Err(not_understood(format!(
            "it names {} machines, and {MOST_TARGETS} is the most",
            items.len()
        )));
    }
    let understood = items.into_iter().enumerate().map(|(index, item)| {
        let name = item.get("name").or_else(|| item.get("host")).and_then(Value::as_str).map(readable);
        let entry = match name {
            Some(name) => format!("entry {} (`{name}`)", index + 1),
            None => format!("entry {}", index + 1),
        };
        target(item, may_be_local).map_err(|why| InventoryError::Entry { from: from.to_owned(), entry, why })
    });
    understood.collect()
}

/// The list in whatever form it came.
fn items(value: Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(items) => Ok(items),
        Value::Object(mut object) => match object.remove("targets") {
            Some(Value::Array(items)) if object.is_empty() => Ok(items),
            Some(targets) => {
                object.insert("targets".into(), targets);
                of_others(&object)
            }
            None => of_others(&object),
        },
        other => Err(format!("it is {}, and no list of machines", kind(&other))),
    }
}

fn of_others(object: &Map<String, Value>) -> Result<Vec<Value>, String> {
    if terraform::is_output(object) {
        return terraform::items(object);
    }
    if ansible::is_inventory(object) {
        return ansible::items(object);
    }
    Err("it is an object that is neither `{\"targets\": [...]}`, nor an inventory of Ansible, nor outputs of Terraform".into())
}

/// What people call a value's kind.
pub(super) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Somebody's text, short and without what steers a terminal.
pub(super) fn readable(text: &str) -> String {
    const READABLE: usize = 60;
    text.chars().take(READABLE).flat_map(char::escape_debug).collect()
}

/// A name that is allowed for what somebody calls a machine: `Web_1 (EU)` becomes `web_1--eu`.
pub(super) fn safe_name(text: &str) -> Option<Name> {
    let safe = |c: char| {
        let lower = c.to_ascii_lowercase();
        if lower.is_ascii_alphanumeric() || "-_.".contains(lower) { lower } else { '-' }
    };
    let all: String = text.chars().map(safe).collect();
    cut(all.trim_matches(['-', '_', '.'])).parse().ok()
}

fn target(item: Value, may_be_local: bool) -> Result<Target, String> {
    match item {
        Value::String(text) => {
            let access = Access::ssh(&text).map_err(|wrong| format!("{wrong}; {}", wrong.remedy))?;
            let name = access.usual_name().or_else(|| safe_name(&text)).ok_or("it gives no name")?;
            Ok(plain(name, access))
        }
        Value::Object(object) => of_object(&object, may_be_local),
        other => Err(format!("it is {}; a machine is a text or an object", kind(&other))),
    }
}

const fn plain(name: Name, access: Access) -> Target {
    Target {
        name,
        access,
        pool: None,
        tags: BTreeSet::new(),
        roles: BTreeSet::new(),
        variables: BTreeMap::new(),
        serves_at: None,
    }
}

fn of_object(object: &Map<String, Value>, may_be_local: bool) -> Result<Target, String> {
    if let Some(unknown) = object.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("it has the key `{}`, and known are {}", readable(unknown), KEYS.join(", ")));
    }
    let access = access(object, may_be_local)?;
    let name = match text(object, "name")? {
        Some(name) => safe_name(name).ok_or_else(|| format!("`{}` gives no name", readable(name)))?,
        None => access.usual_name().ok_or("it has no `name`")?,
    };
    let serves_at = match text(object, "serves-at")? {
        Some(place) => Some(Access::serves_at(place).map_err(|wrong| format!("`serves-at`: {wrong}"))?),
        None => None,
    };
    Ok(Target {
        pool: text(object, "pool")?.map(|pool| strict_name("pool", pool)).transpose()?,
        tags: names(object, "tags")?,
        roles: names(object, "roles")?,
        variables: variables(object)?,
        serves_at,
        ..plain(name, access)
    })
}

fn access(object: &Map<String, Value>, may_be_local: bool) -> Result<Access, String> {
    if truth(object, "local")? {
        if may_be_local && !object.contains_key("host") {
            return Ok(Access::Local);
        }
        // Who may name other machines is not thereby trusted with this one.
        return Err(
            "an inventory can't name this machine itself; write `{ local = true }` in runner.toml".into()
        );
    }
    let pull = truth(object, "pull")?;
    let Some(host) = text(object, "host")? else {
        return if pull { Ok(Access::Pull) } else { Err("it has no `host`".into()) };
    };
    if pull {
        return Err("it has a `host` and `pull`, and is reached in one way".into());
    }
    let wrong = |wrong: staith_model::NotAnAddress| format!("{wrong}; {}", wrong.remedy);
    let Access::Ssh { host, user: within, port: at, .. } = Access::ssh(host).map_err(wrong)? else {
        return Err("it has no `host`".into());
    };
    let user = text(object, "user")?.map(Access::user).transpose().map_err(wrong)?.or(within);
    let host_key = text(object, "host-key")?.map(Access::host_key).transpose().map_err(wrong)?;
    let port = port(object)?.or(at);
    Ok(match windows(object)? {
        Some(gets) => Access::Windows { host, user, port, host_key, gets },
        None => Access::Ssh { host, user, port, host_key, superuser: superuser(object)? },
    })
}

/// What gets a release on a Windows machine; none where it is not one.
fn windows(object: &Map<String, Value>) -> Result<Option<WindowsRelease>, String> {
    let name = |key| match text(object, key)? {
        Some(name) => WindowsRelease::name(name).map(Some).map_err(|wrong| format!("`{key}`: {wrong}")),
        None => Ok(None),
    };
    let way = match text(object, "way")? {
        None => None,
        Some("directory") => Some(WindowsWay::Directory),
        Some("msdeploy") => Some(WindowsWay::Msdeploy),
        Some(other) => {
            return Err(format!("`way` is `{}`, and known are `directory` and `msdeploy`", readable(other)));
        }
    };
    let (site, app_pool, service) = (name("site")?, name("app-pool")?, name("windows-service")?);
    match (&site, &service) {
        (None, None) if app_pool.is_some() || way.is_some() => {
            return Err("`app-pool` and `way` are about an IIS `site`, and there is none".into());
        }
        (None, None) => return Ok(None),
        (None, Some(_)) if app_pool.is_some() || way == Some(WindowsWay::Msdeploy) => {
            return Err("`app-pool` and `way` are about an IIS `site`, and there is none".into());
        }
        _ => {}
    }
    Ok(Some(WindowsRelease { site, app_pool, service, way: way.unwrap_or_default() }))
}

/// By whom orders are carried out: `become` is `sudo`, if it is anything.
fn superuser(object: &Map<String, Value>) -> Result<bool, String> {
    match text(object, "become")? {
        None => Ok(false),
        Some("sudo") => Ok(true),
        Some(other) => Err(format!("`become` is `{}`, and `sudo` is the one way", readable(other))),
    }
}

/// A port is a number, or (Terraform's and Ansible's habit) a number in quotes.
fn port(object: &Map<String, Value>) -> Result<Option<u16>, String> {
    let number = match object.get("port") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(other) => return Err(format!("`port` is {}, not a number", kind(other))),
    };
    match number.and_then(|number| u16::try_from(number).ok()) {
        Some(port @ 1..) => Ok(Some(port)),
        _ => Err("`port` is not a number from 1 to 65535".into()),
    }
}

fn text<'o>(object: &'o Map<String, Value>, key: &str) -> Result<Option<&'o str>, String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("`{key}` is {}, not a text", kind(other))),
    }
}

fn truth(object: &Map<String, Value>, key: &str) -> Result<bool, String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(truth)) => Ok(*truth),
        Some(other) => Err(format!("`{key}` is {}, not true or false", kind(other))),
    }
}

fn strict_name(key: &str, text: &str) -> Result<Name, String> {
    text.parse().map_err(|_| format!("`{key}`: `{}` is not a name", readable(text)))
}

fn names(object: &Map<String, Value>, key: &str) -> Result<BTreeSet<Name>, String> {
    let items = match object.get(key) {
        None | Some(Value::Null) => return Ok(BTreeSet::new()),
        Some(Value::Array(items)) => items,
        Some(other) => return Err(format!("`{key}` is {}, not a list", kind(other))),
    };
    let name = |item: &Value| match item {
        Value::String(text) => strict_name(key, text),
        other => Err(format!("`{key}` holds {}, not a text", kind(other))),
    };
    items.iter().map(name).collect()
}

fn variables(object: &Map<String, Value>) -> Result<BTreeMap<String, String>, String> {
    let entries = match object.get("variables") {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(entries)) => entries,
        Some(other) => return Err(format!("`variables` is {}, not an object", kind(other))),
    };
    let variable = |(name, value): (&String, &Value)| {
        if !ReleaseSetting::can_name_variable(name) {
            return Err(format!("`{}` can't be a variable's name", readable(name)));
        }
        let text = match value {
            Value::String(text) if !text.contains('\0') => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            Value::String(_) => return Err(format!("variable `{name}` holds a NUL character")),
            other => return Err(format!("variable `{name}` is {}, not a text", kind(other))),
        };
        Ok((name.clone(), text))
    };
    entries.iter().map(variable).collect()
}
