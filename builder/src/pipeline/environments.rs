//! The `[environments.*]` tables.

use std::{net::SocketAddr, ops::Range};

use staith_model::{HealthCheck, LocalEnvironment, Name, Process};
use toml::de::DeValue;

use super::{
    Destination, amounts,
    commands::arguments,
    keys::{
        ADDRESS, DURATION, HEADER, Keys, NAME, REQUIRED, SCRIPT_OR_ARGUMENTS, Shape, URL_PATH, VARIABLES, key,
    },
    package,
    problems::{Problem, Problems},
    values::{self, Understood, complaint},
    variables,
    walk::{Entry, Placed, Table, in_file_order},
    web,
};

const DEFAULT_DRAIN_SECONDS: u64 = 30;
const DEFAULT_STOP_SECONDS: u64 = 10;
const DEFAULT_KEPT_RELEASES: u32 = 3;
const DEFAULT_HEALTH_PATH: &str = "/";
const DEFAULT_HEALTH_DEADLINE_SECONDS: u64 = 30;
const DEFAULT_HEALTH_SUCCESSES: u32 = 2;

pub(super) const KEYS: Keys = Keys {
    known: &[
        key(
            "listen",
            Shape::Text(&ADDRESS),
            REQUIRED,
            "IP address and port of the proxy, such as `\"127.0.0.1:8080\"`. The address is explicit: no host name, not \
             `0.0.0.0`. No two environments may share it.",
        ),
        key(
            "package",
            Shape::Text(&NAME),
            "the only package",
            "Which package is released here; has to be said where the file has several.",
        ),
        key(
            "run",
            SCRIPT_OR_ARGUMENTS,
            REQUIRED,
            "Program and arguments. A text is split at spaces; if it would need a shell, write a list. A program with a `/` is \
             looked for in the package, any other in `PATH`.",
        ),
        key(
            "env",
            VARIABLES,
            "none",
            "Environment variables. `PORT`, on which the program must listen, is set by Staith, and so are names that start with \
             `STAITH_`.",
        ),
        key(
            "drain",
            Shape::Text(&DURATION),
            "`\"30s\"`",
            "How long requests in flight are given when traffic has moved away; may be `\"0s\"`.",
        ),
        key(
            "stop",
            Shape::Text(&DURATION),
            "`\"10s\"`",
            "How long the program is given to end after it was asked to.",
        ),
        key(
            "keep",
            Shape::Whole { least: 0, most: 1000 },
            "`3`",
            "Releases kept on disk beside those in the pools, 0 to 1000.",
        ),
        key(
            "health",
            Shape::Table(&HEALTH_KEYS),
            "`{ path = \"/\" }`",
            "How a release proves that it works.",
        ),
    ],
    elsewhere: &[
        ("port", "listen"),
        ("address", "listen"),
        ("artifact", "package"),
        ("bind", "listen"),
        ("url", "listen"),
        ("command", "run"),
        ("cmd", "run"),
        ("start", "run"),
        ("environment", "env"),
        ("variables", "env"),
        ("healthcheck", "health"),
        ("health-check", "health"),
        ("health_check", "health"),
    ],
};

/// Keys that describe environments somewhere else; "did you mean" would lead astray.
const OTHER_MACHINES: [&str; 10] =
    ["kind", "type", "provider", "host", "hosts", "ssh", "target", "targets", "vm", "server"];

pub(super) const HEALTH_KEYS: Keys = Keys {
    known: &[
        key("path", Shape::Text(&URL_PATH), REQUIRED, "Path that must answer with a status of 200 to 299."),
        key(
            "header",
            Shape::Text(&HEADER),
            "none",
            "Response header in which the program says the release's digest, which it finds in `STAITH_RELEASE`.",
        ),
        key(
            "deadline",
            Shape::Text(&DURATION),
            "`\"30s\"`",
            "Time within which it must answer for the first time.",
        ),
        key(
            "successes",
            Shape::Whole { least: 1, most: 100 },
            "`2`",
            "Good answers in a row that count as healthy, 1 to 100.",
        ),
    ],
    elsewhere: &[
        ("url", "path"),
        ("timeout", "deadline"),
        ("retries", "successes"),
        ("threshold", "successes"),
    ],
};

