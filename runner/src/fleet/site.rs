//! One environment of a project.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use staith_builder::{
    pipeline::{Pipeline, closest},
    redact::Masker,
    secrets::{Environment, SecretName, Secrets, SecretsFile},
};
use staith_model::{
    Access, Exit, FleetEnvironment, FleetRelease, FleetState, Name, Protection, Provision, ProvisionState,
    ReleaseSetting, Secret, Standing, Target,
};
use staith_packager::web_deploy::Openings;
use staith_releaser::{
    fleet::{
        drive::{Clock, Deployer, Fleet, FleetDriveError, Judge, Limits, Log, StageWatch, status},
        freeze::{FleetShelf, VersionKey},
        gate::{ask::Asker, configured::Protections},
        inventory::{self, InventoryError},
        remote::Memory,
    },
    ledger::Who,
};
use tokio_util::sync::CancellationToken;

use super::{
    gatekeeper::{Gatekeeper, Heard},
    hold::{Hold, Stock},
    reach, traffic,
};
use crate::{
    home::Home,
    output::Problem,
    package_place::own_store,
    tunnel::Through,
    workshop::{PIPELINE_FILE, understood},
};

/// How a release gets the values that its secrets have now.
const ANEW_HERE: &str = "`staith release create` makes one with the new value";
const ANEW_ON_A_SERVER: &str = "run the commit again with `staith project run`, and `staith server release create` makes one of that run with the new value";

/// One environment of a project.
pub(crate) struct Site {
    /// The project's folder.
    pub(crate) folder: PathBuf,
    /// Its pipeline.
    pub(crate) pipeline: Pipeline,
    /// The environment.
    pub(crate) environment: FleetEnvironment,
    /// What makes its machines, where Staith has them made.
    pub(crate) provision: Option<Provision>,
    /// Whether its machines are there, as far as Staith makes them: not before that was begun, nor after all was taken down.
    pub(crate) has_machines: bool,
    /// Where its ledger is.
    pub(crate) directory: PathBuf,
    pub(super) home: Home,
    /// What protects it, where somebody else than the home's configuration says so.
    said: Option<Protection>,
    overriders: Option<BTreeSet<String>>,
    /// Until when people are heard, where they speak by way of a server.
    heard: Option<Heard>,
    /// The way to machines that pull: through the server that deploys.
    pub(super) pulls: Option<Through>,
    /// Secrets that come from a server, before those of this machine.
    given: BTreeMap<String, Secret>,
}

/// The pipeline of the project in a folder.
///
/// # Errors
/// There is none, or it can't work (20).
pub(crate) fn pipeline_in(folder: &Path) -> Result<Pipeline, Problem> {
    let path = folder.join(PIPELINE_FILE);
    let text = fs::read_to_string(&path).map_err(|refused| {
        Problem::new(Exit::Configuration, format!("{} can't be read", path.display()))
            .with_why(refused.to_string())
            .with_remedy("go to the project's directory, or name it with `--project-dir`")
    })?;
    understood(&text)
}

/// All environments of machines of the project in `folder`. Makes nothing.
///
/// # Errors
/// There is no pipeline, or it can't work (20).
pub(crate) fn sites_in(home: &Home, folder: &Path) -> Result<Vec<Site>, Problem> {
    let pipeline = pipeline_in(folder)?;
    let names = pipeline.environments().filter_map(|one| one.fleet()).map(|fleet| fleet.name.clone());
    names.map(|name| Site::open(home, folder, &name)).collect()
}

impl Site {
    /// The environment `name` of the project in `folder`. Makes nothing.
    ///
    /// # Errors
    /// The pipeline has no such environment of machines (20).
    pub(crate) fn open(home: &Home, folder: &Path, name: &Name) -> Result<Self, Problem> {
        let pipeline = pipeline_in(folder)?;
        let found = pipeline.environment(name.as_str()).and_then(|found| found.fleet().cloned());
        let environment = found.ok_or_else(|| no_such(&pipeline, name))?;
        Self::of(home, folder, pipeline, environment)
    }

