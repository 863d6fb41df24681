//! The `[services.*]` tables.

use std::collections::BTreeSet;

use staith_model::{Limits, Name, Readiness, ServicePlan};

use super::{
    amounts, commands,
    condition::Known,
    images,
    keys::{DURATION, IMAGE, Keys, REQUIRED, SCRIPT_OR_ARGUMENTS, SECRETS, SIZE, Shape, VARIABLES, key},
    problems::{Problem, Problems, quoted},
    resources::{self, CPU, PROCESSES},
    suggest::{closest, listed},
    values, variables,
    walk::{Entry, Placed, Table, in_file_order},
};

const DEFAULT_READY_SECONDS: u64 = 60;

const PORT: Shape = Shape::Whole { least: 1, most: MOST_PORT };
const MOST_PORT: u64 = u16::MAX as u64;

pub(super) const KEYS: Keys = Keys {
    known: &[
        key(
            "image",
            Shape::Text(&IMAGE),
            "the file's `image`",
            "Its root file system. A service has an `image`, `run`, or both.",
        ),
        key(
            "run",
            SCRIPT_OR_ARGUMENTS,
            "what the image says",
            "What it runs: as `run` of a step, but it is to go on, in the foreground, until the step that names it has ended.",
        ),
        key(
            "env",
            VARIABLES,
            "none",
            "Environment variables. `PATH` can't be set, nor can names that start with `STAITH_`.",
        ),
        key("secrets", SECRETS, "none", "As `secrets` of a step."),
        key(
            "ready",
            Shape::Table(&READY_KEYS),
            REQUIRED,
            "How it shows that it can be used: `{ port = 5432 }`, once it accepts connections there, or \
             `{ run = \"pg_isready\" }`, once this command in its sandbox succeeds and its `ports` accept connections, too. A \
             step that names it starts after that.",
        ),
        key(
            "within",
            Shape::Text(&DURATION),
            "`\"60s\"`",
            "Time that it has for that. After it, the step is not run, and the environment is to blame.",
        ),
        key(
            "ports",
            Shape::List { of: &PORT, filled: true },
            "that of `ready`",
            "Ports at which steps reach it, beside that of `ready`. A service whose `ready` is a command needs them.",
        ),
        key("memory", Shape::Text(&SIZE), "half of the host's", "As `memory` of a step."),
        key("cpu", CPU, "the host's", "As `cpu` of a step."),
        key("processes", PROCESSES, "the host's", "As `processes` of a step."),
        key("disk", Shape::Text(&SIZE), "the host's", "As `disk` of a step."),
    ],
    elsewhere: &[
        ("command", "run"),
        ("cmd", "run"),
        ("environment", "env"),
        ("variables", "env"),
        ("health", "ready"),
        ("healthcheck", "ready"),
        ("health-check", "ready"),
        ("port", "ready"),
        ("expose", "ports"),
        ("timeout", "within"),
        ("deadline", "within"),
        ("cpus", "cpu"),
        ("mem", "memory"),
        ("storage", "disk"),
    ],
};

pub(super) const READY_KEYS: Keys = Keys {
    known: &[
        key("port", PORT, "this or `run`", "It is ready once it accepts connections on this port."),
        key(
            "run",
            SCRIPT_OR_ARGUMENTS,
            "this or `port`",
            "It is ready once this command in its sandbox succeeds.",
        ),
    ],
    elsewhere: &[("command", "run"), ("cmd", "run"), ("test", "run"), ("tcp", "port")],
};

/// All services, in the order of the file.
pub(super) fn read(file: &Table<'_>, image: &Option<String>, known: &Known<'_>) -> Services {
    let Some(entry) = file.entry("services") else { return Services::default() };
    let Some(entries) = entry.value.get_ref().as_table() else {
        let help = "each service is a table by its name: `[services.db]`";
        file.wrong_kind("services", entry.value, "a table", help.into());
        return Services::default();
    };
    let entries = in_file_order(entries);
    let names = entries.iter().map(|entry| entry.key.to_owned()).collect();
    let plans =
        entries.into_iter().filter_map(|entry| service(entry, image, known, file.problems())).collect();
    Services { names, plans }
}

/// The services of a file.
#[derive(Debug, Default)]
pub(super) struct Services {
    /// Keys of the tables, of those too that are wrong.
    names: Vec<String>,
    pub(super) plans: Vec<ServicePlan>,
}

impl Services {
    /// `services` of a step: each known, and none twice.
    pub(super) fn of_step(&self, table: &Table<'_>) -> Vec<Name> {
        let mut found: Vec<Name> = Vec::new();
        for name in table.filled_list("services", |text| Ok(text.to_owned())).unwrap_or_default() {
            if !self.names.contains(&name.value) {
                table.problems().add(self.unknown(&name));
            } else if found.iter().any(|other| other.as_str() == name.value) {
                let message = format!("`services` names `{}` twice", name.value);
                table.problems().add(Problem::at(name.place, message, "here again", "name it once"));
            } else {
                found.extend(name.value.parse::<Name>());
            }
        }
        found
    }

