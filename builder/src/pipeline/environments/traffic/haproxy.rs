//! `haproxy`: the servers of a backend, on one node or several.

use staith_model::{Access, HaproxyNode, NotAnAddress, StateFile, TrafficSpec};
use toml::{Spanned, de::DeValue};

use super::super::super::{
    keys::{HOST_KEY, Keys, NODE, PLAIN_WORD, REQUIRED, Shape, TEXT, key},
    problems::{Problem, quoted},
    suggest::listed,
    values::{Understood, complaint},
    walk::Table,
};

pub(in crate::pipeline) const KEYS: Keys = Keys {
    known: &[
        key(
            "nodes",
            Shape::List { of: &Shape::Either(&[Shape::Text(&NODE), Shape::Table(&NODE_KEYS)]), filled: true },
            REQUIRED,
            "Its runtime API on each node: `\"unix:/run/haproxy/admin.sock\"`, `\"tcp:HOST:PORT\"` or \
             `\"ssh:HOST:/run/haproxy/admin.sock\"`, or a table with that and more. All are told the same.",
        ),
        key(
            "backend",
            Shape::Text(&PLAIN_WORD),
            REQUIRED,
            "The backend whose servers are the targets, by the targets' names.",
        ),
    ],
    elsewhere: &[("socket", "nodes"), ("sockets", "nodes"), ("node", "nodes")],
};

pub(in crate::pipeline) const NODE_KEYS: Keys = Keys {
    known: &[
        key("runtime", Shape::Text(&NODE), REQUIRED, "Its runtime API, as a node in one text is written."),
        key(
            "master",
            Shape::Text(&TEXT),
            "workers before a reload are not seen",
            "The socket of its master (`haproxy -W -S`): a path on the same machine, or written as `runtime`. Workers that a reload \
             has left behind are waited for.",
        ),
        key(
            "state-file",
            Shape::Text(&TEXT),
            "a reload forgets who serves",
            "The file that a reload reads (`server-state-file`): a path on the same machine, or `\"ssh:HOST:/PATH\"`.",
        ),
        key(
            "state",
            Shape::Word(&STATES),
            "`\"global\"`",
            "What `load-server-state-from-file` says: whether the file holds all backends, or this one alone.",
        ),
        key(
            "host-key",
            Shape::Text(&HOST_KEY),
            "the known hosts",
            "The key of the host in `ssh:`, pinned: `\"SHA256:...\"` or `\"ssh-ed25519 AAAA...\"`.",
        ),
    ],
    elsewhere: &[
        ("socket", "runtime"),
        ("admin", "runtime"),
        ("master-socket", "master"),
        ("server-state-file", "state-file"),
        ("state_file", "state-file"),
        ("host_key", "host-key"),
        ("fingerprint", "host-key"),
    ],
};

const STATES: [&str; 2] = ["global", "local"];

pub(super) fn read(table: &Table<'_>) -> Option<TrafficSpec> {
    if !table.has("nodes") {
        table.missing("nodes", "nodes = [\"unix:/run/haproxy/admin.sock\"]");
    }
    let nodes = nodes(table);
    let backend = table.required("backend", "backend = \"shop\"", backend);
    Some(TrafficSpec::Haproxy { nodes: nodes?, backend: backend?.value })
}

fn nodes(table: &Table<'_>) -> Option<Vec<HaproxyNode>> {
    let items = table.items("nodes", "nodes", "\"unix:/run/haproxy/admin.sock\"")?;
    if items.is_empty() {
        table.filled_list("nodes", |text| Ok(text.to_owned()));
        return None;
    }
    // All of them, so that each mistake is told.
    let found: Vec<_> = items.iter().enumerate().map(|(index, item)| node(table, item, index)).collect();
    found.into_iter().collect()
}

fn node(table: &Table<'_>, item: &Spanned<DeValue<'_>>, index: usize) -> Option<HaproxyNode> {
    if !matches!(item.get_ref(), DeValue::Table(_)) {
        let runtime = table.understand("nodes", item, way)?.value;
        return Some(HaproxyNode { runtime: runtime.text, master: None, state: None, host_key: None });
    }
    let title = format!("node {} of {}", index + 1, table.title());
    let table = Table::below(title, item, &NODE_KEYS, table.problems())?;
    let runtime = table.required("runtime", "runtime = \"unix:/run/haproxy/admin.sock\"", way)?.value;
    let master = match table.has("master") {
        true => Some(table.text("master", |text| way_beside(&runtime, text))?.value),
        false => None,
    };
    let whole = match table.has("state") {
        true => table.text("state", scope)?.value,
        false => true,
    };
    let state = match table.has("state-file") {
        true => Some(table.text("state-file", |text| file_beside(&runtime, text, whole))?.value),
        false => None,
    };
    let host_key = match table.has("host-key") {
        true => Some(table.text("host-key", |text| understood(Access::host_key(text)))?.value),
        false => None,
    };
    let over_ssh = runtime.host.is_some() || state.as_ref().is_some_and(|state| state.host.is_some());
    if host_key.is_some() && !over_ssh {
        table.problems().add(Problem::at(
            table.place(),
            format!("{} pins a host's key and is not reached by ssh", table.title()),
            "no host shows a key here",
            "remove `host-key`",
        ));
    }
    Some(HaproxyNode { runtime: runtime.text, master, state, host_key })
}