    /// An environment of a pipeline that is at hand: that of a commit, say, while another is on the screen. Makes nothing.
    ///
    /// # Errors
    /// What was made for it can't be read.
    pub(crate) fn of(
        home: &Home,
        folder: &Path,
        pipeline: Pipeline,
        environment: FleetEnvironment,
    ) -> Result<Self, Problem> {
        let directory = home.environment(pipeline.name(), &environment.name);
        let provision =
            pipeline.destination(environment.name.as_str()).and_then(|found| found.provision.clone());
        let (environment, has_machines) = match &provision {
            Some(_) => with_made(home, pipeline.name(), environment)?,
            None => (environment, true),
        };
        Ok(Self {
            folder: folder.to_owned(),
            pipeline,
            environment,
            provision,
            has_machines,
            directory,
            home: home.clone(),
            said: None,
            overriders: None,
            heard: None,
            pulls: None,
            given: BTreeMap::new(),
        })
    }

    /// The same environment, protected by this and not by what the home's configuration says: a server's, where people
    /// are `heard`. Only what `overriders` said goes past it, if that is known.
    pub(crate) fn protected_by(
        self,
        protection: Protection,
        overriders: Option<BTreeSet<String>>,
        heard: Heard,
    ) -> Self {
        Self { said: Some(protection), overriders, heard: Some(heard), ..self }
    }

    /// The same environment, with its machines that pull reached through a server.
    pub(crate) fn pulled(self, through: Through) -> Self {
        Self { pulls: Some(through), ..self }
    }

    /// The same environment, with secrets that a server keeps for it.
    pub(crate) fn given(self, given: BTreeMap<String, Secret>) -> Self {
        Self { given, ..self }
    }

    /// The same environment of the same pipeline, with the machines that are there now.
    ///
    /// # Errors
    /// What was made for it can't be read.
    pub(crate) fn again(&self) -> Result<Self, Problem> {
        let name = &self.environment.name;
        let found = self.pipeline.environment(name.as_str()).and_then(|found| found.fleet().cloned());
        let environment = found.ok_or_else(|| no_such(&self.pipeline, name))?;
        let again = Self::of(&self.home, &self.folder, self.pipeline.clone(), environment)?;
        let (said, overriders, heard) = (self.said.clone(), self.overriders.clone(), self.heard.clone());
        Ok(Self { said, overriders, heard, pulls: self.pulls.clone(), given: self.given.clone(), ..again })
    }

    /// The environments of machines that take a package.
    pub(crate) fn takers_of(&self, package: &Name) -> Vec<&FleetEnvironment> {
        takers_of(&self.pipeline, package)
    }

    /// The project.
    pub(crate) fn project(&self) -> &Name {
        self.pipeline.name()
    }

    /// The environment's ledger.
    pub(crate) fn log(&self) -> Log {
        log_of(&self.home, self.project(), &self.environment.name)
    }

    /// What its ledger says.
    ///
    /// # Errors
    /// It can't be read.
    pub(crate) fn state(&self) -> Result<FleetState, Problem> {
        let entries = self.log().since(0).map_err(FleetDriveError::from)?;
        Ok(FleetState::of(entries.iter().map(|entry| (entry.at, &entry.event))))
    }

    /// What its ledger says of how its machines are made.
    ///
    /// # Errors
    /// It can't be read.
    pub(crate) fn provision_state(&self) -> Result<ProvisionState, Problem> {
        let entries = self.log().since(0).map_err(FleetDriveError::from)?;
        Ok(ProvisionState::of(entries.iter().map(|entry| (entry.at, &entry.event))))
    }

    /// The file whose lock says who drives a deployment there.
    pub(crate) fn driver_lock(&self) -> PathBuf {
        lock_in(&self.directory)
    }

    /// The project's releases.
    pub(crate) fn shelf(&self) -> FleetShelf {
        shelf_of(&self.home, self.project())
    }

    /// The release whose digest begins so; `latest` is the one that was made last.
    ///
    /// # Errors
    /// There is none, or there are several (64).
    pub(crate) fn release(&self, text: &str) -> Result<FleetRelease, Problem> {
        release_among(&self.shelf(), text)
    }

