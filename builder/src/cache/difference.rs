//! What has changed between two sights of a step. Pure.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Serialize;
use serde_json::Value;
use staith_model::{Digest, Name, RelPath};

use super::Inputs;
use crate::layers::LayerManifest;

/// Paths of one layer that are named; more would not be read.
const MOST_PATHS: usize = 50;

/// All that a step saw, or would see now.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// What its key is the digest of: [`what_is_seen`](super::what_is_seen).
    pub seen: &'a Value,
    /// The steps whose outputs it sees, lowest first, and what they left, as far as that is known.
    pub layers: &'a [(Name, Digest)],
    /// The files behind its input tree; `None` where they are not remembered.
    pub inputs: Option<&'a Inputs>,
}

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It is there with other content or another mode.
    Changed,
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
}

/// One thing that a step would see otherwise than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Change {
    /// A file of the source.
    Input {
        /// The file.
        path: RelPath,
        /// What became of it.
        how: How,
    },
    /// Files of the source; which is not remembered.
    Inputs,
    /// What it runs.
    Command {
        /// Before.
        was: String,
        /// Now.
        is: String,
    },
    /// A variable of its environment.
    Env {
        /// The variable.
        name: String,
        /// Its value before, if it was set.
        was: Option<String>,
        /// Its value now, if it is set.
        is: Option<String>,
    },
    /// A step that it needs left other files.
    Layer {
        /// The step.
        step: Name,
        /// The first files that differ; none where what it had left before is gone.
        paths: Vec<(RelPath, How)>,
        /// How many more do.
        more: usize,
    },
    /// It sees what another step leaves, and did not before, or the other way round.
    Needs {
        /// The other step.
        step: Name,
        /// Whether it sees it now.
        now: bool,
    },
    /// The programs of the host or of the image.
    Image,
    /// A service runs beside it, and did not before, or the other way round.
    Service {
        /// The service.
        service: String,
        /// Whether it does now.
        now: bool,
    },
    /// The programs of the host or of the image that a service beside it runs in.
    ServiceImage {
        /// The service.
        service: String,
    },
    /// Something else of a service beside it.
    ServiceSetting {
        /// The service.
        service: String,
        /// What, as the plan calls it.
        key: String,
        /// Before: a command as it is written, other things as JSON.
        was: String,
        /// Now.
        is: String,
    },
    /// Something else that the pipeline says.
    Setting {
        /// What, as the plan calls it.
        key: String,
        /// Before, as JSON.
        was: String,
        /// Now, as JSON.
        is: String,
    },
}

/// What differs between two sights of one step, what people change most often first. `manifest` knows what a layer holds, if
/// it is still there. Steps whose layer is unknown now (`unknown`) are passed over: nobody can say yet what they leave.
pub fn changes(
    was: Sight<'_>,
    is: Sight<'_>,
    unknown: &[Name],
    manifest: &dyn Fn(&Digest) -> Option<Arc<LayerManifest>>,
) -> Vec<Change> {
    let mut found = Vec::new();
    if was.seen.get("input_tree") != is.seen.get("input_tree") {
        found.extend(changed_inputs(was.inputs, is.inputs));
    }
    for key in members(was.seen, is.seen) {
        let (before, now) = (part(was.seen, key), part(is.seen, key));
        if before == now {
            continue;
        }
        match key {
            // Said better from the lists.
            "input_tree" | "layers" => {}
            "command" => found.push(Change::Command { was: command(before), is: command(now) }),
            "env" => found.extend(changed_env(before, now)),
            "image" => found.push(Change::Image),
            "services" => found.extend(changed_services(before, now)),
            key => found.push(Change::Setting {
                key: key.to_owned(),
                was: before.to_string(),
                is: now.to_string(),
            }),
        }
    }
    found.extend(changed_layers(was.layers, is.layers, unknown, manifest));
    found
}

fn members<'v>(was: &'v Value, is: &'v Value) -> BTreeSet<&'v str> {
    [was, is]
        .into_iter()
        .filter_map(Value::as_object)
        .flat_map(|object| object.keys().map(String::as_str))
        .collect()
}

fn part<'v>(of: &'v Value, key: &str) -> &'v Value {
    of.get(key).unwrap_or(&Value::Null)
}

fn changed_inputs(was: Option<&Inputs>, is: Option<&Inputs>) -> Vec<Change> {
    let (Some(was), Some(is)) = (was, is) else { return vec![Change::Inputs] };
    let paths = differing(
        was.iter().map(|(path, content)| (path, content)),
        is.iter().map(|(path, content)| (path, content)),
    );
    paths.into_iter().map(|(path, how)| Change::Input { path, how }).collect()
}

