//! What all parts of the deployer have at hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use staith_model::{
    DeploymentId, Digest, Exit, FleetEnvironment, FleetState, Inventory, Name, service::Guarded,
};
use staith_releaser::fleet::{
    drive::{FleetDriveError, Log},
    gate::mistakes,
};
use staith_server::store::SecretsOf;
use tokio::sync::watch;

use super::{
    desk::Desk,
    lane::Lane,
    recipe::Recipe,
    secrets::{Keyring, withheld},
};
use crate::{
    fleet::{Heard, Site, log_of},
    home::Home,
    output::Problem,
    workshop::{PIPELINE_FILE, understood_from_afar},
};

type Key = (Name, Name);

/// What protects which environment; nothing before the server said so.
type Guards = Option<BTreeMap<Key, Guarded>>;

/// Homes of projects, what protects their environments, and who sees to each.
pub(super) struct Office {
    home: Home,
    pub(super) desk: Desk,
    /// What the server gave of its secrets.
    pub(super) keyring: Keyring,
    guards: watch::Sender<Guards>,
    /// Until when all that people said stands in the ledgers.
    pub(super) heard: Heard,
    lanes: Mutex<BTreeMap<Key, Arc<Lane>>>,
}

impl Office {
    pub(super) fn open(home: Home, desk: Desk) -> Arc<Self> {
        Arc::new(Self {
            home,
            desk,
            keyring: Keyring::default(),
            guards: watch::Sender::new(None),
            heard: Heard::default(),
            lanes: Mutex::default(),
        })
    }

    /// The home of a project: what one project has set there, no other gets.
    pub(super) fn home(&self, project: &Name) -> Home {
        Home::at(self.projects().join(project.as_str()))
    }

    fn projects(&self) -> PathBuf {
        self.home.path().join("projects")
    }

    /// Takes what the server says of protection.
    pub(super) fn take(&self, guarded: Vec<Guarded>) {
        let all = guarded.into_iter().map(|one| ((one.project.clone(), one.environment.clone()), one));
        let all: BTreeMap<Key, Guarded> = all.collect();
        self.guards.send_if_modified(|guards| {
            let is_new = guards.as_ref() != Some(&all);
            *guards = Some(all);
            is_new
        });
    }

    /// Hears when protection changes.
    pub(super) fn guards(&self) -> watch::Receiver<Guards> {
        self.guards.subscribe()
    }

    /// What protects an environment now; waits until the server has said so once.
    ///
    /// # Errors
    /// It can't be understood: then nothing is deployed there (20).
    pub(super) async fn guard(&self, project: &Name, environment: &Name) -> Result<Guarded, Problem> {
        let key = (project.clone(), environment.clone());
        let mut guards = self.guards.subscribe();
        let said = guards.wait_for(Option::is_some).await;
        let said = said.map_err(|gone| Problem::bug(gone.to_string()))?;
        let guard = said.as_ref().and_then(|said| said.get(&key)).cloned();
        drop(said);
        let guard = guard.unwrap_or_else(|| Guarded::unsaid(project.clone(), environment.clone()));
        // How many may approve changes with tokens, and is judged; all else was said by an administrator.
        let fixed = staith_model::Protection { approvals: None, ..guard.protection.clone() };
        match mistakes(&fixed).first() {
            None => Ok(guard),
            Some(mistake) => Err(Problem::new(
                Exit::Configuration,
                format!("what protects {project}/{environment} can't be understood: {mistake}"),
            )
            .with_remedy("an administrator of the server says it anew: `staith project protect`")),
        }
    }

    /// An environment as a pipeline file of its project has it, protected as the server says, with the secrets of the server that a
    /// release may have there.
    ///
    /// # Errors
    /// As [`site`](Self::site); or the server can't be asked, or one of the secrets is not for that release.
    pub(super) async fn site_for(
        &self,
        project: &Name,
        environment: &Name,
        recipe: &Recipe,
        release: &Digest,
    ) -> Result<Site, Problem> {
        let (site, not_for_it) = self.site_with_what_may_be(project, environment, recipe, release).await?;
        match not_for_it.first() {
            Some(secret) => Err(withheld(environment, secret)),
            None => Ok(site),
        }
    }

    /// The same, without those that the release may not have, and which these are. What is under way goes on as far as it can without
    /// them: it must be possible to end it.
    ///
    /// # Errors
    /// As [`site`](Self::site); or the server can't be asked.
    pub(super) async fn site_with_what_may_be(
        &self,
        project: &Name,
        environment: &Name,
        recipe: &Recipe,
        release: &Digest,
    ) -> Result<(Site, BTreeSet<Name>), Problem> {
        let site = self.site(project, environment, recipe).await?;
        let kept = self.secrets(project, &site.environment, SecretsOf::Release(*release)).await?;
        Ok((site.given(kept.given), kept.withheld))
    }

