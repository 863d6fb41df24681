//! What commands use: plan, deploy, go on, go back, swap.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use staith_model::{
    Ask, DeploymentId, DeploymentRecord, DeploymentState, Digest, Direction, FleetEvent, FleetPlan,
    FleetState, Name, PaceKind, ReleaseSetting, Rollout, TargetAction,
};

use super::{
    super::{
        balancer::BalancerState,
        machine::{Inspection, MachineState},
        plan::{Situation, TrafficSeen, plan},
    },
    error::{FleetDriveError, NO_ANSWER},
    lingering,
    seams::Fleet,
    session::{Session, Stopped, Watcher},
};
use crate::{drive::lock::Lock, host::Files};

/// How long a machine may take to be looked at before planning.
const LOOK: Duration = Duration::from_secs(30);

/// Deploys to one environment.
#[derive(Clone)]
pub struct Deployer {
    /// The environment, with everything that is needed.
    pub fleet: Fleet,
    /// Whether [`Deployer::drive`] stays while a deployment waits for people, rather than to return. What is waited for, and
    /// what happens at its deadline, is the same.
    pub stay: bool,
}

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its identity.
    pub deployment: DeploymentId,
    /// What will be done, as it was shown.
    pub plan: FleetPlan,
    /// Who wants it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether nobody asked for this very deployment: then it stops where somebody holds the environment.
    pub by_itself: bool,
}

/// Where to go back to.
#[derive(Debug, Clone, Default)]
pub struct Rollback {
    /// The release; `None` is the one before.
    pub to: Option<Digest>,
    /// Also if machines lack it, or can't be asked: then bytes move.
    pub force: bool,
}

/// What was seen before planning.
struct Seen {
    machines: BTreeMap<Name, Result<MachineState, String>>,
    balancer: Option<BalancerState>,
    /// Machines whose files of the release are not as they should be, and how; of those that were looked at so closely.
    damaged: BTreeMap<Name, String>,
    /// Why that can't be told of others.
    unread: Vec<String>,
}