/// All environments, in the order of the file.
pub(super) fn read(file: &Table<'_>, packages: &[Name]) -> Vec<Destination> {
    let Some(entry) = file.entry("environments") else { return Vec::new() };
    let Some(entries) = entry.value.get_ref().as_table() else {
        let help = "each environment is a table by its name: `[environments.local]`";
        file.wrong_kind("environments", entry.value, "a table", help.into());
        return Vec::new();
    };
    let entries = in_file_order(entries);
    if let Some(first) = entries.first().filter(|_| !file.has("package")) {
        file.problems().add(Problem::at(
            first.key_place.clone(),
            "there is an environment, but no package to release to it",
            "nothing could ever get here",
            "add a `[package]` table; it may be empty, and then packs the outputs of the build steps",
        ));
    }
    let mut listening = Vec::new();
    let read = |entry| environment(entry, packages, file.problems(), &mut listening);
    entries.into_iter().filter_map(read).collect()
}

fn environment<'t>(
    entry: Entry<'t>,
    packages: &[Name],
    problems: &'t Problems,
    listening: &mut Vec<(SocketAddr, Range<usize>)>,
) -> Option<Destination> {
    let name = values::name(entry.key).map_err(|complaint| {
        let message = format!("an environment's name {}", complaint.what);
        problems.add(Problem::at(entry.key_place.clone(), message, complaint.label, complaint.help));
    });
    if refuse_other_machines(&entry, problems) {
        return None;
    }
    let table = Table::below(format!("environment `{}`", entry.key), entry.value, &KEYS, problems)?;
    let listen = table.required("listen", "listen = \"127.0.0.1:8080\"", web::listen);
    if let Some(listen) = &listen {
        refuse_taken_address(listen, listening, problems);
    }
    let package = package::of_environment(&table, packages);
    let process = process(&table);
    let health = health(&table);
    let drain_seconds = seconds(&table, "drain", 0, DEFAULT_DRAIN_SECONDS);
    let keep = count(&table, "keep", 0, 1000, DEFAULT_KEPT_RELEASES);
    let environment = LocalEnvironment {
        name: name.ok()?,
        listen: listen?.value,
        process: process?,
        health: health?,
        drain_seconds,
        keep_releases: keep,
    };
    Some(Destination { environment, package: package? })
}

/// Whether the table describes an environment that is not on this machine; if so, that is all there is to say of it.
fn refuse_other_machines(entry: &Entry<'_>, problems: &Problems) -> bool {
    let Some(entries) = entry.value.get_ref().as_table() else { return false };
    let foreign = in_file_order(entries).into_iter().find(|entry| OTHER_MACHINES.contains(&entry.key));
    let Some(foreign) = foreign else { return false };
    problems.add(Problem::at(
        foreign.key_place,
        format!("`{}` of environment `{}` is not supported", foreign.key, entry.key),
        "an environment is two pools behind a proxy on this machine",
        format!(
            "remove it, and say where the proxy listens: `listen = \"127.0.0.1:8080\"`; {}",
            super::ENVIRONMENT_KINDS
        ),
    ));
    true
}

fn refuse_taken_address(
    listen: &Placed<SocketAddr>,
    listening: &mut Vec<(SocketAddr, Range<usize>)>,
    problems: &Problems,
) {
    if let Some((_, first)) = listening.iter().find(|(address, _)| *address == listen.value) {
        let problem = Problem::at(
            listen.place.clone(),
            format!("two environments listen on {}", listen.value),
            "here again",
            "give each environment a port of its own",
        );
        problems.add(problem.and_at(first.clone(), "here first"));
    } else {
        listening.push((listen.value, listen.place.clone()));
    }
}

fn seconds(table: &Table<'_>, key: &str, least: u64, default: u64) -> u64 {
    table.text(key, |text| amounts::seconds(text, least)).map_or(default, |seconds| seconds.value)
}