/// A way to a socket.
pub(super) struct Way {
    pub(super) text: String,
    /// The host in `ssh:`.
    host: Option<String>,
    /// Whether the socket is on this machine.
    here: bool,
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.len() > 1 && !path.contains(|c: char| c.is_control())
}

/// Host and path of `ssh:HOST:/PATH`.
fn of_ssh(text: &str) -> Option<(&str, String)> {
    let (host, path) = text.strip_prefix("ssh:")?.split_once(":/")?;
    let path = format!("/{path}");
    (Access::ssh(host).is_ok() && is_path(&path)).then_some((host, path))
}

pub(super) fn way(text: &str) -> Understood<Way> {
    let found = match text.split_once(':') {
        Some(("unix", path)) if is_path(path) => Some((None, true)),
        Some(("tcp", place)) if place.contains(':') && Access::serves_at(place).is_ok() => {
            Some((None, false))
        }
        Some(("ssh", _)) => of_ssh(text).map(|(host, _)| (Some(host.to_owned()), false)),
        _ => None,
    };
    if let Some((host, here)) = found {
        return Ok(Way { text: text.to_owned(), host, here });
    }
    complaint(
        "is not a node",
        format!("{} says no way to a runtime API", quoted(text)),
        "write \"unix:/run/haproxy/admin.sock\", \"tcp:HOST:PORT\" or \"ssh:HOST:/run/haproxy/admin.sock\"",
    )
}

/// A socket beside another one: a path is on the same machine.
fn way_beside(beside: &Way, text: &str) -> Understood<String> {
    if !is_path(text) {
        return way(text).map(|way| way.text);
    }
    match (&beside.host, beside.here) {
        (Some(host), _) => Ok(format!("ssh:{host}:{text}")),
        (None, true) => Ok(format!("unix:{text}")),
        (None, false) => nowhere(text, "write \"tcp:HOST:PORT\", or \"ssh:HOST:/PATH\""),
    }
}

/// A file beside a socket: a path is on the same machine.
fn file_beside(beside: &Way, text: &str, whole: bool) -> Understood<StateFile> {
    if let Some((host, path)) = of_ssh(text) {
        return Ok(StateFile { path, host: Some(host.to_owned()), whole });
    }
    if !is_path(text) {
        return complaint(
            "is not a file's place",
            format!("{} is neither a whole path nor a host with one", quoted(text)),
            "write \"/var/lib/haproxy/state\", or \"ssh:HOST:/var/lib/haproxy/state\"",
        );
    }
    match (&beside.host, beside.here) {
        (host, here) if here || host.is_some() => {
            Ok(StateFile { path: text.to_owned(), host: host.clone(), whole })
        }
        _ => nowhere(text, "write \"ssh:HOST:/PATH\""),
    }
}

fn nowhere<T>(text: &str, help: &str) -> Understood<T> {
    complaint(
        "is on no machine that is named",
        format!("`tcp:` does not say how {} is reached", quoted(text)),
        help,
    )
}

fn scope(text: &str) -> Understood<bool> {
    match text {
        "global" => Ok(true),
        "local" => Ok(false),
        _ => complaint(
            "is not what `load-server-state-from-file` says",
            format!("{} is neither `global` nor `local`", quoted(text)),
            format!("write one of {}", listed(STATES)),
        ),
    }
}

/// A backend's name. What HAProxy's own commands are made of is not in it.
fn backend(text: &str) -> Understood<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if (1..=200).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    complaint(
        "is not a backend's name",
        format!("{} can't be a backend", quoted(text)),
        "write its name in HAProxy's configuration: letters, digits, `-`, `_`, `.` and `:`",
    )
}

fn understood<T>(read: Result<T, NotAnAddress>) -> Understood<T> {
    super::super::targets::understood(read)
}
