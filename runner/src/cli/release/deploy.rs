//! `staith release deploy`, and how any deployment to machines is driven and watched.

use clap::Args;
use staith_builder::execute::Stop;
use staith_model::{
    Ask, DeploymentId, DeploymentState, Digest, Exit, FleetPlan, FleetRelease, Name, ReleaseSetting,
};
use staith_releaser::{
    drive::LockError,
    fleet::drive::{Cooled, Deployer, FleetDriveError, Request, Stopped},
    ledger::Who,
};

use super::Project;
use crate::{
    clock,
    fleet::{Done, Site, made_ready, setting_for},
    home::Home,
    interrupt,
    output::{FleetWatch, OutputMode, Problem},
};

/// Bring a release to the machines of an environment
///
/// All machines get and verify every byte before the first of them shows anything. What fails goes back by itself. Ctrl-C aborts: what
/// is in flight is finished, and what was visible is taken back; a second Ctrl-C leaves it as it is, for `staith release resume`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The release: the beginning of its digest, its package's version, or `latest`
    #[arg(default_value = "latest")]
    release: String,
    /// The environment
    #[arg(long, value_name = "ENVIRONMENT")]
    to: Name,
    #[command(flatten)]
    how: How,
    /// Only if this is still the plan, as `staith release plan` showed it
    #[arg(long, value_name = "DIGEST")]
    plan: Option<Digest>,
    /// Read every byte of the release on machines that run it already, and bring anew what was changed there
    ///
    /// Without it, a machine that runs the release is left as it is, whatever became of its files. `staith env status` tells of them.
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    project: Project,
}

/// How a deployment is asked for.
#[derive(Debug, Clone, Args)]
pub(crate) struct How {
    /// Why; goes into the ledger
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
    /// Do not wait for people: end with 41 while approvals are missing
    ///
    /// `staith release resume` goes on. Where the plan for machines that have to be made first waits, `staith env approve` says yes to
    /// it, and this command is given again.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Deploy although it leads below the rollback floor, or contracts the schema too early; for this reason, which is recorded
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub(crate) override_floor: Option<String>,
    /// Whether nobody asks for this very deployment: then it is refused while somebody holds the environment.
    #[arg(skip)]
    pub(crate) by_itself: bool,
    /// Whether machines that run the release already are looked at byte by byte.
    #[arg(skip)]
    pub(crate) repair: bool,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let stop = interrupt::listen()?;
        let site = Site::open(&Home::find()?, &self.project.project_dir, &self.to)?;
        let how = How { repair: self.repair, ..self.how };
        deploy_release(&site, &self.release, self.plan, &how, &stop, mode).await
    }
}

/// Plans and deploys a release.
pub(crate) async fn deploy_release(
    site: &Site,
    release: &str,
    expected: Option<Digest>,
    how: &How,
    stop: &Stop,
    mode: OutputMode,
) -> Result<Exit, Problem> {
    deploy_found(site, &site.release(release)?, expected, how, stop, mode).await
}

/// The same, of a release that is at hand.
pub(crate) async fn deploy_found(
    site: &Site,
    release: &FleetRelease,
    expected: Option<Digest>,
    how: &How,
    stop: &Stop,
    mode: OutputMode,
) -> Result<Exit, Problem> {
    let setting = setting_for(release, &site.environment.name)?;
    // What may not be deployed makes no machines: neither a release that can't go there, nor one that nobody asked for.
    if how.by_itself {
        site.refuse_while_held()?;
    }
    let again = format!("staith release deploy {} --to {}", release.digest().short(), site.environment.name);
    let made;
    let site = match made_ready(site, (&how.reason, &again), !how.no_wait, stop, mode).await? {
        Done::Site(with_machines) => {
            made = with_machines;
            &*made
        }
        Done::Nothing => site,
        Done::Stopped(exit) => return Ok(exit),
    };
    let watch = FleetWatch::new(mode);
    let deployer = site.deployer(!how.no_wait, watch.staging(), &stop.cancel).await?;
    let plan = tokio::select! {
        plan = planned(&deployer, release, &setting, how.repair) => plan?,
        () = stop.cancel.cancelled() => return Ok(Exit::Interrupted),
    };
    if let Some(expected) = expected.filter(|expected| *expected != plan.digest()) {
        return Err(Problem::new(
            Exit::NeedsDecision,
            format!("the plan is not {} any more", expected.short()),
        )
        .with_why(format!("machines or traffic have changed since; it is {} now", plan.digest()))
        .with_remedy("look at it with `staith release plan`, and say yes to that one"));
    }
    carry_out(&deployer, plan, how, watch, stop).await
}

/// Plans how a release comes to serve; with every byte of it read where it runs already, if `repair`.
pub(super) async fn planned(
    deployer: &Deployer,
    release: &FleetRelease,
    setting: &ReleaseSetting,
    repair: bool,
) -> Result<FleetPlan, FleetDriveError> {
    match repair {
        true => deployer.plan_repair(release.digest(), setting).await,
        false => deployer.plan(release.digest(), setting).await,
    }
}

