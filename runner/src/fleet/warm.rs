//! Pools that served before a swap and are kept for a time: stopped by whoever comes next, when that is over.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use staith_model::{Exit, FleetEnvironment, FleetState, Name, Rollout};
use staith_releaser::{
    fleet::drive::{Cooled, Deployer, FleetDriveError, Judge, NoGates, StageWatch},
    host::write_durably,
};

use super::{Site, log_of, site::fleet_of};
use crate::{clock, home::Home, output::Problem};

/// The environment as it was when somebody deployed to it last. That it is there says at a glance that pools are kept for a time; when
/// that is over, and on which machines, is in the ledger.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    environment: FleetEnvironment,
}

fn marker(directory: &Path) -> PathBuf {
    directory.join("warm.json")
}

impl Site {
    /// Notes how this environment is reached, if it keeps pools for a time: a sweep knows no project's folder. Before a deployment
    /// begins, because whoever drives it may die at its end.
    pub(super) fn note_pools_that_are_kept(&self) -> Result<(), Problem> {
        if !matches!(self.environment.rollout, Rollout::BlueGreen { keep_warm_seconds: Some(_), .. }) {
            return Ok(());
        }
        let path = marker(&self.directory);
        let bytes = serde_json::to_vec(&Kept { environment: self.environment.clone() }).unwrap_or_default();
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        write_durably(&path, &bytes).map_err(|refused| {
            Problem::new(Exit::Environment, format!("{} can't be written", path.display()))
                .with_why(refused.to_string())
        })
    }
}

/// Environments of this home with a pool whose time is over at `now`. What can't be read is left out, and told by the command that is
/// about it.
pub(crate) fn overwarm(home: &Home, now: u64) -> Vec<(Name, Name)> {
    let mut found = Vec::new();
    for project in names_in(&home.environments()) {
        for environment in names_in(&home.environments().join(project.as_str())) {
            let is_over = |state: FleetState| state.overdue(now).is_some();
            if marker(&home.environment(&project, &environment)).exists()
                && state_of(home, &project, &environment).is_ok_and(is_over)
            {
                found.push((project.clone(), environment));
            }
        }
    }
    found
}

/// Stops the services of the pool that served in an environment before the last swap, if its time is over.
///
/// # Errors
/// What deploying there needs can't be had, the ledger or the traffic provider can't be read, or another process has taken over.
pub(crate) async fn cool(home: &Home, project: &Name, environment: &Name) -> Result<Cooled, Problem> {
    let state = state_of(home, project, environment)?;
    let Some(warm) = state.overdue(clock::unix_millis()) else { return Ok(Cooled::Nothing) };
    let path = marker(&home.environment(project, environment));
    let unreadable = |why: String| {
        Problem::new(Exit::Environment, format!("{} can't be read", path.display()))
            .with_why(why)
            .with_remedy("the next deployment writes it anew")
    };
    let bytes = fs::read(&path).map_err(|refused| unreadable(refused.to_string()))?;
    let kept: Kept = serde_json::from_slice(&bytes).map_err(|damage| unreadable(damage.to_string()))?;
    // The machines of that deployment, as its plan has them: no inventory is asked.
    let plan = state.deployment(&warm.deployment).map(|record| &record.plan);
    let targets =
        plan.into_iter().flat_map(|plan| plan.targets.iter().map(|one| one.target.clone())).collect();
    let of = (project, &kept.environment);
    let nobody: (Arc<dyn Judge>, StageWatch) = (Arc::new(NoGates), Arc::new(|_, _| {}));
    // Machines that pull are reached through a server only, whose deployer sees to them itself.
    let fleet = fleet_of(home, of, targets, (None, &BTreeMap::new()), nobody).await?;
    Ok(Deployer { fleet, stay: false }.cool().await?)
}

fn state_of(home: &Home, project: &Name, environment: &Name) -> Result<FleetState, FleetDriveError> {
    let entries = log_of(home, project, environment).since(0)?;
    Ok(FleetState::of(entries.iter().map(|entry| (entry.at, &entry.event))))
}

fn names_in(directory: &Path) -> Vec<Name> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<Name> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    names.sort();
    names
}
