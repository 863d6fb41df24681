//! `traffic`: who sends requests to the machines.

use staith_model::{Access, Name, TrafficSpec};

use super::{
    super::{
        amounts,
        keys::{DURATION, HOST, Keys, NODE, PLAIN_WORD, REQUIRED, SECRET, Shape, TEXT, URL, key},
        problems::{Problem, quoted},
        suggest::listed,
        values::{Understood, complaint, texts},
        variables,
        walk::Table,
    },
    rollout::url,
};

const PROVIDERS: [&str; 4] = ["haproxy", "built-in", "dns", "traffic-manager"];
const DEFAULT_TTL_SECONDS: u64 = 60;

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

pub(in crate::pipeline) const HAPROXY_KEYS: Keys = Keys {
    known: &[
        key(
            "nodes",
            Shape::List { of: &Shape::Text(&NODE), filled: true },
            REQUIRED,
            "Its runtime API on each node: `\"unix:/run/haproxy/admin.sock\"`, `\"tcp:HOST:PORT\"` or \
             `\"ssh:HOST:/run/haproxy/admin.sock\"`. All are told the same.",
        ),
        key(
            "backend",
            Shape::Text(&PLAIN_WORD),
            REQUIRED,
            "The backend whose servers are the targets, by the targets' names.",
        ),
        key(
            "front",
            Shape::Text(&URL),
            "not asked",
            "Where clients ask: for seeing through the front door that the release answers.",
        ),
    ],
    elsewhere: &[
        ("socket", "nodes"),
        ("sockets", "nodes"),
        ("node", "nodes"),
        ("url", "front"),
        ("frontend", "front"),
    ],
};

pub(in crate::pipeline) const BUILT_IN_KEYS: Keys = Keys {
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

pub(in crate::pipeline) const DNS_KEYS: Keys = Keys {
    known: &[
        key("server", Shape::Text(&TEXT), REQUIRED, "The server that takes updates, `\"HOST:PORT\"`."),
        key("zone", Shape::Text(&HOST), REQUIRED, "The zone."),
        key(
            "record",
            Shape::Text(&HOST),
            REQUIRED,
            "The name, in the zone, whose addresses are the machines that serve.",
        ),
        key("ttl", Shape::Text(&DURATION), "`\"60s\"`", "How long answers may be kept by those who asked."),
        key(
            "key",
            Shape::Text(&SECRET),
            REQUIRED,
            "The name of the TSIG key, and of the secret that is its value.",
        ),
    ],
    elsewhere: &[
        ("name", "record"),
        ("host", "record"),
        ("tsig", "key"),
        ("secret", "key"),
        ("domain", "zone"),
    ],
};

pub(in crate::pipeline) const TRAFFIC_MANAGER_KEYS: Keys = Keys {
    known: &[key(
        "profile",
        Shape::Text(&TEXT),
        REQUIRED,
        "The profile's resource id: `\"/subscriptions/...\"`.",
    )],
    elsewhere: &[("id", "profile"), ("resource", "profile")],
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
        "haproxy" => haproxy(&inner(&HAPROXY_KEYS)?),
        "built-in" => built_in(&inner(&BUILT_IN_KEYS)?),
        "dns" => dns(&inner(&DNS_KEYS)?),
        _ => {
            let profile = inner(&TRAFFIC_MANAGER_KEYS)?.required(
                "profile",
                "profile = \"/subscriptions/...\"",
                profile,
            )?;
            Some(TrafficSpec::TrafficManager { profile: profile.value })
        }
    }
}

fn haproxy(table: &Table<'_>) -> Option<TrafficSpec> {
    if !table.has("nodes") {
        table.missing("nodes", "nodes = [\"unix:/run/haproxy/admin.sock\"]");
    }
    let nodes = table.filled_list("nodes", node);
    let backend = table.required("backend", "backend = \"shop\"", backend);
    let front = match table.has("front") {
        true => Some(table.text("front", url)?.value),
        false => None,
    };
    Some(TrafficSpec::Haproxy { nodes: texts(nodes?), backend: backend?.value, front })
}

