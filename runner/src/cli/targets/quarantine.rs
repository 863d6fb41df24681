//! `staith targets quarantine` and `staith targets reinstate`.

use std::{collections::BTreeSet, path::PathBuf};

use clap::Args;
use staith_builder::pipeline::closest;
use staith_model::{DeploymentState, Exit, FleetEvent, FleetState, Name, PaceKind, Rollout, Target};
use staith_releaser::{fleet::drive::FleetDriveError, ledger::Who};
use tokio_util::sync::CancellationToken;

use super::Which;
use crate::{
    cli::offered,
    fleet::Site,
    home::Home,
    interrupt,
    output::{self, OutputMode, Problem},
};

/// Take a machine out of deployments: plans leave it alone and give it no requests, until it is reinstated
///
/// It is written into the environment's ledger, with who and why, and shown wherever the machine is. What it serves now it goes on
/// serving: the next deployment takes it out of traffic.
#[derive(Debug, Args)]
pub(crate) struct Quarantine {
    #[command(flatten)]
    machine: Machine,
    /// Why; goes into the ledger
    #[arg(long, value_name = "TEXT", required = true)]
    reason: String,
}

/// Put a machine back into deployments; the next one brings it what it has missed
#[derive(Debug, Args)]
pub(crate) struct Reinstate {
    #[command(flatten)]
    machine: Machine,
    /// Why; goes into the ledger
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// A machine of an environment.
#[derive(Debug, Clone, Args)]
struct Machine {
    /// The machine, as runner.toml or the inventory calls it
    #[arg(value_name = "MACHINE")]
    target: Name,
    /// The environment, where several have a machine of this name
    #[arg(long, short, value_name = "ENVIRONMENT", add = offered::fleets())]
    environment: Option<Name>,
    /// The project's directory, with runner.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    project_dir: PathBuf,
}

/// An environment with what is known of its machines.
struct Known {
    site: Site,
    state: FleetState,
    targets: Vec<Target>,
}

impl Quarantine {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        if self.reason.trim().is_empty() {
            return Err(Problem::new(Exit::Usage, "a quarantine needs a reason").with_remedy(
                "say why with `--reason`: whoever sees the machine standing by will want to know",
            ));
        }
        let stop = interrupt::listen()?;
        let target = self.machine.target.clone();
        let known = self.machine.among(&stop.cancel, |known, name| known.has(name)).await?;
        let already = known.state.quarantined.get(&target) == Some(&self.reason);
        if !already {
            known.write(&target, true, self.reason.clone()).await?;
        }
        let nothing_left = known.leaves_nothing(&target);
        let environment = &known.site.environment.name;
        output::quarantine(environment, &target, Some(&self.reason), already, nothing_left, mode)
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

impl Reinstate {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let stop = interrupt::listen()?;
        let target = self.machine.target.clone();
        // One that was quarantined, if there is one; else it is told that the machine which is meant is in no quarantine.
        let is_out = |known: &Known, name: &Name| known.state.quarantined.contains_key(name);
        let known = match self.machine.among(&stop.cancel, is_out).await {
            Err(stopped) if stopped.exit == Exit::Interrupted => return Err(stopped),
            Err(_) => self.machine.among(&stop.cancel, |known, name| known.has(name)).await?,
            found => found?,
        };
        let already = !known.state.quarantined.contains_key(&target);
        if !already {
            known.write(&target, false, self.reason).await?;
        }
        let environment = &known.site.environment.name;
        output::quarantine(environment, &target, None, already, false, mode)
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

impl Machine {
    /// The one environment whose machine is meant.
    async fn among(
        &self,
        cancel: &CancellationToken,
        is_meant: impl Fn(&Known, &Name) -> bool,
    ) -> Result<Known, Problem> {
        let which = Which { environment: self.environment.clone(), project_dir: self.project_dir.clone() };
        let mut all = Vec::new();
        let mut unknown_because = None;
        for site in which.sites(&Home::find()?)? {
            let entries = site.log().since(0).map_err(FleetDriveError::from)?;
            let state = FleetState::of(entries.iter().map(|entry| (entry.at, &entry.event)));
            // A machine that burns is taken out also while the inventory can't be had.
            let targets = match site.targets(cancel).await {
                Ok(targets) => targets,
                // Whoever stops it wants nothing written down.
                Err(stopped) if stopped.exit == Exit::Interrupted => return Err(stopped),
                Err(problem) => {
                    unknown_because.get_or_insert(problem);
                    site.environment.targets.clone()
                }
            };
            all.push(Known { site, state, targets });
        }
        let mut meant: Vec<usize> =
            (0..all.len()).filter(|place| is_meant(&all[*place], &self.target)).collect();
        match (meant.pop(), meant.is_empty()) {
            (Some(place), true) => Ok(all.swap_remove(place)),
            (Some(last), false) => {
                meant.push(last);
                let names: Vec<&str> =
                    meant.iter().map(|place| all[*place].site.environment.name.as_str()).collect();
                let what = format!("several environments have a machine `{}`", self.target);
                Err(Problem::new(Exit::Usage, what)
                    .with_why(format!("they are {}", names.join(", ")))
                    .with_remedy("name the environment with `--environment`"))
            }
            (None, _) => match unknown_because {
                Some(problem) => Err(problem),
                None => Err(unknown(&self.target, all.iter().flat_map(Known::names))),
            },
        }
    }
}

/// There is no machine of this name; these there are.
pub(super) fn unknown<'a>(target: &Name, known: impl Iterator<Item = &'a Name>) -> Problem {
    let known: BTreeSet<&str> = known.map(Name::as_str).collect();
    let why = match known.is_empty() {
        true => "runner.toml has no environment of machines".to_owned(),
        false => format!("there are {}", known.iter().copied().collect::<Vec<_>>().join(", ")),
    };
    let problem = Problem::new(Exit::Usage, format!("there is no machine `{target}`")).with_why(why);
    match closest(target.as_str(), known) {
        Some(meant) => problem.with_remedy(format!("did you mean `{meant}`?")),
        None => problem,
    }
}

impl Known {
    /// Machines that are there now, and those that the record knows.
    fn names(&self) -> impl Iterator<Item = &Name> {
        let recorded = self.state.in_order().flat_map(|record| record.targets.keys());
        self.targets.iter().map(|target| &target.name).chain(recorded).chain(self.state.quarantined.keys())
    }