    /// Its machines: those of runner.toml and those of the inventory.
    ///
    /// # Errors
    /// They are not made, or the inventory can't be had or understood (20); or it was cancelled (130).
    pub(crate) async fn targets(&self, cancel: &CancellationToken) -> Result<Vec<Target>, Problem> {
        if !self.has_machines {
            let name = &self.environment.name;
            return Err(Problem::new(Exit::Configuration, format!("the machines of `{name}` are not made"))
                .with_remedy(format!("make them: `staith env provision {name}`")));
        }
        let targets = inventory::resolve(&self.environment, self.project(), &self.folder, cancel).await;
        Ok(targets?)
    }

    /// The same for people who look around: none where they are not made.
    ///
    /// # Errors
    /// The inventory can't be had or understood (20).
    pub(crate) async fn targets_there(&self, cancel: &CancellationToken) -> Result<Vec<Target>, Problem> {
        if self.has_machines { self.targets(cancel).await } else { Ok(Vec::new()) }
    }

    /// Everything that deploying here needs. Contacts no machine yet.
    ///
    /// # Errors
    /// The inventory, a secret, the store or what protects the environment can't be read, or a machine can't be reached in the way
    /// that is asked for.
    pub(crate) async fn deployer(
        &self,
        stay: bool,
        watch: StageWatch,
        cancel: &CancellationToken,
    ) -> Result<Deployer, Problem> {
        let targets = self.targets(cancel).await?;
        self.refuse_what_pulls(&targets)?;
        let judge = Arc::new(self.gatekeeper()?);
        let of = (self.project(), &self.environment);
        let fleet =
            fleet_of(&self.home, of, targets, (self.pulls.as_ref(), &self.given), (judge, watch)).await?;
        self.make_directory()?;
        self.note_pools_that_are_kept()?;
        Ok(Deployer { fleet, stay })
    }

    /// Machines that pull ask a server, and nobody else.
    fn refuse_what_pulls(&self, targets: &[Target]) -> Result<(), Problem> {
        let pulls = targets.iter().find(|target| target.access == Access::Pull);
        let (Some(target), None) = (pulls, &self.pulls) else { return Ok(()) };
        let name = &self.environment.name;
        Err(Problem::new(Exit::Configuration, format!("`{name}` can't be deployed to from here"))
            .with_why(format!(
                "`{}` has `pull = true`: its deployments are asked for by a runner on it, from a server",
                target.name
            ))
            .with_remedy(format!("deploy through the server: `staith server release deploy --to {name}`")))
    }

    /// The directory of its ledger, made if it is not there.
    ///
    /// # Errors
    /// It can't be made (30).
    pub(crate) fn make_directory(&self) -> Result<(), Problem> {
        let made = self.home.make().and_then(|()| fs::create_dir_all(&self.directory));
        made.map_err(|refused| {
            Problem::new(Exit::Environment, format!("{} can't be made", self.directory.display()))
                .with_why(refused.to_string())
        })
    }

    /// What protects the environment.
    ///
    /// # Errors
    /// It can't be understood (20).
    pub(crate) fn protection(&self) -> Result<Protection, Problem> {
        if let Some(said) = &self.said {
            return Ok(said.clone());
        }
        protections(&self.home)?
            .of(self.project(), &self.environment.name)
            .map_err(|refused| Problem::new(Exit::Configuration, refused.to_string()))
    }

    /// Whether deployments that nobody asks for one by one may be made now.
    ///
    /// # Errors
    /// Somebody went back to an older release, and holds the environment with that (41); or the ledger can't be read.
    pub(crate) fn refuse_while_held(&self) -> Result<(), Problem> {
        let Some(held) = status(&self.log())?.held else { return Ok(()) };
        let name = &self.environment.name;
        Err(Problem::new(Exit::NeedsDecision, format!("runs don't release to `{name}` now"))
            .with_why(held)
            .with_remedy(format!(
                "`staith release deploy --to {name}` deploys by hand; `staith release lift {name}` lets runs release again"
            )))
    }