fn built_in(table: &Table<'_>) -> Option<TrafficSpec> {
    if !table.has("nodes") {
        table.missing("nodes", "nodes = [\"unix:/run/staith-proxy/control.sock\"]");
    }
    let nodes = table.filled_list("nodes", node);
    let backend = table.required("backend", "backend = \"shop\"", name_of_backend);
    Some(TrafficSpec::BuiltIn { nodes: texts(nodes?), backend: backend?.value })
}

/// A backend of the built-in proxy is called as everything of ours is.
fn name_of_backend(text: &str) -> Understood<String> {
    match text.parse::<Name>() {
        Ok(name) => Ok(name.to_string()),
        Err(why) => complaint(
            "is not a backend's name",
            format!("{} can't be a backend: {why}", quoted(text)),
            "write its name in the proxy's configuration",
        ),
    }
}

fn node(text: &str) -> Understood<String> {
    let is_path =
        |path: &str| path.starts_with('/') && path.len() > 1 && !path.contains(|c: char| c.is_control());
    let is_node = match text.split_once(':') {
        Some(("unix", path)) => is_path(path),
        Some(("tcp", place)) => place.contains(':') && Access::serves_at(place).is_ok(),
        Some(("ssh", rest)) => rest
            .split_once(":/")
            .is_some_and(|(host, path)| Access::ssh(host).is_ok() && is_path(&format!("/{path}"))),
        _ => false,
    };
    if is_node {
        return Ok(text.to_owned());
    }
    complaint(
        "is not a node",
        format!("{} says no way to a runtime API", quoted(text)),
        "write \"unix:/run/haproxy/admin.sock\", \"tcp:HOST:PORT\" or \"ssh:HOST:/run/haproxy/admin.sock\"",
    )
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

fn dns(table: &Table<'_>) -> Option<TrafficSpec> {
    let server = table.required("server", "server = \"192.0.2.1:53\"", server);
    let zone = table.required("zone", "zone = \"example.net\"", domain);
    let record = table.required("record", "record = \"shop.example.net\"", domain);
    let key = table.required("key", "key = \"staith-key\"", variables::secret);
    let ttl =
        table.text("ttl", |text| amounts::seconds(text, 1)).map_or(DEFAULT_TTL_SECONDS, |ttl| ttl.value);
    let (zone, record) = (zone?, record?);
    let is_in_zone = record.value == zone.value || record.value.ends_with(&format!(".{}", zone.value));
    if !is_in_zone {
        let problem = Problem::at(
            record.place,
            format!("`record` of {} is not in the zone `{}`", table.title(), zone.value),
            "updates of the zone can't change this name",
            format!("write the whole name: \"{}.{}\"", record.value, zone.value),
        );
        table.problems().add(problem.and_at(zone.place, "the zone is here"));
        return None;
    }
    Some(TrafficSpec::Dns {
        server: server?.value,
        zone: zone.value,
        record: record.value,
        ttl_seconds: u32::try_from(ttl).ok()?,
        key: key?.value,
    })
}

fn server(text: &str) -> Understood<String> {
    match Access::serves_at(text) {
        Ok(server) if text.rsplit(']').next().is_some_and(|rest| rest.contains(':')) => Ok(server),
        _ => complaint(
            "is not a host and a port",
            format!("{} is no place of a server", quoted(text)),
            "write host and port, for example \"192.0.2.1:53\"",
        ),
    }
}

/// A domain name, in lower case and without the dot at its end.
fn domain(text: &str) -> Understood<String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        return Ok(text.to_ascii_lowercase());
    }
    complaint(
        "is not a domain name",
        format!("{} can't be a name", quoted(text)),
        "write the whole name without a dot at its end, for example \"shop.example.net\"",
    )
}

fn profile(text: &str) -> Understood<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.()".contains(c);
    if text.starts_with("/subscriptions/") && text.chars().all(plain) && !text.contains("..") {
        return Ok(text.to_owned());
    }
    complaint(
        "is not a resource id",
        format!("{} names no profile", quoted(text)),
        "write the profile's id as Azure shows it: \"/subscriptions/.../trafficManagerProfiles/NAME\"",
    )
}
