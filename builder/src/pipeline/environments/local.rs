//! Environments on this machine: two pools behind a proxy.

use std::{net::SocketAddr, ops::Range};

use staith_model::{LocalEnvironment, Name, Process};
use toml::de::DeValue;

use super::{
    super::{
        commands::arguments,
        keys::{ADDRESS, DURATION, Keys, NAME, REQUIRED, SCRIPT_OR_ARGUMENTS, Shape, VARIABLES, key},
        package,
        problems::{Problem, Problems},
        values::{self, Understood, complaint},
        variables,
        walk::{Placed, Table},
        web,
    },
    count, health,
    order::AFTER,
    seconds,
};

const DEFAULT_DRAIN_SECONDS: u64 = 30;
const DEFAULT_STOP_SECONDS: u64 = 10;
const DEFAULT_KEPT_RELEASES: u32 = 3;

pub(in crate::pipeline) const KEYS: Keys = Keys {
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
            Shape::Table(&health::KEYS),
            "`{ path = \"/\" }`",
            "How a release proves that it works.",
        ),
        AFTER,
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
        ("host", "targets"),
        ("hosts", "targets"),
        ("ssh", "targets"),
        ("target", "targets"),
        ("vm", "targets"),
        ("server", "targets"),
    ],
};

/// The environment of a table, and the package that is released to it.
pub(super) fn environment(
    name: Option<Name>,
    table: &Table<'_>,
    packages: &[Name],
    listening: &mut Vec<(SocketAddr, Range<usize>)>,
) -> Option<(LocalEnvironment, Name)> {
    let listen = table.required("listen", "listen = \"127.0.0.1:8080\"", web::listen);
    if let Some(listen) = &listen {
        refuse_taken_address(listen, listening, table.problems());
    }
    let package = package::of_environment(table, packages);
    let process = process(table);
    let health = health::local(table);
    let drain_seconds = seconds(table, "drain", 0, DEFAULT_DRAIN_SECONDS);
    let keep = count(table, "keep", 0, 1000, DEFAULT_KEPT_RELEASES);
    let environment = LocalEnvironment {
        name: name?,
        listen: listen?.value,
        process: process?,
        health: health?,
        drain_seconds,
        keep_releases: keep,
    };
    Some((environment, package?))
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
        DeValue::Array(_) => arguments(table, "run"),
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
