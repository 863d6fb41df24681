//! What steps and services may use: limits, time, network; and `[defaults]`, which steps inherit.

use std::{collections::BTreeMap, ops::Range};

use staith_model::{Limits, Network, Placement};
use toml::de::DeValue;

use super::{
    amounts,
    condition::Known,
    images,
    keys::{DURATION, Keys, SIZE, Shape, VARIABLES, key},
    placement,
    values::{self, Complaint, Understood},
    variables,
    walk::{Placed, Table},
};

/// What holds for each step that says nothing else.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    pub(super) image: Option<String>,
    pub(super) limits: Limits,
    pub(super) timeout_seconds: Option<u64>,
    pub(super) network: Option<Placed<Network>>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) runner: Placement,
}

pub(super) const CPU: Shape = Shape::Number { least: 0.01, most: 1024.0 };
pub(super) const PROCESSES: Shape = Shape::Whole { least: 1, most: MOST_PROCESSES };
const MOST_PROCESSES: u64 = 4_194_304;
pub(super) const NETWORKS: [&str; 3] = ["none", "loopback", "outbound"];

/// Words for limits that other tools use.
pub(super) const KEYS: Keys = Keys {
    known: &[
        key("memory", Shape::Text(&SIZE), "half of the host's", "Memory that each step may use."),
        key("cpu", CPU, "the host's", "Processors that each step may use."),
        key("processes", PROCESSES, "the host's", "Processes and threads that each step may have at once."),
        key("disk", Shape::Text(&SIZE), "the host's", "Bytes that each step may write, as `disk` of a step."),
        key("timeout", Shape::Text(&DURATION), "`\"30m\"`", "Each step is ended after this time."),
        key("network", Shape::Word(&NETWORKS), "`\"loopback\"`", "What each step may reach."),
        key(
            "env",
            VARIABLES,
            "none",
            "Environment variables of every step; those of a step itself come on top.",
        ),
    ],
    elsewhere: &[
        ("cpus", "cpu"),
        ("mem", "memory"),
        ("pids", "processes"),
        ("storage", "disk"),
        ("environment", "env"),
        ("variables", "env"),
    ],
};

/// `[defaults]`, and `image` and `runner` at the top of the file.
pub(super) fn defaults(file: &Table<'_>, known: &Known<'_>) -> Defaults {
    let image = images::read(file);
    images::check_templates(file, known, &[]);
    let runner = placement::read(file).unwrap_or_default();
    let top = Defaults { image, runner, ..Defaults::default() };
    let Some(entry) = file.entry("defaults") else { return top };
    let Some(table) = Table::below("`defaults`".into(), entry.value, &KEYS, file.problems()) else {
        return top;
    };
    let env = variables::env(&table, variables::step_variable);
    variables::check_templates(&table, &env, known);
    Defaults {
        limits: limits(&table, &Limits::default()),
        timeout_seconds: timeout(&table),
        network: network(&table),
        env: variables::values(env),
        ..top
    }
}

/// The limits of a table; those that it does not have are inherited.
pub(super) fn limits(table: &Table<'_>, inherited: &Limits) -> Limits {
    let size = |key, understand: fn(&str) -> Understood<u64>| {
        table.text(key, understand).map(|size: Placed<u64>| size.value)
    };
    Limits {
        memory: size("memory", amounts::memory).or(inherited.memory),
        processes: table.number("processes", 1, MOST_PROCESSES).or(inherited.processes),
        cpu_milli: cpu_milli(table).or(inherited.cpu_milli),
        disk: size("disk", amounts::disk).or(inherited.disk),
    }
}

pub(super) fn timeout(table: &Table<'_>) -> Option<u64> {
    table.text("timeout", |text| amounts::seconds(text, 1)).map(|timeout| timeout.value)
}

pub(super) fn network(table: &Table<'_>) -> Option<Placed<Network>> {
    let words = [("none", Network::None), ("loopback", Network::Loopback), ("outbound", Network::Outbound)];
    table.text("network", |text| values::choice(text, &words))
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
            out_of_range(table, entry.value.span(), help);
            None
        }
    }
}

fn out_of_range(table: &Table<'_>, place: Range<usize>, help: &str) {
    let complaint = Complaint {
        what: "is out of range".into(),
        label: "this is outside 0.01 to 1024".into(),
        help: help.into(),
    };
    table.complain("cpu", place, complaint);
}
