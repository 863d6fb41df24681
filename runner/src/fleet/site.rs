//! One environment of a project.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use staith_builder::{
    pipeline::Pipeline,
    redact::Masker,
    secrets::{Environment, SecretName, Secrets, SecretsFile},
};
use staith_model::{
    Exit, FleetEnvironment, FleetRelease, Name, Protection, ReleaseSetting, Secret, SourceOfRelease,
};
use staith_packager::store::Published;
use staith_releaser::{
    fleet::{
        drive::{Clock, Deployer, Fleet, Limits, Log, StageWatch},
        freeze::{FleetShelf, VersionKey},
        gate::{ask::Asker, configured::Protections},
        inventory,
        remote::Memory,
    },
    ledger::Who,
};
use tokio_util::sync::CancellationToken;

use super::{gatekeeper::Gatekeeper, hold::Hold, reach};
use crate::{
    home::Home,
    output::Problem,
    package_place::own_store,
    records,
    workshop::{PIPELINE_FILE, understood},
};

/// One environment of a project.
pub(crate) struct Site {
    /// The project's folder.
    pub(crate) folder: PathBuf,
    /// Its pipeline.
    pub(crate) pipeline: Pipeline,
    /// The environment.
    pub(crate) environment: FleetEnvironment,
    /// Where its ledger is.
    pub(crate) directory: PathBuf,
    home: Home,
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
        let directory = home.environment(pipeline.name(), name);
        Ok(Self { folder: folder.to_owned(), pipeline, environment, directory, home: home.clone() })
    }

    /// The project.
    pub(crate) fn project(&self) -> &Name {
        self.pipeline.name()
    }

    /// The environment's ledger.
    pub(crate) fn log(&self) -> Log {
        log_of(&self.home, self.project(), &self.environment.name)
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
        let targets = inventory::resolve(&self.environment, self.project(), &self.folder, cancel).await;
        let targets = targets.map_err(|error| {
            Problem::new(Exit::Configuration, error.to_string()).with_remedy(error.remedy())
        })?;
        let secrets = secrets_of(&self.home, [&self.environment]).await?;
        let masker = masker(&secrets)?;
        let memory = Memory::new(self.home.manifests());
        let machines = reach::machines(&self.environment, &targets, &memory);
        let balancer = reach::balancer(&self.environment, &targets, &secrets).await?;
        let releases = Hold::new(
            self.environment.name.clone(),
            self.shelf(),
            own_store(&self.home)?,
            (secrets, masker),
            version_key(&self.home)?,
        );
        self.make_directory()?;
        let fleet = Fleet {
            environment: self.environment.clone(),
            targets,
            machines,
            balancer,
            releases: Arc::new(releases),
            judge: Arc::new(self.gatekeeper()?),
            log: self.log(),
            lock: Some(self.directory.join("driver.lock")),
            clock: Clock::system(),
            limits: Limits::default(),
            who: format!("{}, process {}", Who::of_this_process(), std::process::id()),
            watch,
        };
        Ok(Deployer { fleet, stay })
    }

    fn make_directory(&self) -> Result<(), Problem> {
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
        protections(&self.home)?
            .of(self.project(), &self.environment.name)
            .map_err(|refused| Problem::new(Exit::Configuration, refused.to_string()))
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
        Ok(Gatekeeper::new(protection, self.log(), logs, self.shelf(), asker))
    }
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
    let (process, file) = (Environment::of_this_process(), SecretsFile::in_directory(home.path()));
    let mut names = BTreeSet::new();
    for environment in environments {
        names.extend(environment.setting.secrets.values().map(|secret| secret.name.clone()));
        if let Some(staith_model::TrafficSpec::Dns { key, .. }) = &environment.traffic {
            names.insert(key.clone());
        }
    }
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

fn masker(secrets: &BTreeMap<String, Secret>) -> Result<Masker, Problem> {
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
                release.digest().hex().starts_with(wanted)
                    || release.package.version.as_str() == text
                    || format!("{}@{}", release.package.name, release.package.version) == text
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
            Err(Problem::new(Exit::Usage, what).with_why(why))
        }
    }
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
    Problem::new(Exit::Configuration, format!("{PIPELINE_FILE} has no environment of machines `{name}`"))
        .with_why(why)
        .with_remedy("docs/releases.md shows how to describe one")
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

/// Where a package came from, as far as this home knows.
pub(crate) fn source_of(home: &Home, published: &Published) -> SourceOfRelease {
    let plan = published.origin.as_ref().and_then(|origin| records::plan_of(&home.runs(), &origin.run));
    match plan {
        Some(plan) => SourceOfRelease {
            commit: plan.source.commit,
            branch: plan.trigger.branch,
            dirty: plan.source.dirty,
        },
        // It was made elsewhere: nothing is known, and nothing is claimed.
        None => SourceOfRelease { commit: None, branch: None, dirty: false },
    }
}