impl Deployer {
    /// What the environment's log says.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn state(&self) -> Result<FleetState, FleetDriveError> {
        let entries = self.fleet.log.since(0)?;
        Ok(FleetState::of(entries.iter().map(|entry| (entry.at, &entry.event))))
    }

    /// Looks at everything and plans how a release comes to serve. Reads only.
    ///
    /// # Errors
    /// The log or the traffic provider can't be read, or it can't be planned.
    pub async fn plan(
        &self,
        release: Digest,
        setting: &ReleaseSetting,
    ) -> Result<FleetPlan, FleetDriveError> {
        let (state, seen) = (self.state()?, self.look().await?);
        self.plan_of(release, setting, Direction::Forward, &seen, &state)
    }

    /// The same, and every byte of the release is read on machines that run it already: those that have others are repaired. Takes as
    /// long as reading takes. Reads only.
    ///
    /// # Errors
    /// As [`Deployer::plan`]. A machine whose files can't be looked at is no error: the plan warns of it.
    pub async fn plan_repair(
        &self,
        release: Digest,
        setting: &ReleaseSetting,
    ) -> Result<FleetPlan, FleetDriveError> {
        let (state, seen) = (self.state()?, self.look_closely(&release).await?);
        self.plan_of(release, setting, Direction::Forward, &seen, &state)
    }

    /// Looks at everything, and at every byte of a release on machines that run it.
    async fn look_closely(&self, release: &Digest) -> Result<Seen, FleetDriveError> {
        let mut seen = self.look().await?;
        let runs = |(name, state): (&Name, &Result<MachineState, String>)| {
            let current = state.as_ref().ok()?.current?;
            (current == *release).then(|| name.clone())
        };
        let looks = seen.machines.iter().filter_map(runs).filter_map(|name| {
            let machine = self.fleet.machines.get(&name)?;
            Some(async move { (name, machine.inspect(release, Inspection::EveryByte).await) })
        });
        for (name, files) in join_all(looks).await {
            match files {
                Ok(Files::Complete) => {}
                Ok(Files::Damaged(what)) => {
                    seen.damaged.insert(name, what);
                }
                Ok(Files::Absent) => {
                    seen.damaged.insert(name, "the release is not there as it was brought".into());
                }
                Err(why) => {
                    seen.unread.push(format!("it can't be told whether the files on {name} are right: {why}"))
                }
            }
        }
        Ok(seen)
    }

    fn plan_of(
        &self,
        release: Digest,
        setting: &ReleaseSetting,
        direction: Direction,
        seen: &Seen,
        state: &FleetState,
    ) -> Result<FleetPlan, FleetDriveError> {
        let balancer = self.fleet.balancer.as_ref().zip(seen.balancer.as_ref());
        let current = seen.machines.values().filter_map(|seen| seen.as_ref().ok()?.current);
        let versions =
            current.chain([release]).filter_map(|one| Some((one, self.fleet.releases.version(&one)?)));
        let mut planned = plan(&Situation {
            environment: &self.fleet.environment,
            targets: &self.fleet.targets,
            release,
            setting,
            direction,
            machines: &seen.machines,
            traffic: balancer.map(|(balancer, state)| TrafficSeen {
                state,
                granularity: balancer.granularity(),
                lingers: balancer.lingers(),
            }),
            out: &state.out(),
            history: &state.history,
            damaged: &seen.damaged,
            floors: &state.floors,
            versions: &versions.collect(),
        })?;
        planned.warnings.extend(seen.unread.iter().cloned());
        planned.warnings.extend(balancer.iter().flat_map(|(balancer, _)| balancer.cautions()));
        let now = self.fleet.clock.now();
        let lingers =
            planned.traffic.as_ref().and_then(|_| lingering::of_all(state)).filter(|until| *until > now);
        planned.warnings.extend(lingers.map(|until| {
            format!(
                "for {} s more, clients may believe what they were told before the last change of who gets requests; machines that may \
                 still be asked are not touched before",
                (until - now).div_ceil(1000)
            )
        }));
        Ok(planned)
    }

    async fn look(&self) -> Result<Seen, FleetDriveError> {
        let looks = self.fleet.targets.iter().map(|target| async {
            let name = target.name.clone();
            let Some(machine) = self.fleet.machines.get(&name) else {
                return (name, Err("nobody said how it is reached".to_owned()));
            };
            let seen = match tokio::time::timeout(LOOK, machine.observe()).await {
                Ok(seen) => seen.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no answer within {} s", LOOK.as_secs())),
            };
            (name, seen)
        });
        let machines = join_all(looks).await.into_iter().collect();
        let balancer = match &self.fleet.balancer {
            None => None,
            Some(balancer) => match tokio::time::timeout(LOOK, balancer.observe()).await {
                Ok(Ok(state)) => Some(state),
                Ok(Err(error)) => return Err(FleetDriveError::TrafficUnseen { why: error.to_string() }),
                Err(_) => return Err(FleetDriveError::TrafficUnseen { why: NO_ANSWER.into() }),
            },
        };
        Ok(Seen { machines, balancer, damaged: BTreeMap::new(), unread: Vec::new() })
    }

    /// Writes down what is wanted, and drives it until it is over or waits for people.
    ///
    /// # Errors
    /// See [`FleetDriveError`]. A deployment that failed or went back is no error of the driver: it is
    /// [`Stopped::Over`] with the state that it ended in.
    pub async fn deploy(&self, request: Request, watcher: Watcher<'_>) -> Result<Stopped, FleetDriveError> {
        self.deploy_in_spite_of_the_floor(request, None, watcher).await
    }

    /// The same; `why` is a person's reason for a plan that the rollback floor refuses. It is written down beside the request.
    ///
    /// # Errors
    /// See [`FleetDriveError`].
    pub async fn deploy_in_spite_of_the_floor(
        &self,
        request: Request,
        why: Option<&str>,
        watcher: Watcher<'_>,
    ) -> Result<Stopped, FleetDriveError> {
        let Request { deployment, plan, by, reason, by_itself } = request;
        Self::refuse_below_floor(&plan, why)?;
        let overrule = why.map(|why| FleetEvent::Overridden {
            deployment: deployment.clone(),
            plan: plan.digest(),
            by: by.clone(),
            reason: why.to_owned(),
            freeze_only: false,
            floor: true,
        });
        // What would be refused leaves nothing behind that waits.
        self.refuse_while_undecided(plan.direction)?;
        let plan = Box::new(plan);
        let event = FleetEvent::Requested { deployment: deployment.clone(), plan, by, reason, by_itself };
        self.fleet.log.append(event).await?;
        if let Some(overrule) = overrule {
            self.fleet.log.append(overrule).await?;
        }
        self.drive(&deployment, watcher).await
    }

    /// Drives a deployment that was asked for until it is over or waits for people: also one that another process began.
    /// Dropping the future is like being killed.
    ///
    /// # Errors
    /// See [`FleetDriveError`].
    pub async fn drive(
        &self,
        deployment: &DeploymentId,
        watcher: Watcher<'_>,
    ) -> Result<Stopped, FleetDriveError> {
        loop {
            let mut lock = None;
            self.see_to_the_one_before(deployment, &mut lock, watcher).await?;
            let mut session =
                Session::new(&self.fleet, deployment.clone(), self.stay, &mut lock, &mut *watcher);
            match session.run().await? {
                Stopped::Outdated => self.replan(deployment).await?,
                stopped => return Ok(stopped),
            }
        }
    }

    /// Whether a deployment in this direction may be asked for: not while another waits for a decision that it would not be.
    /// Writes nothing.
    ///
    /// # Errors
    /// [`FleetDriveError::Unfinished`]; or the log can't be read.
    pub fn refuse_while_undecided(&self, direction: Direction) -> Result<(), FleetDriveError> {
        let state = self.state()?;
        let waits = |holder: &&DeploymentRecord| {
            let is_in_time = holder.since.saturating_add(self.fleet.limits.decision) > self.fleet.clock.now();
            let is_decided = holder.ask.is_some() || (holder.abort.is_some() && !holder.back);
            matches!(holder.state, DeploymentState::NeedsDecision) && is_in_time && !is_decided
        };
        let Some(holder) = state.holder().filter(waits) else { return Ok(()) };
        if direction == Direction::Back && !holder.back {
            return Ok(());
        }
        let why = holder.trouble.as_ref().map(|trouble| trouble.what.clone()).unwrap_or_default();
        let deployment = holder.deployment.clone();
        Err(FleetDriveError::Unfinished { deployment, why, remedy: decided_by(holder) })
    }

    /// Whether a plan may be asked for, as far as the rollback floor goes; `why` is a person's reason to do it nevertheless.
    ///
    /// # Errors
    /// [`FleetDriveError::BelowFloor`].
    pub fn refuse_below_floor(plan: &FleetPlan, why: Option<&str>) -> Result<(), FleetDriveError> {
        let refused = plan.floor.as_ref().and_then(|floor| floor.refused.clone());
        match refused.filter(|_| why.is_none()) {
            Some(why) => Err(FleetDriveError::BelowFloor { why }),
            None => Ok(()),
        }
    }

    /// A deployment whose driver died is reversed, before another begins.
    async fn see_to_the_one_before(
        &self,
        deployment: &DeploymentId,
        lock: &mut Option<Lock>,
        watcher: Watcher<'_>,
    ) -> Result<(), FleetDriveError> {
        let state = self.state()?;
        let wanted = state.deployment(deployment);
        let asked = wanted.is_some_and(|record| record.state.is_terminal());
        let goes_back = wanted.is_some_and(|record| record.plan.direction == Direction::Back);
        let Some(holder) = state.holder().filter(|holder| holder.deployment != *deployment && !asked) else {
            return Ok(());
        };
        if let Some(path) = &self.fleet.lock {
            // If its driver lives, this waits for it, and is told who it is; unless nobody wants it any more.
            *lock = tokio::select! {
                taken = crate::drive::lock::take(path, Duration::from_secs(10)) => Some(taken?),
                aborted = self.aborted(deployment) => return aborted,
            };
        }
        let before = holder.deployment.clone();
        // Whoever has it stand still says when it goes on, also if its driver died.
        let stands_still = holder.pause && holder.abort.is_none();
        let waits = matches!(holder.state, DeploymentState::NeedsDecision) || stands_still;
        // Whoever goes back has decided what becomes of the one that waits for a decision.
        if !holder.back && (!waits || goes_back) {
            let reason = match waits {
                true => format!("deployment {deployment} goes back"),
                false => format!("its driver died, and deployment {deployment} is to begin"),
            };
            let (by, ask) = (self.fleet.who.clone(), Ask::Abort { reason });
            self.fleet.log.append(FleetEvent::Asked { deployment: before.clone(), by, ask }).await?;
        }
        let stopped = Session::new(&self.fleet, before.clone(), false, lock, watcher).run().await?;
        match stopped {
            Stopped::Over(_) => Ok(()),
            Stopped::Waits(waiting) => {
                let remedy = self.state()?.deployment(&before).map_or(DECIDE, decided_by);
                let why = waiting.what.to_string();
                Err(FleetDriveError::Unfinished { deployment: before, why, remedy })
            }
            Stopped::Outdated => Ok(()),
        }
    }

    /// Plans anew what is there now; approvals of the plan before are void by that.
    async fn replan(&self, deployment: &DeploymentId) -> Result<(), FleetDriveError> {
        let state = self.state()?;
        let unknown = || FleetDriveError::Unknown { deployment: deployment.clone() };
        let old = state.deployment(deployment).ok_or_else(unknown)?.plan.clone();
        // Whoever is told to stop does not wait for machines that do not answer.
        let repairs = old.members().any(|one| one.action == TargetAction::Repair);
        let look = async { if repairs { self.look_closely(&old.release).await } else { self.look().await } };
        let seen = tokio::select! {
            seen = look => seen?,
            aborted = self.aborted(deployment) => return aborted,
        };
        let plan = self.plan_of(old.release, &old.setting, old.direction, &seen, &state)?;
        let event = FleetEvent::Replanned { deployment: deployment.clone(), plan: Box::new(plan) };
        self.fleet.log.append(event).await?;
        Ok(())
    }

    /// Returns when somebody wants the deployment stopped.
    async fn aborted(&self, deployment: &DeploymentId) -> Result<(), FleetDriveError> {
        loop {
            let entries = self.fleet.log.since(0)?;
            let state = FleetState::of(entries.iter().map(|entry| (entry.at, &entry.event)));
            if state.deployment(deployment).is_some_and(|record| record.abort.is_some()) {
                return Ok(());
            }
            self.fleet.log.changed(entries.last().map_or(0, |entry| entry.position)).await;
        }
    }

    /// Plans the way back to a release that was there: no gates, no canary, no bytes. Every machine is asked first whether it
    /// has the release. Reads only; [`Deployer::deploy`] does it.
    ///
    /// # Errors
    /// There is none to go back to, or machines lack it or can't be asked, and it is not forced.
    pub async fn plan_rollback(&self, rollback: &Rollback) -> Result<FleetPlan, FleetDriveError> {
        let (state, seen) = (self.state()?, self.look().await?);
        let now = state.history.first().copied();
        // While another release is on its way, the one before it is the one that came to serve last.
        let forward = |holder: &DeploymentRecord| holder.plan.direction == Direction::Forward;
        let on_its_way = state.holder().filter(|holder| forward(holder)).map(|holder| holder.plan.release);
        let leaves = on_its_way.or(now);
        let before = || state.history.iter().find(|known| Some(**known) != leaves).copied();
        let to = rollback.to.or_else(before).ok_or(FleetDriveError::NothingToGoBackTo)?;
        refuse_what_never_served(&to, &state)?;
        let setting = self.fleet.releases.setting(&to);
        let setting = setting.as_ref().unwrap_or(&self.fleet.environment.setting);
        let plan = self.plan_of(to, setting, Direction::Back, &seen, &state)?;
        if !rollback.force {
            check_everywhere(&plan, &seen)?;
        }
        Ok(plan)
    }

    /// Plans to give the requests to the other pool with what it runs: back, or forth again. Reads only.
    ///
    /// # Errors
    /// There are no pools, or the other pool does not run one release on all its machines.
    pub async fn plan_swap(&self) -> Result<FleetPlan, FleetDriveError> {
        let (state, seen) = (self.state()?, self.look().await?);
        let Rollout::BlueGreen { pools, .. } = &self.fleet.environment.rollout else {
            return Err(FleetDriveError::NotPools);
        };
        let serving = seen.balancer.as_ref().map(BalancerState::serving).unwrap_or_default();
        let of = |pool: &Name| -> Vec<&Name> {
            let members = self.fleet.targets.iter().filter(|target| target.pool.as_ref() == Some(pool));
            let names = members.map(|target| &target.name);
            names.filter(|name| !state.quarantined.contains_key(*name)).collect()
        };
        let idle = pools.iter().find(|pool| !of(pool).iter().any(|name| serving.contains(name)));
        let Some(pool) = idle.cloned() else { return Err(FleetDriveError::NotPools) };
        // What was stopped because its time was over is started again.
        let stopped = |name: &Name| state.warm.as_ref().is_some_and(|warm| warm.may_be_stopped(name));
        let runs = |name: &Name| {
            let seen = seen.machines.get(name)?.as_ref().ok()?;
            let there = |release: &Digest| stopped(name) && seen.releases.contains(release);
            seen.current.or_else(|| seen.previous.filter(there))
        };
        let not_ready = |why: &str| FleetDriveError::PoolNotReady { pool: pool.clone(), why: why.into() };
        let first =
            of(&pool).first().copied().and_then(runs).ok_or_else(|| not_ready("it runs no release"))?;
        if of(&pool).into_iter().any(|name| runs(name) != Some(first)) {
            return Err(not_ready("its machines do not all run the same release"));
        }
        refuse_what_never_served(&first, &state)?;
        let setting = self.fleet.releases.setting(&first);
        let setting = setting.as_ref().unwrap_or(&self.fleet.environment.setting);
        let plan = self.plan_of(first, setting, Direction::Back, &seen, &state)?;
        match &plan.pace.kind {
            PaceKind::Pools { to, .. } if *to == pool => Ok(plan),
            _ => Err(not_ready("the pool that serves runs the same release")),
        }
    }

    /// Nothing is deployed by itself any more until a person says so: somebody went back to an older release.
    ///
    /// # Errors
    /// The log can't be written.
    pub async fn hold(&self, by: &str, reason: &str) -> Result<(), FleetDriveError> {
        let event = FleetEvent::Held { by: by.to_owned(), reason: reason.to_owned() };
        Ok(self.fleet.log.append(event).await.map(drop)?)
    }

    /// What a person wants of a deployment. It is heeded by whoever drives it, within a second.
    ///
    /// # Errors
    /// The log can't be written, or knows no such deployment.
    pub async fn ask(&self, deployment: &DeploymentId, by: &str, ask: Ask) -> Result<(), FleetDriveError> {
        if self.state()?.deployment(deployment).is_none() {
            return Err(FleetDriveError::Unknown { deployment: deployment.clone() });
        }
        let event = FleetEvent::Asked { deployment: deployment.clone(), by: by.to_owned(), ask };
        self.fleet.log.append(event).await?;
        Ok(())
    }
}

