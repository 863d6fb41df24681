//! `traffic`: who sends requests to the machines.

use staith_model::TrafficSpec;

use super::super::{
    keys::{Keys, Shape, key},
    problems::Problem,
    suggest::listed,
    walk::Table,
};

mod azure;
mod built_in;
mod dns;
pub(in crate::pipeline) mod haproxy;

pub(in crate::pipeline) use azure::KEYS as TRAFFIC_MANAGER_KEYS;
pub(in crate::pipeline) use built_in::KEYS as BUILT_IN_KEYS;
pub(in crate::pipeline) use dns::KEYS as DNS_KEYS;
pub(in crate::pipeline) use haproxy::KEYS as HAPROXY_KEYS;

const PROVIDERS: [&str; 4] = ["haproxy", "built-in", "dns", "traffic-manager"];

pub(in crate::pipeline) const KEYS: Keys = Keys {
    known: &[
        key("haproxy", Shape::Table(&HAPROXY_KEYS), "one of these", "HAProxy, through its runtime API."),
        key(
            "built-in",
            Shape::Table(&BUILT_IN_KEYS),
            "one of these",
            "The built-in reverse proxy, `staith proxy serve`.",
        ),
        key(
            "dns",
            Shape::Table(&DNS_KEYS),
            "one of these",
            "Address records of a name, changed by dynamic updates (RFC 2136) with TSIG.",
        ),
        key("traffic-manager", Shape::Table(&TRAFFIC_MANAGER_KEYS), "one of these", "Azure Traffic Manager."),
    ],
    elsewhere: &[
        ("proxy", "built-in"),
        ("builtin", "built-in"),
        ("built_in", "built-in"),
        ("local", "built-in"),
        ("bind", "dns"),
        ("azure", "traffic-manager"),
        ("traffic_manager", "traffic-manager"),
        ("provider", "haproxy"),
    ],
};

/// `traffic` of an environment.
pub(super) fn read(table: &Table<'_>) -> Option<TrafficSpec> {
    let entry = table.entry("traffic")?;
    let example =
        "traffic = { haproxy = { nodes = [\"unix:/run/haproxy/admin.sock\"], backend = \"shop\" } }";
    if entry.value.get_ref().is_str() {
        table.wrong_kind("traffic", entry.value, "a table", format!("write `{example}`"));
        return None;
    }
    let traffic =
        Table::below(format!("the traffic of {}", table.title()), entry.value, &KEYS, table.problems())?;
    let said: Vec<&str> = PROVIDERS.into_iter().filter(|provider| traffic.has(provider)).collect();
    let [provider] = said.as_slice() else {
        let message = format!("{} has to be one of {}", traffic.title(), listed(PROVIDERS));
        let help = format!("write one of them: `{example}`");
        table.problems().add(Problem::at(traffic.place(), message, "exactly one belongs here", help));
        return None;
    };
    let inner =
        |keys| Table::below(format!("`{provider}`"), traffic.entry(provider)?.value, keys, table.problems());
    match *provider {
        "haproxy" => haproxy::read(&inner(&HAPROXY_KEYS)?),
        "built-in" => built_in::read(&inner(&BUILT_IN_KEYS)?),
        "dns" => dns::read(&inner(&DNS_KEYS)?),
        _ => azure::read(&inner(&TRAFFIC_MANAGER_KEYS)?),
    }
}
