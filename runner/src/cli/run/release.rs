//! `staith run --release`: from a run that passed to what serves.

use clap::Args;
use staith_builder::execute::Stop;
use staith_model::{Exit, FleetEnvironment, Name, Plan, SourceOfRelease, TriggerKind};
use staith_packager::{seal::Sealed, web_deploy::PackageReader};
use staith_releaser::drive::Local;

use super::Ready;
use crate::{
    cli::release::{How, Material, deploy_found, freeze_package},
    destination,
    fleet::{Site, missing_secrets, secrets_of, when_committed},
    home::Home,
    output::{self, OutputMode, Problem},
    workshop::PIPELINE_FILE,
};

/// How a deployment to machines is asked for.
#[derive(Debug, Clone, Args)]
pub(super) struct Asked {
    /// Why; goes into the ledger of an environment of machines
    #[arg(long, value_name = "TEXT", default_value = "", requires = "release")]
    reason: String,
    /// Do not wait for people: end with 41 while approvals are missing
    ///
    /// `staith release resume` goes on. Where the plan for machines that have to be made first waits, `staith env approve` says yes to
    /// it, and the command that is told goes on.
    #[arg(long, requires = "release")]
    no_wait: bool,
}

/// Where a run releases to, and which of its packages.
pub(super) enum Destination {
    /// This machine, with Staith's own proxy and pools.
    Local { local: Local, package: Name },
    /// Machines.
    Machines(Box<Machines>),
}

/// An environment of machines, and what goes there.
pub(super) struct Machines {
    site: Site,
    package: Name,
    how: How,
}

impl Destination {
    /// The environment of this name, if a release to it can work as far as can be seen before anything runs.
    ///
    /// # Errors
    /// It can't, or the run would make nothing for it.
    pub(super) async fn find(name: &str, ready: &Ready, home: &Home, asked: &Asked) -> Result<Self, Problem> {
        let fleet = ready.pipeline.environment(name).and_then(|found| found.fleet());
        let package = ready.pipeline.package_for(name).cloned();
        let found = match (fleet, package) {
            (Some(fleet), Some(package)) => {
                refuse_what_is_beside(ready, name, fleet)?;
                let how = How {
                    reason: asked.reason.clone(),
                    no_wait: asked.no_wait,
                    override_floor: None,
                    by_itself: true,
                    repair: false,
                };
                let site = Site::of(home, &ready.place, ready.pipeline.clone(), fleet.clone())?;
                let machines = Machines { site, package, how };
                machines.check(home, &ready.plan).await?;
                Self::Machines(Box::new(machines))
            }
            (_, package) => {
                let local = destination::find(name, &ready.pipeline, home).await?;
                let package =
                    package.ok_or_else(|| Problem::bug(format!("environment `{name}` takes no package")))?;
                Self::Local { local, package }
            }
        };
        if !ready.plan.packages.iter().any(|package| package.name == *found.package()) {
            return Err(nothing_to_release(&ready.plan, found.package()));
        }
        Ok(found)
    }

    pub(super) fn package(&self) -> &Name {
        match self {
            Self::Local { package, .. } => package,
            Self::Machines(machines) => &machines.package,
        }
    }
}

impl Machines {
    /// Whatever would keep a release from being made or deployed, as far as it can be told before the run.
    async fn check(&self, home: &Home, plan: &Plan) -> Result<(), Problem> {
        if plan.trigger.kind == TriggerKind::PullRequest {
            let what = format!(
                "what a pull request asks to merge is not released to `{}`; nothing was run",
                self.site.environment.name
            );
            return Err(Problem::new(Exit::Usage, what)
                .with_why("it was written by whoever asks for the merge, and nobody has said yes to it")
                .with_remedy("release it once it is merged; `--event` says what a run is, where it is taken for another"));
        }
        self.site.refuse_while_held()?;
        self.site.protection()?;
        let environments: Vec<&FleetEnvironment> = self.site.takers_of(&self.package);
        let secrets = secrets_of(home, environments.iter().copied()).await?;
        match missing_secrets(&environments, &secrets).first() {
            None => Ok(()),
            Some((environment, variable, secret)) => Err(Problem::new(
                Exit::Configuration,
                format!(
                    "environment `{environment}` gives `{variable}` the secret `{secret}`, which is not set; nothing was run"
                ),
            )
            .with_remedy(format!("set it with `staith secret set {secret}`"))),
        }
    }

    /// Makes a release of what the run packed, and deploys it.
    ///
    /// # Errors
    /// As `staith release create` and `staith release deploy`.
    pub(super) async fn release(
        &self,
        home: &Home,
        sealed: Sealed,
        plan: &Plan,
        stop: &Stop,
        mode: OutputMode,
    ) -> Result<Exit, Problem> {
        let reader = PackageReader::open(&sealed.path)
            .map_err(|error| Problem::new(Exit::Environment, error.to_string()))?;
        // Of this run, also where an earlier one packed the same: it is this commit that is released.
        let source = SourceOfRelease {
            trust: None,
            committed_at: when_committed(&self.site.folder, plan.source.commit.as_deref()).await,
            commit: plan.source.commit.clone(),
            branch: plan.trigger.branch.clone(),
            dirty: plan.source.dirty,
        };
        let package = &sealed.published.package;
        let material = Material { package, reader: &reader, source: &source };
        let (release, already) = freeze_package(home, &self.site.pipeline, material).await?;
        output::release_made(&release, already, mode).map_err(|lost| Problem::unwritable(&lost))?;
        deploy_found(&self.site, &release, None, &self.how, stop, mode).await
    }
}

/// What names the machines of an environment, or makes them, is a program or a file of the project's directory. A run of something
/// else than that directory as it is would ask another version of it, and of no commit at all where there are changes.
fn refuse_what_is_beside(ready: &Ready, name: &str, fleet: &FleetEnvironment) -> Result<(), Problem> {
    let is_here = ready.as_it_is && ready.before.is_none() && ready.place.join(PIPELINE_FILE).is_file();
    let makes = ready.pipeline.destination(name).is_some_and(|found| found.provision.is_some());
    let what = match (fleet.inventory.is_some(), makes) {
        (true, _) => "inventory",
        (_, true) => "provision",
        _ => return Ok(()),
    };
    if is_here {
        return Ok(());
    }
    let problem = format!(
        "this run can't release to `{name}`: its `{what}` is of the project's directory; nothing was run"
    );
    Err(Problem::new(Exit::Configuration, problem)
        .with_why("the run is not of that directory as it is, so machines of one version would get a release of another")
        .with_remedy(format!(
            "check the commit out and give `staith run --release {name}` there; or make the release with `staith run`, and deploy it from the directory with `staith release create` and `staith release deploy --to {name}`"
        )))
}

/// A release of something that this run would not make.
fn nothing_to_release(plan: &Plan, package: &Name) -> Problem {
    let called = ["package".to_owned(), format!("package.{package}")];
    let is_it = |step: &Name| called.iter().any(|called| called == step.as_str());
    let why = plan.left_out.iter().find(|left| is_it(&left.step)).map(|left| left.why.clone());
    let what = if plan.packages.is_empty() {
        "this run makes no package".to_owned()
    } else {
        format!("this run does not make package `{package}`")
    };
    let problem = Problem::new(
        Exit::Configuration,
        format!("{what}, so there would be nothing to release; nothing was run"),
    )
    .with_remedy("see `when` in [package] of runner.toml, and of the steps that it is made from");
    Problem { why, ..problem }
}