/// How a person decides where it stopped above the rollback floor.
pub(super) const ABOVE_THE_FLOOR: &str = "say `staith release override --floor` to go back nevertheless, or `retry` to go on, or `accept` to take it as it is";

const DECIDE: &str = "`staith release retry`, `skip`, `accept` or `abort` decides";

/// How a person decides what becomes of a deployment.
fn decided_by(record: &DeploymentRecord) -> &'static str {
    match record.back {
        true if record.may_not_go_back().is_some() => ABOVE_THE_FLOOR,
        true => "`staith release retry`, `skip` or `accept` decides",
        false if record.pause && record.state != DeploymentState::NeedsDecision => {
            "`staith release resume` or `abort` decides"
        }
        false => DECIDE,
    }
}

/// The way back asks nobody, so it leads only to what came to serve once: by a deployment that was agreed to, or before there was any.
fn refuse_what_never_served(to: &Digest, state: &FleetState) -> Result<(), FleetDriveError> {
    let showed = state.in_order().filter(|record| record.showed);
    let mut served = state.history.iter().copied().chain(showed.filter_map(|record| record.plan.previous));
    if served.any(|known| known == *to) {
        return Ok(());
    }
    let known = state.history.iter().map(Digest::short).collect();
    Err(FleetDriveError::NeverServed { release: to.short(), known })
}