    fn has(&self, target: &Name) -> bool {
        self.names().any(|known| known == target)
    }

    async fn write(&self, target: &Name, out: bool, reason: String) -> Result<(), Problem> {
        let by = Who::of_this_process().user;
        let event = FleetEvent::Quarantine { target: target.clone(), out, by, reason };
        self.site.make_directory()?;
        self.site.log().append(event).await.map_err(FleetDriveError::from)?;
        Ok(())
    }

    /// Whether nothing can be deployed any more once this machine is out, too: to a pool or at all.
    fn leaves_nothing(&self, target: &Name) -> bool {
        let is_left = |one: &&Target| one.name != *target && !self.state.quarantined.contains_key(&one.name);
        let pool = match &self.site.environment.rollout {
            Rollout::BlueGreen { pools, .. } => Some(next_pool(pools, &self.state)),
            _ => None,
        };
        !self.targets.iter().filter(is_left).any(|one| pool.is_none() || one.pool.as_ref() == pool)
    }
}

/// The pool that the next release comes to: the one that does not serve, as far as the ledger tells. What the other one loses is no
/// reason to refuse a deployment.
fn next_pool<'a>(pools: &'a [Name; 2], state: &FleetState) -> &'a Name {
    let came_to_serve = state.in_order().rfind(|record| record.state == DeploymentState::Succeeded);
    let serves = came_to_serve.and_then(|record| match &record.plan.pace.kind {
        PaceKind::Pools { to, .. } => Some(to),
        PaceKind::InPlace => None,
    });
    let [first, second] = pools;
    if serves == Some(first) { second } else { first }
}
