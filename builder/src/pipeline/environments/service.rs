//! `service`: how a release is started and stopped on a machine.

use staith_model::{Access, Name, Service};

use super::{
    super::{
        keys::{ACCOUNT, DURATION, Keys, REQUIRED, Shape, TEXT, UNIT, VARIABLES, key},
        problems::{Problem, quoted},
        values::{self, Understood, complaint},
        variables,
        walk::Table,
    },
    hooks::program,
    seconds,
};

const DEFAULT_STOP_SECONDS: u64 = 10;
const ARGUMENTS: Shape = Shape::List { of: &Shape::Text(&TEXT), filled: true };

pub(super) const SHAPE: Shape = Shape::Either(&[
    Shape::Word(&["files"]),
    Shape::Table(&SYSTEMD_KEYS),
    Shape::Table(&UNIT_KEYS),
    Shape::Table(&COMMAND_KEYS),
]);

const ELSEWHERE: &[(&str, &str)] = &[
    ("command", "run"),
    ("exec", "run"),
    ("start", "run"),
    ("name", "unit"),
    ("environment", "env"),
    ("account", "user"),
    ("existing_unit", "existing-unit"),
    ("existing", "existing-unit"),
    ("systemd", "unit"),
    ("supervise", "supervisor"),
    ("supervised", "supervisor"),
    ("by", "supervisor"),
    ("reload", "restart"),
];

/// A program that Staith starts: from a unit that it writes, or by itself.
pub(in crate::pipeline) const SYSTEMD_KEYS: Keys = Keys {
    known: &[
        key(
            "unit",
            Shape::Text(&UNIT),
            "the project's name",
            "The name of the systemd unit that Staith writes, without `.service`.",
        ),
        key(
            "run",
            ARGUMENTS,
            REQUIRED,
            "Program and arguments. A program with a `/` is looked for in the package, any other in the machine's `PATH`. It is \
             started in the release's own folder.",
        ),
        key(
            "env",
            VARIABLES,
            "none",
            "Environment variables. `#{NAME}#` stands for a variable's value; what is secret belongs in `secrets`. Names that start \
             with `STAITH_` are set by Staith.",
        ),
        key(
            "supervisor",
            Shape::Word(&["systemd", "staith"]),
            "`\"systemd\"`",
            "Who keeps it running: `systemd`, by a unit; or `staith`, Staith's own program on the machine, for which neither systemd \
             nor the superuser is needed. That one gives it `PORT`, and nobody starts it again with the machine.",
        ),
        key("user", Shape::Text(&ACCOUNT), "the account that deploys", "The account that it runs as."),
        key(
            "stop",
            Shape::Text(&DURATION),
            "`\"10s\"`",
            "How long the program is given to end after it was asked to.",
        ),
    ],
    elsewhere: ELSEWHERE,
};

/// A unit that is there already.
pub(in crate::pipeline) const UNIT_KEYS: Keys = Keys {
    known: &[key(
        "existing-unit",
        Shape::Text(&UNIT),
        REQUIRED,
        "A systemd unit that is on the machines already, without `.service`; it is restarted.",
    )],
    elsewhere: ELSEWHERE,
};

/// Programs of the machine.
pub(in crate::pipeline) const COMMAND_KEYS: Keys = Keys {
    known: &[
        key(
            "restart",
            ARGUMENTS,
            REQUIRED,
            "A program that restarts whatever has to be, with its arguments; run in the release's folder with `STAITH_RELEASE` and \
             `STAITH_FOLDER`.",
        ),
        key("stop", ARGUMENTS, "nothing", "What stops it, for machines that get no release any more."),
    ],
    elsewhere: ELSEWHERE,
};

const EXAMPLE: &str = "service = { run = [\"./server\"] }";

