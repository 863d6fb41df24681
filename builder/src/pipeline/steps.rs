//! The `[steps.*]` tables.

use std::collections::BTreeMap;

use staith_model::{Command, Limits, Network, StepKind};
use toml::{Spanned, de::DeValue};

use super::{
    Step, amounts,
    problems::{Problem, Problems},
    values::{self, Complaint},
    walk::{Entry, Keys, Placed, Table, in_file_order},
};

/// A step's layer is one of overlayfs's lower directories, and those are limited; no person oversees as many steps.
const MOST_STEPS: usize = 200;
const DEFAULT_TIMEOUT_SECONDS: u64 = 30 * 60;

const KEYS: Keys = Keys {
    known: &[
        "run",
        "needs",
        "inputs",
        "outputs",
        "reports",
        "env",
        "network",
        "timeout",
        "workdir",
        "memory",
        "cpu",
        "processes",
        "kind",
    ],
    elsewhere: &[
        ("command", "run"),
        ("cmd", "run"),
        ("script", "run"),
        ("depends", "needs"),
        ("depends_on", "needs"),
        ("depends-on", "needs"),
        ("dependencies", "needs"),
        ("after", "needs"),
        ("artifacts", "outputs"),
        ("environment", "env"),
        ("variables", "env"),
        ("cwd", "workdir"),
        ("dir", "workdir"),
        ("working-directory", "workdir"),
        ("cpus", "cpu"),
        ("mem", "memory"),
        ("pids", "processes"),
        ("junit", "reports"),
        ("type", "kind"),
    ],
};

/// A step as far as it could be read; what others refer to is kept even where the step itself is wrong.
pub(super) struct Draft {
    /// The table's key, be it a name or not.
    pub(super) key: Placed<String>,
    pub(super) needs: Vec<Placed<String>>,
    pub(super) outputs: Vec<Placed<String>>,
    pub(super) is_build: bool,
    /// None where the step has a problem.
    pub(super) step: Option<Step>,
}

/// All steps, in the order of the file.
pub(super) fn read<'t>(file: &Table<'t>) -> Vec<Draft> {
    let Some(steps) = file.entry("steps") else {
        file.missing("steps", "[steps.build]` with `run = \"...\"");
        return Vec::new();
    };
    let Some(entries) = steps.value.get_ref().as_table() else {
        file.wrong_kind(
            "steps",
            steps.value,
            "a table",
            "each step is a table by its name: `[steps.build]`".into(),
        );
        return Vec::new();
    };
    let entries = in_file_order(entries);
    if entries.is_empty() {
        let help = "add a step: `[steps.build]` with `run = \"...\"`";
        file.problems().add(Problem::at(
            steps.key_place,
            "there are no steps",
            "nothing is in this table",
            help,
        ));
    }
    if let Some(beyond) = entries.get(MOST_STEPS) {
        let message = format!("there are {} steps; {MOST_STEPS} is the most", entries.len());
        let help = "let one step run several commands";
        file.problems().add(Problem::at(beyond.key_place.clone(), message, "one too many", help));
        return Vec::new();
    }
    entries.into_iter().map(|entry| draft(entry, file.problems())).collect()
}

fn draft<'t>(entry: Entry<'t>, problems: &'t Problems) -> Draft {
    let key = Placed { value: entry.key.to_owned(), place: entry.key_place.clone() };
    let Some(table) = Table::below(format!("step `{}`", entry.key), entry.value, &KEYS, problems) else {
        return Draft { key, needs: Vec::new(), outputs: Vec::new(), is_build: false, step: None };
    };
    let needs = table.list("needs", |text| Ok(text.to_owned())).unwrap_or_default();
    let outputs = table.filled_list("outputs", values::glob).unwrap_or_default();
    let step = read_step(&entry, &table, &outputs);
    let kind = table.entry("kind").and_then(|kind| kind.value.get_ref().as_str());
    let is_build = kind.unwrap_or(entry.key) == "build";
    Draft { key, needs, outputs, is_build, step }
}

fn read_step(entry: &Entry<'_>, table: &Table<'_>, outputs: &[Placed<String>]) -> Option<Step> {
    let name = step_name(entry, table.problems());
    let command = command(table);
    let kind = table.text("kind", values::name).map(|kind| kind.value);
    let inputs = table.filled_list("inputs", values::glob);
    let reports = table.filled_list("reports", values::glob);
    let limits = Limits {
        memory: table.text("memory", amounts::bytes).map(|memory| memory.value),
        processes: table.number("processes", 1, 4_194_304),
        cpu_milli: cpu_milli(table),
        disk: None,
    };
    let network = table.text("network", network).map_or(Network::Loopback, |network| network.value);
    let timeout = table.text("timeout", |text| amounts::seconds(text, 1));
    let workdir = table.text("workdir", values::relative);
    let env = variables(table, step_variable);
    let name = name?;
    Some(Step {
        kind: step_kind(kind.unwrap_or_else(|| name.clone())),
        name,
        command: command?,
        workdir: workdir.map(|workdir| workdir.value),
        needs: Vec::new(),
        inputs: texts(inputs.unwrap_or_default()),
        outputs: texts(outputs.to_vec()),
        reports: texts(reports.unwrap_or_default()),
        env,
        network,
        timeout_seconds: timeout.map_or(DEFAULT_TIMEOUT_SECONDS, |timeout| timeout.value),
        limits,
    })
}