    /// Who judges gates and measurements.
    ///
    /// # Errors
    /// What protects the environment can't be understood: then nothing is deployed there (20).
    pub(crate) fn gatekeeper(&self) -> Result<Gatekeeper, Problem> {
        let protection = self.protection()?;
        let others = protection.after.iter().cloned();
        let logs = others.map(|name| (log_of(&self.home, self.project(), &name), name)).collect();
        let asker = Asker::new().map_err(|no| Problem::new(Exit::Environment, no.to_string()))?;
        let keeper = Gatekeeper::new(protection, self.log(), logs, self.shelf(), asker);
        Ok(keeper.overridden_by(self.overriders.clone()).hearing(self.heard.clone()))
    }
}

fn lock_in(directory: &Path) -> PathBuf {
    directory.join("driver.lock")
}

/// An environment with everything that is needed to deploy to it. Contacts no machine yet.
///
/// # Errors
/// A secret or the store can't be read, or a machine can't be reached in the way that is asked for.
pub(super) async fn fleet_of(
    home: &Home,
    (project, environment): (&Name, &FleetEnvironment),
    targets: Vec<Target>,
    (pulls, given): (Option<&Through>, &BTreeMap<String, Secret>),
    (judge, watch): (Arc<dyn Judge>, StageWatch),
) -> Result<Fleet, Problem> {
    let secrets = secrets_beside(home, given, environment).await?;
    let masker = masker(&secrets)?;
    let memory = Memory::new(home.manifests());
    let machines = reach::machines(environment, &targets, &memory, pulls);
    let balancer = traffic::balancer(environment, &targets, &secrets).await?;
    let (shelf, store) = (shelf_of(home, project), own_store(home)?);
    let anew = if pulls.is_some() { ANEW_ON_A_SERVER } else { ANEW_HERE };
    let stock = Stock { store, openings: Openings::new(home.opened()) };
    let releases =
        Hold::new(environment.name.clone(), shelf, stock, (secrets, masker), version_key(home)?, anew);
    Ok(Fleet {
        environment: environment.clone(),
        targets,
        machines,
        balancer,
        releases: Arc::new(releases),
        judge,
        log: log_of(home, project, &environment.name),
        lock: Some(lock_in(&home.environment(project, &environment.name))),
        clock: Clock::system(),
        limits: Limits::default(),
        who: format!("{}, process {}", Who::of_this_process(), std::process::id()),
        watch,
    })
}

impl From<InventoryError> for Problem {
    fn from(error: InventoryError) -> Self {
        let exit = match error {
            InventoryError::Cancelled => Exit::Interrupted,
            _ => Exit::Configuration,
        };
        Self::new(exit, error.to_string()).with_remedy(error.remedy())
    }
}

/// The environment with the machines that its provision made.
fn with_made(
    home: &Home,
    project: &Name,
    environment: FleetEnvironment,
) -> Result<(FleetEnvironment, bool), Problem> {
    let entries = log_of(home, project, &environment.name).since(0).map_err(FleetDriveError::from)?;
    let made = ProvisionState::of(entries.iter().map(|entry| (entry.at, &entry.event)));
    let has_machines = !matches!(made.standing, Standing::Nothing);
    let environment = inventory::with_provisioned(environment, made.targets)?;
    Ok((environment, has_machines))
}

/// The ledger of an environment, as whoever drives reads it.
pub(crate) fn log_of(home: &Home, project: &Name, environment: &Name) -> Log {
    Log::of_environment(&home.environment(project, environment), project, environment)
}

/// The releases of a project.
pub(crate) fn shelf_of(home: &Home, project: &Name) -> FleetShelf {
    FleetShelf::new(home.releases(project))
}

/// What makes versions of secrets here.
///
/// # Errors
/// The key can't be read or made.
pub(crate) fn version_key(home: &Home) -> Result<VersionKey, Problem> {
    home.make().map_err(|refused| {
        Problem::new(Exit::Environment, format!("{} can't be made", home.path().display()))
            .with_why(refused.to_string())
    })?;
    VersionKey::open(&home.keys().join("secret-versions"))
        .map_err(|refused| Problem::new(Exit::Environment, refused.to_string()))
}