/// Nobody goes back to a release that is there in parts only.
fn check_everywhere(plan: &FleetPlan, seen: &Seen) -> Result<(), FleetDriveError> {
    let changes: Vec<&Name> = plan.members().map(|one| &one.target.name).collect();
    let unseen: Vec<Name> = plan
        .members()
        .filter(|one| one.action == TargetAction::Unreachable)
        .map(|one| one.target.name.clone())
        .collect();
    if !unseen.is_empty() {
        return Err(FleetDriveError::Unseen { unseen });
    }
    let on =
        |name: &Name| seen.machines.get(name).and_then(|seen| seen.as_ref().ok()).map(|seen| &seen.releases);
    let lacks = |name: &&&Name| !on(name).is_some_and(|releases| releases.contains(&plan.release));
    let missing: Vec<Name> = changes.iter().filter(lacks).map(|name| (**name).clone()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut everywhere = changes.first().and_then(|name| on(name)).cloned().unwrap_or_default();
    everywhere
        .retain(|release| changes.iter().all(|name| on(name).is_some_and(|there| there.contains(release))));
    let everywhere = match everywhere.is_empty() {
        true => "none is".into(),
        false => everywhere.iter().map(Digest::short).collect::<Vec<_>>().join(", "),
    };
    Err(FleetDriveError::BeyondRetention { release: plan.release.short(), missing, everywhere })
}