pub(super) fn texts(placed: Vec<Placed<String>>) -> Vec<String> {
    placed.into_iter().map(|item| item.value).collect()
}

fn step_name(entry: &Entry<'_>, problems: &Problems) -> Option<staith_model::Name> {
    values::name(entry.key)
        .map_err(|complaint| {
            let message = format!("a step's name {}", complaint.what);
            problems.add(Problem::at(entry.key_place.clone(), message, complaint.label, complaint.help));
        })
        .ok()
}

fn step_kind(name: staith_model::Name) -> StepKind {
    match name.as_str() {
        "lint" => StepKind::Lint,
        "restore" => StepKind::Restore,
        "build" => StepKind::Build,
        "unit-test" => StepKind::UnitTest,
        "integration-test" => StepKind::IntegrationTest,
        _ => StepKind::Other(name),
    }
}

fn command(table: &Table<'_>) -> Option<Command> {
    let Some(entry) = table.entry("run") else {
        table.missing("run", "run = \"...\"");
        return None;
    };
    match entry.value.get_ref() {
        DeValue::String(_) => table.text("run", script).map(|script| Command::Shell(script.value)),
        DeValue::Array(_) => arguments(table).map(Command::Argv),
        _ => {
            let help = "write `run = \"make\"` for a shell, or `run = [\"make\", \"all\"]` for a program and its arguments";
            table.wrong_kind("run", entry.value, "a text or a list", help.into());
            None
        }
    }
}

fn script(text: &str) -> values::Understood<String> {
    let says_something = text.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with('#'));
    if !says_something {
        return values::complaint(
            "is empty",
            "this runs nothing",
            "write the command to run, or remove the step",
        );
    }
    values::plain(text)
}

/// A program and its arguments: `run` as a list.
pub(super) fn arguments(table: &Table<'_>) -> Option<Vec<String>> {
    let list = table.list("run", values::plain)?;
    let program = list.first();
    if program.is_some_and(|program| !program.value.trim().is_empty()) {
        return Some(texts(list));
    }
    let place =
        program.map(|program| program.place.clone()).or_else(|| Some(table.entry("run")?.value.span()));
    let complaint = Complaint {
        what: "names no program".into(),
        label: "the first text in the list is the program".into(),
        help: "write the program's name first: `run = [\"make\", \"all\"]`".into(),
    };
    table.complain("run", place?, complaint);
    None
}

fn network(text: &str) -> values::Understood<Network> {
    let words = [("none", Network::None), ("loopback", Network::Loopback), ("outbound", Network::Outbound)];
    values::choice(text, &words)
}

/// Thousandths of a processor from a number such as `2` or `1.5`.
fn cpu_milli(table: &Table<'_>) -> Option<u64> {
    let entry = table.entry("cpu")?;
    let help = "write a number of processors from 0.01 to 1024, for example `1.5`, without quotes";
    let cpus: Option<f64> = match entry.value.get_ref() {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
        DeValue::Float(number) => number.as_str().parse().ok(),
        _ => {
            table.wrong_kind("cpu", entry.value, "a number", help.into());
            return None;
        }
    };
    match cpus.filter(|cpus| (0.01..=1024.0).contains(cpus)) {
        // In range, so the cast is exact to the thousandth.
        Some(cpus) => Some((cpus * 1000.0).round() as u64),
        None => {
            let complaint = Complaint {
                what: "is out of range".into(),
                label: "this is outside 0.01 to 1024".into(),
                help: help.into(),
            };
            table.complain("cpu", entry.value.span(), complaint);
            None
        }
    }
}

/// The variables of `env`; `allowed` says which names are refused and why.
pub(super) fn variables(
    table: &Table<'_>,
    allowed: impl Fn(&str) -> values::Understood<String>,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let Some(entry) = table.entry("env") else { return variables };
    let Some(entries) = entry.value.get_ref().as_table() else {
        table.wrong_kind("env", entry.value, "a table", "write `env = { NAME = \"value\" }`".into());
        return variables;
    };
    for Entry { key, key_place, value } in in_file_order(entries) {
        let name = allowed(key).map_err(|complaint| table.complain("env", key_place, complaint)).ok();
        let value = variable_value(table, key, value);
        if let (Some(name), Some(value)) = (name, value) {
            variables.insert(name, value);
        }
    }
    variables
}

fn variable_value(table: &Table<'_>, name: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
    table.understand(&format!("env.{name}"), value, values::plain).map(|value| value.value)
}

fn step_variable(name: &str) -> values::Understood<String> {
    if name == "PATH" {
        return values::complaint(
            "sets `PATH`",
            "a step's `PATH` comes from the host image and the declared tools",
            "declare the folder of the programs instead: `tools = [{ name = \"jdk\", path = \"/opt/jdk\" }]` at the top \
             of the file",
        );
    }
    if name.starts_with("STAITH_") {
        return values::complaint(
            "sets a reserved variable",
            "variables that start with `STAITH_` are set by Staith",
            "choose another name",
        );
    }
    values::variable(name)
}
