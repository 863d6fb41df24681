//! `health`: how a release proves that it works.

use staith_model::HealthCheck;

use super::{
    super::{
        keys::{DURATION, HEADER, Key, Keys, REQUIRED, Shape, URL_PATH, key},
        walk::Table,
        web,
    },
    count, seconds,
};

const DEFAULT_PATH: &str = "/";
const DEFAULT_DEADLINE_SECONDS: u64 = 30;
const DEFAULT_SUCCESSES: u32 = 2;

const PATH: Key =
    key("path", Shape::Text(&URL_PATH), REQUIRED, "Path that must answer with a status of 200 to 299.");
const HEADER_KEY: Key = key(
    "header",
    Shape::Text(&HEADER),
    "none",
    "Response header in which the program says the release's digest, which it finds in `STAITH_RELEASE`.",
);
const FILE: Key = key(
    "file",
    Shape::Text(&URL_PATH),
    "none",
    "Path that answers with the release's digest and no other, in 4 KiB at most: by the program, or, on machines, by a file that `render` names and that holds `#{STAITH_RELEASE}#`.",
);
const DEADLINE: Key = key(
    "deadline",
    Shape::Text(&DURATION),
    "`\"30s\"`",
    "Time within which it must answer for the first time.",
);
const SUCCESSES: Key = key(
    "successes",
    Shape::Whole { least: 1, most: 100 },
    "`2`",
    "Good answers in a row that count as healthy, 1 to 100.",
);
const ELSEWHERE: &[(&str, &str)] = &[
    ("url", "path"),
    ("timeout", "deadline"),
    ("retries", "successes"),
    ("threshold", "successes"),
    ("proof", "file"),
];

pub(in crate::pipeline) const KEYS: Keys =
    Keys { known: &[PATH, HEADER_KEY, FILE, DEADLINE, SUCCESSES], elsewhere: ELSEWHERE };

/// Of machines.
pub(in crate::pipeline) const FLEET_KEYS: Keys = Keys {
    known: &[
        PATH,
        HEADER_KEY,
        FILE,
        DEADLINE,
        SUCCESSES,
        key(
            "for",
            Shape::Text(&DURATION),
            "`\"0s\"`",
            "How long a machine must be healthy without a break before it counts.",
        ),
    ],
    elsewhere: ELSEWHERE,
};

/// `health` of an environment on this machine, or what holds without it.
pub(super) fn local(table: &Table<'_>) -> Option<HealthCheck> {
    if !table.has("health") {
        return Some(HealthCheck {
            path: DEFAULT_PATH.to_owned(),
            release_header: None,
            release_file: None,
            deadline_seconds: DEFAULT_DEADLINE_SECONDS,
            successes: DEFAULT_SUCCESSES,
        });
    }
    check(&below(table, &KEYS)?)
}

/// `health` of an environment of machines: the check, and the seconds for which it must hold. Without it, what is asked is
/// whether the service runs.
pub(super) fn of_machines(table: &Table<'_>) -> Option<(Option<HealthCheck>, u64)> {
    if !table.has("health") {
        return Some((None, 0));
    }
    let health = below(table, &FLEET_KEYS)?;
    let held = seconds(&health, "for", 0, 0);
    Some((Some(check(&health)?), held))
}

fn below<'t>(table: &Table<'t>, keys: &'static Keys) -> Option<Table<'t>> {
    let entry = table.entry("health")?;
    if entry.value.get_ref().is_str() {
        let help = "write `health = { path = \"/healthz\" }`";
        table.wrong_kind("health", entry.value, "a table", help.into());
        return None;
    }
    Table::below("the health check".into(), entry.value, keys, table.problems())
}

fn check(health: &Table<'_>) -> Option<HealthCheck> {
    let path = health.required("path", "path = \"/healthz\"", web::url_path);
    let header = health.text("header", web::header);
    let file = health.text("file", web::url_path);
    let deadline_seconds = seconds(health, "deadline", 1, DEFAULT_DEADLINE_SECONDS);
    let successes = count(health, "successes", 1, 100, DEFAULT_SUCCESSES);
    Some(HealthCheck {
        path: path?.value,
        release_header: header.map(|header| header.value),
        release_file: file.map(|file| file.value),
        deadline_seconds,
        successes,
    })
}
