//! One deployment in the simulated world, from beginning to end, however often its driver dies.

mod props;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use staith_model::{
    Access, Ask, DeploymentId, DeploymentState, Digest, FleetEnvironment, FleetState, HealthCheck, Hook,
    Name, ReleaseSetting, Rollout, Schema, Service, Target, TargetAction, TrafficSpec,
};

use props::Shelf;
pub use props::TheJudge;

use super::{
    balancer::Front,
    faults::Faults,
    machine::Seam,
    oracle,
    world::{SimulatedMachine, Truth, World},
};
use crate::fleet::{
    balancer::Balancer,
    drive::{Clock, Deployer, Fleet, FleetDriveError, Limits, Log, Request, Stamped, Stopped, Verdict},
    machine::Machine,
};

/// When the simulation begins, in milliseconds since 1970.
pub const BEGINNING: u64 = 1_700_000_000_000;

/// When it has to be over, in milliseconds.
const LONGEST: u64 = 40_000_000;

/// A deployment, and what goes wrong with it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// How many machines; in a blue-green environment, the first half is blue.
    pub targets: usize,
    /// In which order they change.
    pub rollout: Rollout,
    /// Whether somebody balances.
    pub balanced: bool,
    /// How long clients believe what they were told before about who serves.
    pub lingers: Duration,
    /// Whether the machines run an older release.
    pub before: bool,
    /// Hooks of the release.
    pub hooks: Vec<Hook>,
    /// What the release does to the schema of its data.
    pub schema: Option<Schema>,
    /// Machines on which the new release does not work.
    pub sick: BTreeSet<usize>,
    /// Machines whose service can't be restarted.
    pub stubborn: BTreeSet<usize>,
    /// What goes wrong with calls.
    pub faults: Faults,
    /// When somebody wants it stopped, in milliseconds from the beginning.
    pub abort_at: Option<u64>,
    /// What else somebody wants of it, and when, in milliseconds from the beginning; in the order of time.
    pub asks: Vec<(u64, Ask)>,
    /// When its driver is stopped without its knowledge and another takes over, in milliseconds from the beginning, and
    /// when the first goes on.
    pub stale: Option<(u64, u64)>,
    /// What the first measurements say, one after another.
    pub first_verdicts: Vec<Verdict>,
    /// What all later measurements say.
    pub verdict: Verdict,
    /// Whether gates stay shut.
    pub shut: bool,
    /// Where the log is a ledger: its directory. Otherwise it is in memory.
    pub ledger: Option<PathBuf>,
}

/// How it ended.
pub struct Ended {
    /// The state that it ended in.
    pub state: DeploymentState,
    /// The world.
    pub world: World,
    /// The log.
    pub entries: Vec<Stamped>,
    /// Its driver.
    pub deployer: Deployer,
    /// The deployment.
    pub deployment: DeploymentId,
    /// What a driver that had lost its lease said in the end.
    pub stale: Option<Result<Stopped, FleetDriveError>>,
    /// How often drivers were killed.
    pub kills: usize,
}

/// A digest for tests.
pub fn digest(of: &str) -> Digest {
    Digest::of(of.as_bytes())
}

/// The name of a machine by its number.
///
/// # Panics
/// Never: `m` and a number is a name.
#[allow(clippy::expect_used, reason = "the text is a name whatever the number")]
pub fn name(number: usize) -> Name {
    format!("m{number}").parse().expect("m and a number is a name")
}

type Driver = Pin<Box<dyn Future<Output = Result<Stopped, FleetDriveError>> + Send>>;

/// A driver of its own, as another process would be.
fn driver(deployer: &Deployer, deployment: &DeploymentId) -> Driver {
    let (deployer, deployment) = (deployer.clone(), deployment.clone());
    Box::pin(async move { deployer.drive(&deployment, &mut |_: &Stamped| {}).await })
}

async fn and_go_on(driver: &mut Option<Driver>) -> Result<Stopped, FleetDriveError> {
    match driver {
        Some(driver) => driver.await,
        None => std::future::pending().await,
    }
}

impl Scenario {
    /// A quiet one.
    pub fn of(targets: usize, rollout: Rollout) -> Self {
        Self {
            targets,
            rollout,
            balanced: true,
            before: true,
            hooks: Vec::new(),
            schema: None,
            sick: BTreeSet::new(),
            stubborn: BTreeSet::new(),
            faults: Faults::new(),
            abort_at: None,
            asks: Vec::new(),
            stale: None,
            first_verdicts: Vec::new(),
            verdict: Verdict::Pass,
            shut: false,
            ledger: None,
            lingers: Duration::ZERO,
        }
    }

    /// The release that is there.
    pub fn old(&self) -> Digest {
        digest("old")
    }

    /// The release that comes.
    pub fn wanted(&self) -> Digest {
        digest("new")
    }