/// What protects environments.
fn protections(home: &Home) -> Result<Protections, Problem> {
    let path = home.config();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(absent) if absent.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(refused) => return Err(Problem::unreadable(&path, &refused)),
    };
    Protections::parse(&text).map_err(|mistake| {
        Problem::new(Exit::Configuration, format!("{}: {mistake}", path.display()))
            .with_remedy("nothing is deployed before it can be told what protects the environment")
    })
}

/// The secrets that these environments name, as far as they are set.
///
/// # Errors
/// A name is none, or the secrets can't be read.
pub(crate) async fn secrets_of(
    home: &Home,
    environments: impl IntoIterator<Item = &FleetEnvironment>,
) -> Result<BTreeMap<String, Secret>, Problem> {
    secrets_named(home, environments.into_iter().flat_map(secret_names).collect()).await
}

/// The same of one environment. Those that are `given` are not looked for here.
///
/// # Errors
/// As [`secrets_of`].
pub(crate) async fn secrets_beside(
    home: &Home,
    given: &BTreeMap<String, Secret>,
    environment: &FleetEnvironment,
) -> Result<BTreeMap<String, Secret>, Problem> {
    let others = secret_names(environment).into_iter().filter(|name| !given.contains_key(name));
    let mut secrets = secrets_named(home, others.collect()).await?;
    secrets.extend(given.iter().map(|(name, value)| (name.clone(), value.clone())));
    Ok(secrets)
}

/// The names of the secrets that an environment names, for its variables and for its traffic provider.
pub(crate) fn secret_names(environment: &FleetEnvironment) -> BTreeSet<String> {
    let of_variables = environment.setting.secrets.values().map(|secret| secret.name.clone());
    let of_traffic = environment.traffic.iter().flat_map(|traffic| traffic.secrets()).map(str::to_owned);
    of_variables.chain(of_traffic).collect()
}

/// The secrets of these names, as far as they are set.
///
/// # Errors
/// A name is none, or the secrets can't be read.
pub(crate) async fn secrets_named(
    home: &Home,
    names: BTreeSet<String>,
) -> Result<BTreeMap<String, Secret>, Problem> {
    let (process, file) = (Environment::of_this_process(), SecretsFile::in_directory(home.path()));
    let mut found = BTreeMap::new();
    for name in names {
        let key: SecretName =
            name.parse().map_err(|bad| Problem::new(Exit::Configuration, format!("{bad}")))?;
        let mut value = process.find(&key).await?;
        if value.is_none() {
            value = file.find(&key).await?;
        }
        found.extend(value.map(|value| (name, value)));
    }
    Ok(found)
}

/// The environments of machines that take a package.
pub(crate) fn takers_of<'a>(pipeline: &'a Pipeline, package: &Name) -> Vec<&'a FleetEnvironment> {
    let those = pipeline.destinations().into_iter().filter(|to| to.package == *package);
    those.filter_map(|to| to.environment.fleet()).collect()
}

/// Secrets that environments give to variables and that are not set: environment, variable, secret.
pub(crate) fn missing_secrets(
    environments: &[&FleetEnvironment],
    secrets: &BTreeMap<String, Secret>,
) -> Vec<(Name, String, String)> {
    let mut missing = Vec::new();
    for environment in environments {
        let unset = environment.setting.secrets.iter().filter(|(_, one)| !secrets.contains_key(&one.name));
        let of = |(variable, one): (&String, &staith_model::SecretVersion)| {
            (environment.name.clone(), variable.clone(), one.name.clone())
        };
        missing.extend(unset.map(of));
    }
    missing
}

pub(super) fn masker(secrets: &BTreeMap<String, Secret>) -> Result<Masker, Problem> {
    Ok(staith_builder::secrets::Supply::new(secrets.clone())?.masker().clone())
}

