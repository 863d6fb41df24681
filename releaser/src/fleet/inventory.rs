//! Who the machines of an environment are, when some of them are named by a program or a file.
//!
//! `fetch` gets the text, `read` understands it (pure), `ansible` and `terraform` bring what those programs print into the form
//! that `read` knows. What comes in is somebody else's text: it is bounded, and every mistake is told with the entry and what is
//! wrong with it.

use std::{collections::BTreeMap, path::Path};

use staith_model::{Access, Digest, FleetEnvironment, Inventory, Name, Rollout, Target};
use tokio_util::sync::CancellationToken;

mod ansible;
mod error;
mod fetch;
mod read;
mod terraform;
#[cfg(test)]
mod tests;

pub use error::InventoryError;
pub use fetch::PATIENCE;
pub(super) use read::read_trusting;
pub use read::{Form, read};

/// Machines of an environment at most.
const MOST_TARGETS: usize = 5000;

/// All machines of an environment: those of `runner.toml`, then those of the inventory, each with a name that no other has.
/// `folder` is the project's folder, in which a command runs and below which a file lies.
///
/// Cancel-safe: a program that still runs is ended, and all that it started in its process group.
///
/// # Errors
/// The inventory can't be had or understood, names a machine twice, or leaves the environment without machines.
pub async fn resolve(
    environment: &FleetEnvironment,
    project: &Name,
    folder: &Path,
    cancel: &CancellationToken,
) -> Result<Vec<Target>, InventoryError> {
    let found = match &environment.inventory {
        None => Vec::new(),
        Some(inventory) => {
            let from = name_of(inventory);
            let (text, form) = match inventory {
                Inventory::Command(command) => {
                    let known = [("STAITH_PROJECT", project), ("STAITH_ENVIRONMENT", &environment.name)];
                    (fetch::output(command, folder, &known, cancel).await?, Form::Json)
                }
                Inventory::File(file) => (fetch::file(file, folder).await?, Form::of_file(file)),
            };
            read(&text, form, &from)?
        }
    };
    let from = environment.inventory.as_ref().map(name_of).unwrap_or_default();
    let targets = together(&environment.targets, found, &from)?;
    if targets.is_empty() {
        return Err(InventoryError::Nobody { environment: environment.name.to_string(), from });
    }
    refuse_pools(&targets, &environment.rollout, &from)?;
    Ok(targets)
}

/// The environment with those machines beside its own that its provision made.
///
/// # Errors
/// A machine is named twice.
pub fn with_provisioned(
    environment: FleetEnvironment,
    made: Vec<Target>,
) -> Result<FleetEnvironment, InventoryError> {
    let targets = together(&environment.targets, made, "provision")?;
    Ok(FleetEnvironment { targets, ..environment })
}

/// What people call an inventory.
fn name_of(inventory: &Inventory) -> String {
    match inventory {
        Inventory::Command(command) => command.first().cloned().unwrap_or_default(),
        Inventory::File(file) => file.clone(),
    }
}

/// Machines of both sources, with names that differ. Names in `named` stay as they are. Those that were found under one name all
/// get their hosts into their names, so that a machine's name does not depend on who stands before it.
fn together(named: &[Target], found: Vec<Target>, from: &str) -> Result<Vec<Target>, InventoryError> {
    let mut targets = named.to_vec();
    let wrong = |target: &Target, why: String| InventoryError::Entry {
        from: from.to_owned(),
        entry: format!("`{}`", target.name),
        why,
    };
    let mut times: BTreeMap<Name, usize> = BTreeMap::new();
    for target in named.iter().chain(&found) {
        *times.entry(target.name.clone()).or_default() += 1;
    }
    for mut target in found {
        if let Some(same) = targets.iter().find(|other| is_same_machine(&other.access, &target.access)) {
            return Err(wrong(&target, format!("it is the same machine as `{}`", same.name)));
        }
        if times.get(&target.name).is_some_and(|times| *times > 1) {
            target.name = with_host(&target);
        }
        if targets.iter().any(|other| other.name == target.name) {
            return Err(wrong(&target, "two machines have this name; give each a `name` of its own".into()));
        }
        targets.push(target);
    }
    if targets.len() > MOST_TARGETS {
        let why = format!("there are {} machines, and {MOST_TARGETS} is the most", targets.len());
        return Err(InventoryError::NotUnderstood { from: from.to_owned(), why });
    }
    Ok(targets)
}

/// Two machines that pull may be any.
fn is_same_machine(one: &Access, other: &Access) -> bool {
    match (one, other) {
        (Access::Ssh { host: one, port: at, .. }, Access::Ssh { host: other, port: of, .. }) => {
            one.eq_ignore_ascii_case(other) && at == of
        }
        // Two sites of one machine would share the environment's folder.
        (Access::Windows { host: one, port: at, .. }, Access::Windows { host: other, port: of, .. }) => {
            one.eq_ignore_ascii_case(other) && at == of
        }
        (Access::Local, Access::Local) => true,
        _ => false,
    }
}

/// A target's name with that of its host.
fn with_host(target: &Target) -> Name {
    let place = match &target.access {
        Access::Ssh { host, port: Some(port), .. } | Access::Windows { host, port: Some(port), .. } => {
            format!("{host}-{port}")
        }
        Access::Ssh { host, .. } | Access::Windows { host, .. } => host.clone(),
        Access::Local | Access::Pull => return target.name.clone(),
    };
    read::safe_name(&format!("{}-{place}", target.name)).unwrap_or_else(|| target.name.clone())
}

/// A name that is too long, with a digest of all of it at its end.
fn cut(text: &str) -> String {
    const LONGEST: usize = 63;
    const KEPT: usize = LONGEST - 13;
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let kept: String = text.chars().take(KEPT).collect();
    format!("{kept}-{}", Digest::of(text.as_bytes()).short())
}

fn refuse_pools(targets: &[Target], rollout: &Rollout, from: &str) -> Result<(), InventoryError> {
    let pools = match rollout {
        Rollout::BlueGreen { pools, .. } => Some(pools),
        _ => None,
    };
    for target in targets {
        let why = match (&target.pool, pools) {
            (Some(pool), Some(pools)) if !pools.contains(pool) => {
                format!(
                    "it is in pool `{pool}`, and the strategy's pools are `{}` and `{}`",
                    pools[0], pools[1]
                )
            }
            (None, Some(_)) => "it is in no pool, and the strategy has two".to_owned(),
            (Some(pool), None) => format!("it is in pool `{pool}`, and the strategy has no pools"),
            _ => continue,
        };
        return Err(InventoryError::Entry {
            from: from.to_owned(),
            entry: format!("`{}`", target.name),
            why,
        });
    }
    for pool in pools.into_iter().flatten() {
        if !targets.iter().any(|target| target.pool.as_ref() == Some(pool)) {
            let why = format!("no machine is in pool `{pool}`");
            return Err(InventoryError::NotUnderstood { from: from.to_owned(), why });
        }
    }
    Ok(())
}
