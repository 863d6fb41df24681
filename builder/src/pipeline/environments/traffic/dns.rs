//! `dns`: address records of a name.

use staith_model::{Access, TrafficSpec};

use super::super::super::{
    amounts,
    keys::{DURATION, HOST, Keys, REQUIRED, SECRET, Shape, TEXT, key},
    problems::{Problem, quoted},
    values::{Understood, complaint},
    variables,
    walk::Table,
};

const DEFAULT_TTL_SECONDS: u64 = 60;

pub(in crate::pipeline) const KEYS: Keys = Keys {
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
        key("key", Shape::Text(&SECRET), REQUIRED, "The name of the TSIG key (HMAC-SHA256)."),
        key(
            "secret",
            Shape::Text(&SECRET),
            "as `key`",
            "The name of the secret that is the key's value in base64, as `tsig-keygen` prints it.",
        ),
    ],
    elsewhere: &[
        ("name", "record"),
        ("host", "record"),
        ("tsig", "key"),
        ("value", "secret"),
        ("domain", "zone"),
    ],
};

pub(super) fn read(table: &Table<'_>) -> Option<TrafficSpec> {
    let server = table.required("server", "server = \"192.0.2.1:53\"", server);
    let zone = table.required("zone", "zone = \"example.net\"", domain);
    let record = table.required("record", "record = \"shop.example.net\"", domain);
    let key = table.required("key", "key = \"staith-key\"", variables::secret);
    let secret = match table.has("secret") {
        true => table.text("secret", variables::secret).map(|secret| secret.value),
        false => key.as_ref().map(|key| key.value.clone()),
    };
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
        secret: secret?,
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