    /// Whether the machines are in two pools.
    pub const fn has_pools(&self) -> bool {
        matches!(self.rollout, Rollout::BlueGreen { .. })
    }

    fn pool(&self, number: usize) -> Option<Name> {
        let Rollout::BlueGreen { pools: [blue, green], .. } = &self.rollout else { return None };
        Some(if number < self.targets / 2 { blue.clone() } else { green.clone() })
    }

    /// Machines that get requests at the beginning.
    pub fn serving(&self) -> BTreeSet<Name> {
        let blue = if self.has_pools() { self.targets / 2 } else { self.targets };
        let all = if self.before { blue } else { 0 };
        (0..all).map(name).collect()
    }

    /// How releases run in it.
    pub fn setting(&self) -> ReleaseSetting {
        ReleaseSetting {
            folder: "/srv/app".into(),
            service: Service::Files,
            health: Some(HealthCheck {
                path: "/".into(),
                release_header: None,
                release_file: None,
                deadline_seconds: 5,
                successes: 1,
            }),
            port: Some(80),
            min_healthy_seconds: 0,
            variables: BTreeMap::new(),
            role_variables: BTreeMap::new(),
            secrets: BTreeMap::new(),
            rendered: Vec::new(),
            schema: self.schema.clone(),
            hooks: self.hooks.clone(),
        }
    }

    fn targets(&self) -> Vec<Target> {
        let target = |number| Target {
            name: name(number),
            access: Access::Local,
            pool: self.pool(number),
            tags: BTreeSet::new(),
            roles: BTreeSet::new(),
            variables: BTreeMap::new(),
            serves_at: None,
        };
        (0..self.targets).map(target).collect()
    }

    /// The environment.
    pub fn environment(&self) -> FleetEnvironment {
        let front = TrafficSpec::BuiltIn { nodes: vec!["unix:/run/p.sock".into()], backend: "shop".into() };
        FleetEnvironment {
            name: name(0),
            targets: self.targets(),
            inventory: None,
            setting: self.setting(),
            rollout: self.rollout.clone(),
            traffic: self.balanced.then_some(front),
            drain_seconds: 1,
            keep_releases: 2,
        }
    }

    /// The world at the beginning. Needs tokio's clock.
    pub fn world(&self) -> World {
        let mut machines = BTreeMap::new();
        for number in 0..self.targets {
            let mut machine = SimulatedMachine::running(self.before.then(|| self.old()));
            if self.sick.contains(&number) {
                machine.sick.insert(self.wanted());
            }
            machine.stubborn = self.stubborn.contains(&number);
            machines.insert(name(number), machine);
        }
        let admitted = self.serving().into_iter().map(|name| (name, 256)).collect();
        let blue = if self.has_pools() { self.targets / 2 } else { 0 };
        World::new(Truth {
            machines,
            admitted: self.balanced.then_some(admitted),
            served_before: self.serving().into_iter().collect(),
            balancer_epoch: 0,
            faults: self.faults.clone(),
            calls: 0,
            effects: Vec::new(),
            violations: Vec::new(),
            wanted: self.wanted(),
            max_unavailable: usize::MAX,
            drains: false,
            nobody_before: !self.before,
            left_out: (0..blue).map(name).collect(),
            lingers: self.lingers,
            left: BTreeMap::new(),
        })
    }

    /// A driver in the world.
    pub fn deployer(&self, world: &World) -> Deployer {
        // A ledger stamps its entries with the machine's own time.
        let beginning = if self.ledger.is_some() { Clock::system().now() } else { BEGINNING };
        let clock = {
            let world = world.clone();
            Clock::of(move || beginning + world.now())
        };
        let log = match &self.ledger {
            Some(directory) => Log::of_environment(directory, &name(0), &name(0)),
            None => Log::in_memory(clock.clone()),
        };
        let seam = |target: &Target| -> (Name, Arc<dyn Machine>) {
            (target.name.clone(), Arc::new(Seam { world: world.clone(), name: target.name.clone() }))
        };
        let front =
            || -> Arc<dyn Balancer> { Arc::new(Front { world: world.clone(), lingers: self.lingers }) };
        let environment = self.environment();
        let fleet = Fleet {
            targets: environment.targets.clone(),
            machines: environment.targets.iter().map(seam).collect(),
            balancer: self.balanced.then(front),
            environment,
            releases: Arc::new(Shelf),
            judge: Arc::new(TheJudge {
                shut: self.shut,
                first: Mutex::new(self.first_verdicts.iter().cloned().collect()),
                verdict: self.verdict.clone(),
            }),
            log,
            lock: None,
            clock,
            limits: limits(),
            who: "a driver".into(),
            watch: Arc::new(|_, _| {}),
        };
        Deployer { fleet, stay: true }
    }

