//! Ansible's dynamic inventory: groups with hosts and children, and `_meta.hostvars`. A group becomes a role. Of a host's variables
//! only those that say how it is reached are taken: the rest may be secrets.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::read::{kind, readable, safe_name};

/// Groups that Ansible itself makes; they tell nothing.
const EVERYBODY: [&str; 2] = ["all", "ungrouped"];

/// Whether an object is one: every value but `_meta` is a group.
pub(super) fn is_inventory(object: &Map<String, Value>) -> bool {
    let is_group = |value: &Value| match value {
        Value::Array(_) => true,
        Value::Object(group) => group.keys().all(|key| ["hosts", "children", "vars"].contains(&key.as_str())),
        _ => false,
    };
    !object.is_empty() && object.iter().all(|(name, value)| name == "_meta" || is_group(value))
}

/// Its hosts in the form of a list of machines, by name.
pub(super) fn items(object: &Map<String, Value>) -> Result<Vec<Value>, String> {
    let mut hosts: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (group, value) in object.iter().filter(|(name, _)| *name != "_meta") {
        for host in hosts_of(group, value)? {
            hosts.entry(host).or_default();
        }
        if EVERYBODY.contains(&group.as_str()) {
            continue;
        }
        let role =
            safe_name(group).ok_or_else(|| format!("the group `{}` gives no role", readable(group)))?;
        for host in all_of(group, object)? {
            hosts.entry(host).or_default().insert(role.to_string());
        }
    }
    let vars = object.get("_meta").and_then(|meta| meta.get("hostvars"));
    hosts.into_iter().map(|(host, roles)| item(host, &roles, vars.and_then(|vars| vars.get(host)))).collect()
}

fn hosts_of<'o>(group: &str, value: &'o Value) -> Result<Vec<&'o str>, String> {
    texts(group, "hosts", if value.is_array() { Some(value) } else { value.get("hosts") })
}

fn texts<'o>(group: &str, key: &str, list: Option<&'o Value>) -> Result<Vec<&'o str>, String> {
    let whose = format!("`{key}` of the group `{}`", readable(group));
    match list {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            let text = |item: &'o Value| item.as_str().ok_or_else(|| format!("{whose} holds {}", kind(item)));
            items.iter().map(text).collect()
        }
        Some(other) => Err(format!("{whose} is {}, not a list", kind(other))),
    }
}

/// The hosts of a group and of all groups below it, each group once: groups may go in circles.
fn all_of<'o>(group: &'o str, object: &'o Map<String, Value>) -> Result<BTreeSet<&'o str>, String> {
    let (mut seen, mut open, mut hosts) = (BTreeSet::new(), vec![group], BTreeSet::new());
    while let Some(group) = open.pop() {
        let Some(value) = object.get(group).filter(|_| seen.insert(group)) else { continue };
        hosts.extend(hosts_of(group, value)?);
        if !value.is_array() {
            open.extend(texts(group, "children", value.get("children"))?);
        }
    }
    Ok(hosts)
}

fn item(host: &str, roles: &BTreeSet<String>, vars: Option<&Value>) -> Result<Value, String> {
    let var =
        |names: [&str; 2]| names.iter().find_map(|name| vars?.get(name)).filter(|value| !value.is_null());
    let connection = vars.and_then(|vars| vars.get("ansible_connection")).and_then(Value::as_str);
    if let Some(other) = connection.filter(|connection| !["ssh", "smart", "paramiko"].contains(connection)) {
        return Err(format!("the host `{}` is reached by `{}`, not by ssh", readable(host), readable(other)));
    }
    let mut item = json!({ "name": host, "roles": roles });
    item["host"] = var(["ansible_host", "ansible_ssh_host"]).cloned().unwrap_or_else(|| json!(host));
    for (key, names) in
        [("user", ["ansible_user", "ansible_ssh_user"]), ("port", ["ansible_port", "ansible_ssh_port"])]
    {
        if let Some(value) = var(names) {
            item[key] = value.clone();
        }
    }
    Ok(item)
}