    /// An environment as a pipeline file of its project has it, protected as the server says.
    ///
    /// # Errors
    /// The file can't work, is another project's, or has no such environment that can be deployed from here.
    pub(super) async fn site(
        &self,
        project: &Name,
        environment: &Name,
        recipe: &Recipe,
    ) -> Result<Site, Problem> {
        let guard = self.guard(project, environment).await?;
        let pipeline = understood_from_afar(&recipe.pipeline)?;
        if pipeline.name() != project {
            return Err(misnamed(project, pipeline.name()));
        }
        let home = self.home(project);
        let fleet = pipeline.environment(environment.as_str()).and_then(|found| found.fleet().cloned());
        let fleet = fleet
            .ok_or_else(|| no_machines(environment, pipeline.environment(environment.as_str()).is_some()))?;
        let makes = pipeline.destination(environment.as_str()).is_some_and(|found| found.provision.is_some());
        refuse_what_is_beside(&fleet, makes)?;
        // Nothing of the project's directory is here, but for files that name machines.
        let folder = recipe.folder(&home)?;
        let site = Site::of(&home, &folder, pipeline, fleet)?.protected_by(
            guard.protection,
            guard.overriders,
            self.heard.clone(),
        );
        Ok(site.pulled(self.desk.through(project, environment)))
    }

    /// The ledger of an environment.
    pub(super) fn log(&self, project: &Name, environment: &Name) -> Log {
        log_of(&self.home(project), project, environment)
    }

    /// What it says.
    pub(super) fn state(&self, project: &Name, environment: &Name) -> Result<FleetState, Problem> {
        let entries = self.log(project, environment).since(0).map_err(FleetDriveError::from)?;
        Ok(FleetState::of(entries.iter().map(|entry| (entry.at, &entry.event))))
    }

    /// Keeps what a deployment goes by, before it is asked for. It is on the disk then.
    pub(super) fn keep_recipe(
        &self,
        project: &Name,
        deployment: &DeploymentId,
        recipe: &Recipe,
    ) -> Result<(), Problem> {
        recipe.keep(&self.home(project), deployment)
    }

    /// What a deployment goes by.
    pub(super) fn recipe_of(&self, project: &Name, deployment: &DeploymentId) -> Result<Recipe, Problem> {
        Recipe::of(&self.home(project), deployment)
    }

    /// Who sees to an environment.
    pub(super) fn lane(self: &Arc<Self>, project: &Name, environment: &Name) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (project.clone(), environment.clone());
        let open = || Lane::open(Arc::clone(self), project.clone(), environment.clone());
        Arc::clone(lanes.entry(key).or_insert_with(open))
    }

    /// Sees to all environments that have a ledger: what was under way goes on.
    pub(super) fn take_up(self: &Arc<Self>) {
        for project in names_in(&self.projects()) {
            let environments = self.home(&project).environments().join(project.as_str());
            for environment in names_in(&environments) {
                self.lane(&project, &environment);
            }
        }
    }
}

pub(super) fn misnamed(project: &Name, called: &Name) -> Problem {
    Problem::new(
        Exit::Configuration,
        format!("{PIPELINE_FILE} calls the project `{called}`, and the server calls it `{project}`"),
    )
    .with_why("what is deployed is kept by the project's name, and one project must not pass for another")
    .with_remedy("give both the same name")
}

fn no_machines(environment: &Name, is_there: bool) -> Problem {
    let what = format!("{PIPELINE_FILE} has no environment of machines `{environment}`");
    let problem = Problem::new(Exit::Configuration, what);
    match is_there {
        true => problem
            .with_why("it has `listen`: its two pools are of the machine of whoever releases, and nobody can be asked to agree there")
            .with_remedy(
                "two `targets` with `local = true` in two pools are the same on the server's machine, behind `staith proxy serve` or \
                 HAProxy; docs/releases.md shows it",
            ),
        false => problem.with_remedy(
            "a server deploys to environments that have `targets`; docs/releases.md shows how to describe one",
        ),
    }
}

/// What names or makes machines by running something is a program of the project's directory: it would run where the keys are.
fn refuse_what_is_beside(fleet: &FleetEnvironment, makes: bool) -> Result<(), Problem> {
    let what = match (&fleet.inventory, makes) {
        (Some(Inventory::Command(_)), _) => "inventory",
        (_, true) => "provision",
        _ => return Ok(()),
    };
    let remedy = match makes {
        true => "make the machines before, and name them in `targets` or in a file of the repository",
        false => {
            "name the machines in `targets`, or in a file of the repository: `inventory = { file = \"hosts.json\" }`"
        }
    };
    Err(Problem::new(Exit::Configuration, format!("a server does not deploy to `{}`", fleet.name))
        .with_why(format!(
            "its `{what}` is a program of the project's directory, and would run where the keys of machines are, with all that they open"
        ))
        .with_remedy(format!("{remedy}; or deploy from the project's directory")))
}

fn names_in(directory: &Path) -> Vec<Name> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
