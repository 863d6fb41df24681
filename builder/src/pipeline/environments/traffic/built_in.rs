//! `built-in`: Staith's own proxy, on one node or several.

use staith_model::{Name, TrafficSpec};

use super::{
    super::super::{
        keys::{Keys, NODE, PLAIN_WORD, REQUIRED, Shape, key},
        problems::quoted,
        values::{Understood, complaint, texts},
        walk::Table,
    },
    haproxy::way,
};

pub(in crate::pipeline) const KEYS: Keys = Keys {
    known: &[
        key(
            "nodes",
            Shape::List { of: &Shape::Text(&NODE), filled: true },
            REQUIRED,
            "The control socket of each proxy: `\"unix:/run/staith-proxy/control.sock\"`. All are told the same.",
        ),
        key(
            "backend",
            Shape::Text(&PLAIN_WORD),
            REQUIRED,
            "The backend whose members are the targets, by the targets' names; they listen where `serves-at` of each says.",
        ),
    ],
    elsewhere: &[("socket", "nodes"), ("sockets", "nodes"), ("node", "nodes"), ("control", "nodes")],
};

pub(super) fn read(table: &Table<'_>) -> Option<TrafficSpec> {
    if !table.has("nodes") {
        table.missing("nodes", "nodes = [\"unix:/run/staith-proxy/control.sock\"]");
    }
    let nodes = table.filled_list("nodes", |text| way(text).map(|way| way.text));
    let backend = table.required("backend", "backend = \"shop\"", backend);
    Some(TrafficSpec::BuiltIn { nodes: texts(nodes?), backend: backend?.value })
}

/// A backend of the built-in proxy is called as everything of ours is.
fn backend(text: &str) -> Understood<String> {
    match text.parse::<Name>() {
        Ok(name) => Ok(name.to_string()),
        Err(why) => complaint(
            "is not a backend's name",
            format!("{} can't be a backend: {why}", quoted(text)),
            "write its name in the proxy's configuration",
        ),
    }
}