    fn unknown(&self, name: &Placed<String>) -> Problem {
        let names = || self.names.iter().map(String::as_str);
        let help = match closest(&name.value, names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if self.names.is_empty() => {
                "add it: a table `[services.db]` with an `image` and how it is `ready`".to_owned()
            }
            None => format!("the file's services: {}", listed(names())),
        };
        let message = format!("{} is no service", quoted(&name.value));
        Problem::at(name.place.clone(), message, "no service has this name", help)
    }
}

fn service<'t>(
    entry: Entry<'t>,
    image: &Option<String>,
    known: &Known<'_>,
    problems: &'t Problems,
) -> Option<ServicePlan> {
    let name = service_name(&entry, problems);
    let title = format!("service `{}`", entry.key);
    let table = Table::below(title, entry.value, &KEYS, problems)?;
    let image = images::or_inherited(&table, image);
    images::check_templates(&table, known, &[]);
    let command = commands::optional(&table);
    commands::refuse_templates(&table, known);
    if !table.has("image") && !table.has("run") {
        table.missing("image", "image = \"postgres:16\"` or `run = \"...\"");
    } else if image.is_none() && !table.has("run") && images::names_host(&table) {
        table.missing("run", "run = \"...\"");
    }
    let env = variables::env(&table, variables::step_variable);
    variables::check_templates(&table, &env, known);
    let secrets = variables::secrets(&table, &env);
    let ready = ready(&table);
    let ports = ports(&table, ready.as_ref());
    let within = table.text("within", |text| amounts::seconds(text, 1));
    let limits = resources::limits(&table, &Limits::default());
    Some(ServicePlan {
        name: name?,
        image,
        command,
        env: variables::values(env),
        secrets,
        ports,
        ready: ready?,
        ready_seconds: within.map_or(DEFAULT_READY_SECONDS, |within| within.value),
        limits,
    })
}

/// A service's name is its host name, too.
fn service_name(entry: &Entry<'_>, problems: &Problems) -> Option<Name> {
    let is_host = |name: &Name| !name.as_str().contains('_') && !name.as_str().ends_with(['-', '.']);
    let complaint = match values::name(entry.key) {
        Ok(name) if is_host(&name) && name.as_str() != "localhost" => return Some(name),
        Ok(_) => values::Complaint {
            what: "is no host name".into(),
            label: format!("steps could not reach {}", quoted(entry.key)),
            help: "use letters, digits and `-` inside; `localhost` is the step itself".into(),
        },
        Err(complaint) => complaint,
    };
    let message = format!("a service's name {}", complaint.what);
    problems.add(Problem::at(entry.key_place.clone(), message, complaint.label, complaint.help));
    None
}

/// Where steps reach it: that of its readiness, and what `ports` says; ascending, each once.
fn ports(table: &Table<'_>, ready: Option<&Readiness>) -> Vec<u16> {
    let listed = table.filled_numbers("ports", 1, MOST_PORT).unwrap_or_default();
    let listed = listed.into_iter().filter_map(|port| u16::try_from(port).ok());
    let all: BTreeSet<u16> = ready.and_then(Readiness::port).into_iter().chain(listed).collect();
    if let (Some(Readiness::Command(_)), Some(entry), false) =
        (ready, table.entry("ready"), table.has("ports"))
    {
        table.problems().add(Problem::at(
            entry.value.span(),
            "the service names no port",
            "a command tells when it is ready, and nothing says where steps reach it",
            "add the ports at which it listens: `ports = [5432]`",
        ));
    }
    all.into_iter().collect()
}

fn ready(table: &Table<'_>) -> Option<Readiness> {
    let Some(entry) = table.entry("ready") else {
        table.missing("ready", "ready = { port = 5432 }");
        return None;
    };
    let ready = Table::below("`ready`".into(), entry.value, &READY_KEYS, table.problems())?;
    let (port, run) = (ready.number("port", 1, MOST_PORT), commands::optional(&ready));
    match (ready.entry("port"), ready.entry("run")) {
        (None, None) => {
            ready.missing("port", "port = 5432` or `run = \"...\"");
            None
        }
        (Some(_), Some(run)) => {
            table.problems().add(Problem::at(
                run.key_place,
                "`ready` asks for two things",
                "a port is asked for, too",
                "keep `port` or `run`; a command can look at the port itself",
            ));
            None
        }
        (Some(_), None) => Some(Readiness::Port(u16::try_from(port?).ok()?)),
        (None, Some(_)) => Some(Readiness::Command(run?)),
    }
}