/// Asks for a plan to be carried out, and watches it to its end.
pub(crate) async fn carry_out(
    deployer: &Deployer,
    plan: FleetPlan,
    how: &How,
    watch: FleetWatch,
    stop: &Stop,
) -> Result<Exit, Problem> {
    let chance = clock::chance().map_err(|error| Problem::bug(error.to_string()))?;
    let deployment = DeploymentId::new(clock::unix_millis(), chance);
    watch.begins(&plan);
    let request = Request {
        deployment: deployment.clone(),
        plan,
        by: Who::of_this_process().user,
        reason: how.reason.clone(),
        by_itself: how.by_itself,
    };
    let mut show = watch.clone().of(&deployment);
    let mut heard = move |entry: &_| show.heard(entry);
    let driving = deployer.deploy_in_spite_of_the_floor(request, how.override_floor.as_deref(), &mut heard);
    match ended(deployer, &deployment, driving, watch, stop).await? {
        Some(exit) => Ok(exit),
        None => Err(Problem::new(Exit::Environment, "another process deploys to this environment now")
            .with_remedy(format!("`staith release status {}` shows it", deployer.fleet.environment.name))),
    }
}

/// Goes on with a deployment that another process began; `None` if another process drives it now.
pub(crate) async fn go_on(
    deployer: &Deployer,
    deployment: &DeploymentId,
    watch: FleetWatch,
    stop: &Stop,
) -> Result<Option<Exit>, Problem> {
    let mut show = watch.clone().of(deployment);
    let mut heard = move |entry: &_| show.heard(entry);
    let driving = deployer.drive(deployment, &mut heard);
    ended(deployer, deployment, driving, watch, stop).await
}

async fn ended(
    deployer: &Deployer,
    deployment: &DeploymentId,
    driving: impl Future<Output = Result<Stopped, FleetDriveError>>,
    watch: FleetWatch,
    stop: &Stop,
) -> Result<Option<Exit>, Problem> {
    tokio::pin!(driving);
    let stopped = tokio::select! {
        stopped = &mut driving => stopped,
        () = stop.cancel.cancelled() => {
            let by = Who::of_this_process().user;
            let abort = Ask::Abort { reason: "interrupted".into() };
            // Whoever drives reads it from the ledger: here, the future that is polled below.
            if let Err(error) = deployer.ask(deployment, &by, abort).await {
                return Err(error.into());
            }
            watch.aborting();
            tokio::select! {
                stopped = &mut driving => stopped,
                () = stop.kill.cancelled() => {
                    return Err(Problem::new(Exit::Interrupted, format!("deployment {deployment} was left as it is"))
                        .with_remedy(format!("`staith release resume {}` goes on with it", deployer.fleet.environment.name)));
                }
            }
        }
    };
    let exit = match stopped {
        Ok(Stopped::Over(state)) => exit_of(state),
        Ok(Stopped::Waits(_) | Stopped::Outdated) => Exit::NeedsDecision,
        Err(FleetDriveError::Lock(LockError::Held { .. })) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Whoever comes by sees to what an earlier swap left. A deployment does not fail for that: the next one tries again.
    let cooled = tokio::select! {
        cooled = deployer.cool() => cooled.map_err(Problem::from),
        () = stop.cancel.cancelled() => Ok(Cooled::Nothing),
    };
    let environment = &deployer.fleet.environment.name;
    let told = watch.cooled(environment, &cooled).and_then(|()| watch.ended(deployer, deployment, exit));
    told.map_err(|lost| Problem::unwritable(&lost))?;
    Ok(Some(if stop.cancel.is_cancelled() && exit == Exit::RolledBack { Exit::Interrupted } else { exit }))
}

/// What the shell is told of how a deployment ended.
const fn exit_of(state: DeploymentState) -> Exit {
    match state {
        DeploymentState::Succeeded => Exit::Passed,
        DeploymentState::NeedsDecision | DeploymentState::RollbackFailed => Exit::NeedsDecision,
        _ => Exit::RolledBack,
    }
}

/// A reason, in words.
fn reason(text: &str) -> Result<String, String> {
    match text.chars().any(char::is_alphanumeric) {
        true => Ok(text.to_owned()),
        false => Err("going past the floor needs a reason, in words".to_owned()),
    }
}

impl From<FleetDriveError> for Problem {
    fn from(error: FleetDriveError) -> Self {
        let exit = error.exit();
        let text = error.to_string();
        // The remedy is the last thing that it says; what is wrong may be told with words of others.
        match text.rsplit_once("; ") {
            Some((what, remedy)) => Self::new(exit, what).with_remedy(remedy),
            None => Self::new(exit, text),
        }
    }
}