/// `service` of an environment; its unit is called as the project where it says nothing else.
pub(super) fn read(table: &Table<'_>, project: Option<&Name>) -> Option<Service> {
    let Some(entry) = table.entry("service") else {
        table.missing("service", EXAMPLE);
        return None;
    };
    if entry.value.get_ref().is_str() {
        return table.text("service", only_files).map(|service| service.value);
    }
    let Some(inner) = entry.value.get_ref().as_table() else {
        table.wrong_kind(
            "service",
            entry.value,
            "a table or a text",
            format!("write `{EXAMPLE}` or `service = \"files\"`"),
        );
        return None;
    };
    let below =
        |keys| Table::below(format!("the service of {}", table.title()), entry.value, keys, table.problems());
    if inner.contains_key("existing-unit") {
        let unit = below(&UNIT_KEYS)?.text("existing-unit", unit_name)?;
        return Some(Service::Unit { unit: unit.value });
    }
    if inner.contains_key("restart") {
        let service = below(&COMMAND_KEYS)?;
        let restart = program(&service, "restart", "restart = [\"systemctl\", \"reload\", \"nginx\"]");
        let stop = match service.has("stop") {
            true => Some(program(&service, "stop", "stop = [\"systemctl\", \"stop\", \"nginx\"]")?),
            false => None,
        };
        return Some(Service::Command { restart: restart?, stop });
    }
    program_of_ours(&below(&SYSTEMD_KEYS)?, project)
}

fn program_of_ours(service: &Table<'_>, project: Option<&Name>) -> Option<Service> {
    let unit = match service.has("unit") {
        true => service.text("unit", unit_name).map(|unit| unit.value),
        false => project.map(Name::to_string),
    };
    let command = program(service, "run", "run = [\"./server\"]");
    let user = match service.has("user") {
        true => Some(service.text("user", account)?.value),
        false => None,
    };
    let env = variables::values(variables::env(service, variable));
    let stop_seconds = seconds(service, "stop", 1, DEFAULT_STOP_SECONDS);
    let by_staith = match service.has("supervisor") {
        true => service.text("supervisor", supervisor)?.value,
        false => false,
    };
    if !by_staith {
        return Some(Service::Systemd { unit: unit?, command: command?, env, user, stop_seconds });
    }
    if let Some(entry) = service.entry("unit") {
        service.problems().add(Problem::at(
            entry.key_place,
            format!("{} names a unit, and Staith's own program keeps it running", service.title()),
            "no unit is written for it",
            "remove `unit`, or `supervisor`",
        ));
        return None;
    }
    Some(Service::Supervised { command: command?, env, user, stop_seconds })
}

/// Whether Staith's own program keeps it running.
fn supervisor(text: &str) -> Understood<bool> {
    match text {
        "staith" => Ok(true),
        "systemd" => Ok(false),
        _ => complaint(
            "has an unknown value",
            format!("{} keeps no service running", quoted(text)),
            "write \"systemd\" for a unit, or \"staith\" where there is no systemd",
        ),
    }
}

fn only_files(text: &str) -> Understood<Service> {
    match text {
        "files" => Ok(Service::Files),
        _ => complaint(
            "has an unknown value",
            format!("{} is no service", quoted(text)),
            format!("write `{EXAMPLE}` for a program, or \"files\" where nothing has to be started"),
        ),
    }
}

fn unit_name(text: &str) -> Understood<String> {
    if let Some(name) = text.strip_suffix(".service") {
        return complaint(
            "ends with `.service`",
            "units are named without it here",
            format!("write {name:?}"),
        );
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || ":_.@-".contains(c);
    if (1..=200).contains(&text.len()) && text.chars().all(fits) && !text.starts_with(['-', '.']) {
        return Ok(text.to_owned());
    }
    complaint(
        "is not a unit's name",
        format!("{} can't be a systemd unit", quoted(text)),
        "write letters, digits, `:`, `-`, `_`, `.` and `@`",
    )
}

fn variable(text: &str) -> Understood<String> {
    if text.starts_with("STAITH_") {
        return complaint(
            "sets a reserved variable",
            "variables that start with `STAITH_` are set by Staith",
            "choose another name",
        );
    }
    values::variable(text)
}

fn account(text: &str) -> Understood<String> {
    match Access::user(text) {
        Ok(account) if !account.contains('\\') => Ok(account),
        _ => complaint(
            "is not an account",
            format!("{} can't be an account", quoted(text)),
            "write the account's name: letters, digits, `-`, `_` and `.`",
        ),
    }
}