/// What became of the paths of two sorted lists.
fn differing<'a, T: PartialEq + 'a>(
    was: impl Iterator<Item = (&'a RelPath, &'a T)>,
    is: impl Iterator<Item = (&'a RelPath, &'a T)>,
) -> Vec<(RelPath, How)> {
    let (mut was, mut is) = (was.peekable(), is.peekable());
    let mut found = Vec::new();
    loop {
        let order = match (was.peek(), is.peek()) {
            (None, None) => return found,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let old = if order.is_le() { was.next() } else { None };
        let new = if order.is_ge() { is.next() } else { None };
        match (old, new) {
            (Some((path, before)), Some((_, now))) if before != now => {
                found.push((path.clone(), How::Changed))
            }
            (Some((path, _)), None) => found.push((path.clone(), How::Removed)),
            (None, Some((path, _))) => found.push((path.clone(), How::Added)),
            _ => {}
        }
    }
}

/// A script as it is written, or a program and its arguments.
fn command(value: &Value) -> String {
    let script = value.get("shell").and_then(Value::as_str);
    let words = || -> Option<String> {
        let words: Vec<&str> = value.get("argv")?.as_array()?.iter().filter_map(Value::as_str).collect();
        Some(words.join(" "))
    };
    script.map(str::to_owned).or_else(words).unwrap_or_else(|| value.to_string())
}

fn changed_env(was: &Value, is: &Value) -> Vec<Change> {
    let value = |of: &Value, name: &str| of.get(name).and_then(Value::as_str).map(str::to_owned);
    let both = |name: &str| Change::Env { name: name.to_owned(), was: value(was, name), is: value(is, name) };
    members(was, is).into_iter().filter(|name| was.get(*name) != is.get(*name)).map(both).collect()
}

fn changed_services(was: &Value, is: &Value) -> Vec<Change> {
    let names = members(was, is).into_iter();
    names.flat_map(|name| changed_service(name, part(was, name), part(is, name))).collect()
}

fn changed_service(name: &str, was: &Value, is: &Value) -> Vec<Change> {
    let service = || name.to_owned();
    if was.is_null() != is.is_null() {
        return vec![Change::Service { service: service(), now: was.is_null() }];
    }
    let differs = |key: &&str| part(was, key) != part(is, key);
    let said = |key: &str| match key {
        "image" => Change::ServiceImage { service: service() },
        key => {
            let (was, is) = (setting(key, part(was, key)), setting(key, part(is, key)));
            Change::ServiceSetting { service: service(), key: key.to_owned(), was, is }
        }
    };
    members(was, is).into_iter().filter(differs).map(said).collect()
}

fn setting(key: &str, value: &Value) -> String {
    match (key, value) {
        ("command", Value::Null) => "what its image says".to_owned(),
        ("command", value) => command(value),
        (_, value) => value.to_string(),
    }
}

fn changed_layers(
    was: &[(Name, Digest)],
    is: &[(Name, Digest)],
    unknown: &[Name],
    manifest: &dyn Fn(&Digest) -> Option<Arc<LayerManifest>>,
) -> Vec<Change> {
    let by_name = |layers: &[(Name, Digest)]| layers.iter().cloned().collect::<BTreeMap<Name, Digest>>();
    let (before, now) = (by_name(was), by_name(is));
    let steps: BTreeSet<&Name> = before.keys().chain(now.keys()).collect();
    let known = steps.into_iter().filter(|step| !unknown.contains(step));
    known
        .filter_map(|step| match (before.get(step), now.get(step)) {
            (Some(old), Some(new)) if old == new => None,
            (Some(old), Some(new)) => Some(other_files(step, manifest(old), manifest(new))),
            (_, now) => Some(Change::Needs { step: step.clone(), now: now.is_some() }),
        })
        .collect()
}

fn other_files(step: &Name, was: Option<Arc<LayerManifest>>, is: Option<Arc<LayerManifest>>) -> Change {
    let mut paths = match (was, is) {
        (Some(was), Some(is)) => differing(was.entries.iter(), is.entries.iter()),
        _ => Vec::new(),
    };
    let more = paths.len().saturating_sub(MOST_PATHS);
    paths.truncate(MOST_PATHS);
    Change::Layer { step: step.clone(), paths, more }
}

#[cfg(test)]
mod tests;
