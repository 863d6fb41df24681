//! The `[environments.*]` tables: where packages are released. `local` reads those on this machine, `fleet` those of machines;
//! `kind` says which of them a table is.

use staith_model::{FleetEnvironment, LocalEnvironment, Name, Provision};

use super::{
    amounts,
    keys::{Keys, Shape},
    problems::Problem,
    values,
    walk::{Entry, Table, in_file_order},
};

pub(super) mod fleet;
pub(super) mod health;
pub(super) mod hooks;
mod kind;
pub(super) mod local;
mod order;
pub(super) mod provision;
pub(super) mod rollout;
mod schema;
pub(super) mod service;
mod settings;
pub(super) mod targets;
pub(super) mod traffic;
mod windows;

use fleet::KEYS as FLEET_KEYS;
use local::KEYS;
pub(super) use order::ordered;

/// An environment of either kind.
pub(super) const SHAPE: Shape = Shape::Either(&[Shape::Table(&KEYS), Shape::Table(&FLEET_KEYS)]);

/// Environments of a file at most: nobody oversees more, and some checks look at each pair.
pub(super) const MOST_ENVIRONMENTS: usize = 100;

/// Where a project's packages are released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Where, and how it runs there.
    pub environment: Environment,
    /// What is released there.
    pub package: Name,
    /// Environments that come before this one.
    pub after: Vec<Name>,
    /// How its machines come about, where Staith has them made.
    pub provision: Option<Provision>,
}

/// An environment of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Environment {
    /// Two pools behind a proxy on this machine.
    Local(LocalEnvironment),
    /// Machines.
    Fleet(FleetEnvironment),
}

impl Environment {
    /// What people call it.
    pub const fn name(&self) -> &Name {
        match self {
            Self::Local(environment) => &environment.name,
            Self::Fleet(environment) => &environment.name,
        }
    }

    /// The environment, if it is on this machine.
    pub const fn local(&self) -> Option<&LocalEnvironment> {
        match self {
            Self::Local(environment) => Some(environment),
            Self::Fleet(_) => None,
        }
    }

    /// The environment, if it has machines.
    pub const fn fleet(&self) -> Option<&FleetEnvironment> {
        match self {
            Self::Fleet(environment) => Some(environment),
            Self::Local(_) => None,
        }
    }
}

/// All environments, in the order of the file; `project` names what they leave unnamed.
pub(super) fn read(file: &Table<'_>, packages: &[Name], project: Option<&Name>) -> Vec<Destination> {
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
    if let Some(first) = entries.get(MOST_ENVIRONMENTS) {
        file.problems().add(Problem::at(
            first.key_place.clone(),
            format!("there are {} environments; {MOST_ENVIRONMENTS} is the most", entries.len()),
            "this and those below are too many",
            "machines that get the same release at the same time are targets of one environment",
        ));
        return Vec::new();
    }
    let after = order::read(&entries, file.problems());
    let mut listening = Vec::new();
    let mut destinations = Vec::new();
    for (entry, after) in entries.iter().zip(after) {
        let read = environment(entry, packages, project, file, &mut listening);
        destinations.extend(read.map(|(environment, package, provision)| Destination {
            environment,
            package,
            after,
            provision,
        }));
    }
    destinations
}

fn environment(
    entry: &Entry<'_>,
    packages: &[Name],
    project: Option<&Name>,
    file: &Table<'_>,
    listening: &mut Vec<(std::net::SocketAddr, std::ops::Range<usize>)>,
) -> Option<(Environment, Name, Option<Provision>)> {
    let problems = file.problems();
    let name = values::name(entry.key).map_err(|complaint| {
        let message = format!("an environment's name {}", complaint.what);
        problems.add(Problem::at(entry.key_place.clone(), message, complaint.label, complaint.help));
    });
    if name.as_ref().is_ok_and(Name::is_reserved) {
        problems.add(Problem::at(
            entry.key_place.clone(),
            "an environment's name begins with `staith.`",
            "names like this are Staith's own",
            "call it otherwise",
        ));
    }
    let kind = kind::of(entry);
    if kind::refuse_protection(entry, problems) | kind::refuse_mixture(entry, kind, problems) {
        return None;
    }
    let keys: &'static Keys = match kind {
        kind::Kind::Local => &KEYS,
        kind::Kind::Fleet => &FLEET_KEYS,
    };
    let table = Table::below(format!("environment `{}`", entry.key), entry.value, keys, problems)?;
    match kind {
        kind::Kind::Local => local::environment(name.ok(), &table, packages, listening)
            .map(|(environment, package)| (Environment::Local(environment), package, None)),
        kind::Kind::Fleet => fleet::environment(name.ok(), &table, packages, project)
            .map(|(environment, package, provision)| (Environment::Fleet(environment), package, provision)),
    }
}

fn seconds(table: &Table<'_>, key: &str, least: u64, default: u64) -> u64 {
    table.text(key, |text| amounts::seconds(text, least)).map_or(default, |seconds| seconds.value)
}

fn count(table: &Table<'_>, key: &str, least: u32, most: u32, default: u32) -> u32 {
    let number = table.number(key, least.into(), most.into());
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or(default)
}