    /// Runs it to its end. A driver that is killed is followed by another.
    ///
    /// # Errors
    /// The driver's own, or that it does not end.
    pub async fn run(&self) -> Result<Ended, String> {
        let world = self.world();
        let deployer = self.deployer(&world);
        let faults = std::mem::take(&mut world.truth().faults);
        let plan = deployer.plan(self.wanted(), &self.setting()).await.map_err(|error| error.to_string())?;
        {
            // Planning is quiet: the schedule is about the driver.
            let mut truth = world.truth();
            truth.faults = faults;
            truth.calls = 0;
            let stays = |one: &&staith_model::TargetPlan| one.action == TargetAction::Kept;
            truth.left_out = plan.targets.iter().filter(stays).map(|one| one.target.name.clone()).collect();
            truth.max_unavailable = usize::try_from(plan.pace.max_unavailable).unwrap_or(usize::MAX);
            truth.drains = plan.pace.drains || (self.has_pools() && self.before);
        }
        let deployment = DeploymentId::new(BEGINNING, [7; 10]);
        let request = Request {
            deployment: deployment.clone(),
            plan,
            by: "somebody".into(),
            reason: "it is time".into(),
            by_itself: false,
        };
        let event = staith_model::FleetEvent::Requested {
            deployment: request.deployment,
            plan: Box::new(request.plan),
            by: request.by,
            reason: request.reason,
            by_itself: request.by_itself,
        };
        deployer.fleet.log.append(event).await.map_err(|error| error.to_string())?;
        let (state, kills, stale) = self.drive(&world, &deployer, &deployment).await?;
        let entries = deployer.fleet.log.since(0).map_err(|error| error.to_string())?;
        let began = self.serving().into_iter().map(|name| (name, 256)).collect();
        let shares = oracle::check_shares(&entries, &deployment, began);
        world.truth().violations.extend(shares);
        Ok(Ended { state, world, entries, deployer, deployment, stale, kills })
    }

    async fn drive(
        &self,
        world: &World,
        deployer: &Deployer,
        deployment: &DeploymentId,
    ) -> Result<(DeploymentState, usize, Option<Result<Stopped, FleetDriveError>>), String> {
        let asking = self.ask_later(world, deployer, deployment);
        tokio::pin!(asking);
        let (mut kills, mut asked, mut stale) = (0, false, None);
        let mut driver = driver(deployer, deployment);
        let (mut frozen, mut thawed): (Option<Driver>, Option<Driver>) = (None, None);
        let (freeze_at, thaw_at) = self.stale.unwrap_or((u64::MAX, u64::MAX));
        let mut to_freeze = self.stale.is_some();
        let mut ended = None;
        loop {
            if let (Some(state), None, None) = (ended, &frozen, &thawed) {
                return Ok((state, kills, stale));
            }
            tokio::select! {
                biased;
                () = world.killed() => {
                    kills += 1;
                    driver = self::driver(deployer, deployment);
                }
                () = &mut asking, if !asked => asked = true,
                stopped = &mut driver, if ended.is_none() => match stopped {
                    Ok(Stopped::Over(state)) => ended = Some(state),
                    Ok(other) => return Err(format!("it stopped: {other:?}")),
                    Err(error) => return Err(error.to_string()),
                },
                stopped = and_go_on(&mut thawed), if thawed.is_some() => {
                    stale = Some(stopped);
                    thawed = None;
                }
                () = world.at(freeze_at), if to_freeze => {
                    to_freeze = false;
                    frozen = Some(std::mem::replace(&mut driver, self::driver(deployer, deployment)));
                }
                () = world.at(thaw_at), if frozen.is_some() => thawed = frozen.take(),
                () = world.at(LONGEST), if ended.is_none() => return Err("it does not end".into()),
            }
        }
    }

    async fn ask_later(&self, world: &World, deployer: &Deployer, deployment: &DeploymentId) {
        let abort = self.abort_at.map(|at| (at, Ask::Abort { reason: "a test".into() }));
        let mut asks: Vec<(u64, Ask)> = self.asks.iter().cloned().chain(abort).collect();
        asks.sort_by_key(|(at, _)| *at);
        for (at, ask) in asks {
            world.at(at).await;
            let _ = deployer.ask(deployment, "somebody", ask).await;
        }
    }
}

/// Shorter than for people, and long enough for every fault to heal.
pub(super) fn limits() -> Limits {
    Limits {
        // Several in a row on one machine must not look like one that is gone.
        contact: 300_000,
        staging: 600_000,
        wave: 600_000,
        pause: 120_000,
        decision: 120_000,
        halting: 5_000,
        back: 600_000,
        finalizing: 60_000,
        ..Limits::default()
    }
}

impl Ended {
    /// What the log says.
    pub fn fold(&self) -> FleetState {
        FleetState::of(self.entries.iter().map(|entry| (entry.at, &entry.event)))
    }
}