/// The release whose digest begins so; `latest` is the one that was made last.
///
/// # Errors
/// There is none, or there are several (64).
pub(crate) fn release_among(shelf: &FleetShelf, text: &str) -> Result<FleetRelease, Problem> {
    let all = shelf.all()?;
    let wanted = text.strip_prefix("sha256:").unwrap_or(text);
    let mut matching: Vec<FleetRelease> = match text {
        "latest" => newest(shelf, &all).into_iter().collect(),
        _ => {
            let is_meant = |release: &FleetRelease| {
                let (name, version) = (&release.package.name, release.package.version.as_str());
                release.digest().hex().starts_with(wanted)
                    || is_called(version, text)
                    || is_called(&format!("{name}@{version}"), text)
            };
            all.iter().filter(|release| is_meant(release)).cloned().collect()
        }
    };
    match (matching.pop(), matching.is_empty()) {
        (Some(one), true) => Ok(one),
        (found, _) => {
            let what = match found {
                None => format!("no release is called `{text}`"),
                Some(_) => format!("{} releases are called `{text}`", matching.len() + 1),
            };
            let named = |release: &FleetRelease| {
                format!("{} ({}@{})", release.digest().short(), release.package.name, release.package.version)
            };
            let known: Vec<String> = all.iter().map(named).collect();
            let why = match known.is_empty() {
                true => "there is none yet; `staith release create` makes one".to_owned(),
                false => format!("there are {}", known.join(", ")),
            };
            let problem = Problem::new(Exit::Usage, what).with_why(why);
            Err(if all.is_empty() {
                problem
            } else {
                problem.with_remedy("name one by the beginning of its digest")
            })
        }
    }
}

/// Whether a version is called so. What tells builds of one version apart may be left out: where it is needed, several are called so.
fn is_called(version: &str, text: &str) -> bool {
    version.strip_prefix(text).is_some_and(|rest| rest.is_empty() || rest.starts_with('+'))
}

/// The release that was made last.
fn newest(shelf: &FleetShelf, all: &[FleetRelease]) -> Option<FleetRelease> {
    all.iter().max_by_key(|release| shelf.kept_at(&release.digest())).cloned()
}

fn no_such(pipeline: &Pipeline, name: &Name) -> Problem {
    let fleets: Vec<String> = pipeline
        .environments()
        .filter(|known| known.fleet().is_some())
        .map(|known| format!("`{}`", known.name()))
        .collect();
    let why = match (pipeline.environment(name.as_str()), fleets.is_empty()) {
        (Some(_), _) => {
            "it is on this machine: `staith run --release` and `staith rollback` are for it".to_owned()
        }
        (None, true) => "it has none".to_owned(),
        (None, false) => format!("it has {}", fleets.join(", ")),
    };
    let known = pipeline.environments().filter(|known| known.fleet().is_some());
    let meant = closest(name.as_str(), known.map(|known| known.name().as_str()));
    let remedy = match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "docs/releases.md shows how to describe one".to_owned(),
    };
    Problem::new(Exit::Configuration, format!("{PIPELINE_FILE} has no environment of machines `{name}`"))
        .with_why(why)
        .with_remedy(remedy)
}

/// How a release runs in an environment.
///
/// # Errors
/// It was made before the environment was there, or not for it (20).
pub(crate) fn setting_for(release: &FleetRelease, environment: &Name) -> Result<ReleaseSetting, Problem> {
    release.settings.get(environment).cloned().ok_or_else(|| {
        Problem::new(
            Exit::Configuration,
            format!("release {} does not go to `{environment}`", release.digest().short()),
        )
        .with_remedy("make one that does: `staith release create`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_of_one_version_are_called_as_it() {
        for name in ["1.0.0", "1.0.0+c.3cdf5d8ec742"] {
            assert!(is_called("1.0.0+c.3cdf5d8ec742", name), "{name}");
        }
        for name in ["1.0", "1.0.0+c", "1.0.0+", "c.3cdf5d8ec742", "1.0.0-rc"] {
            assert!(!is_called("1.0.0+c.3cdf5d8ec742", name), "{name}");
        }
    }
}