fn count(table: &Table<'_>, key: &str, least: u32, most: u32, default: u32) -> u32 {
    let number = table.number(key, least.into(), most.into());
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or(default)
}

fn process(table: &Table<'_>) -> Option<Process> {
    let command = command(table);
    let env = variables::values(variables::env(table, process_variable));
    let stop_seconds = seconds(table, "stop", 1, DEFAULT_STOP_SECONDS);
    Some(Process { command: command?, env, stop_seconds })
}

fn command(table: &Table<'_>) -> Option<Vec<String>> {
    let Some(entry) = table.entry("run") else {
        table.missing("run", "run = [\"./program\"]");
        return None;
    };
    match entry.value.get_ref() {
        DeValue::String(_) => table.text("run", words).map(|words| words.value),
        DeValue::Array(_) => arguments(table),
        _ => {
            let help = "write `run = [\"./program\", \"argument\"]`";
            table.wrong_kind("run", entry.value, "a list or a text", help.into());
            None
        }
    }
}

/// The program and arguments of a text that needs no shell to be understood.
fn words(text: &str) -> Understood<Vec<String>> {
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let Some(program) = words.first() else {
        return complaint(
            "is empty",
            "this runs nothing",
            "write the program to run: `run = [\"./program\"]`",
        );
    };
    if text.contains(|c: char| "|&;<>()$`\\\"'*?[]{}~#!\n\0".contains(c)) || program.contains('=') {
        return complaint(
            "needs a shell",
            "no shell reads this text, so that nothing stands between Staith and the program",
            "write a list, one text for each argument: `run = [\"./program\", \"--port\"]`; variables belong in `env`; and \
             where it must be a shell: `run = [\"/bin/sh\", \"-c\", \"...\"]`",
        );
    }
    Ok(words)
}

fn process_variable(name: &str) -> Understood<String> {
    if name == "PORT" {
        return complaint(
            "sets `PORT`",
            "Staith chooses the port of each release and says it in `PORT`",
            "remove it, and let the program listen on 127.0.0.1 at `PORT`",
        );
    }
    if name.starts_with("STAITH_") {
        return complaint(
            "sets a reserved variable",
            "variables that start with `STAITH_` are set by Staith",
            "choose another name",
        );
    }
    values::variable(name)
}

fn health(table: &Table<'_>) -> Option<HealthCheck> {
    let Some(entry) = table.entry("health") else {
        return Some(HealthCheck {
            path: DEFAULT_HEALTH_PATH.to_owned(),
            release_header: None,
            deadline_seconds: DEFAULT_HEALTH_DEADLINE_SECONDS,
            successes: DEFAULT_HEALTH_SUCCESSES,
        });
    };
    if entry.value.get_ref().is_str() {
        let help = "write `health = { path = \"/healthz\" }`";
        table.wrong_kind("health", entry.value, "a table", help.into());
        return None;
    }
    let health = Table::below("the health check".into(), entry.value, &HEALTH_KEYS, table.problems())?;
    let path = health.required("path", "path = \"/healthz\"", web::url_path);
    let header = health.text("header", web::header);
    let deadline_seconds = seconds(&health, "deadline", 1, DEFAULT_HEALTH_DEADLINE_SECONDS);
    let successes = count(&health, "successes", 1, 100, DEFAULT_HEALTH_SUCCESSES);
    Some(HealthCheck {
        path: path?.value,
        release_header: header.map(|header| header.value),
        deadline_seconds,
        successes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_at_spaces_and_nothing_else_is_interpreted() {
        assert_eq!(words("python3  app.py --x=1").unwrap(), ["python3", "app.py", "--x=1"]);
        for shell in
            ["a | b", "a && b", "A=1 b", "a \"b c\"", "a $PORT", "a > b", "a; b", "a *", "~/a", "a\nb", ""]
        {
            assert!(words(shell).is_err(), "{shell:?}");
        }
    }
}
