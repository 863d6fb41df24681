//! The loop: read the log, decide, write the intent, do it, write the outcome.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use staith_model::{
    DeploymentChange, DeploymentId, DeploymentRecord, DeploymentState, Digest, Direction, FleetEvent,
    FleetState, Lost, Name, Work, WorkResult,
};
use tokio_util::sync::CancellationToken;

#[cfg(not(test))]
use super::decide::decide;
#[cfg(test)]
use super::wrong::decide;
use super::{
    error::FleetDriveError,
    lingering,
    log::Stamped,
    seams::Fleet,
    view::{Decision, Gates, Sight, Sights, View, Waiting},
    work::{Effect, perform},
};
use crate::drive::{
    LockError,
    lock::{self, Lock},
};

/// Told every entry of the log, in order, as it is read; must be quick.
pub type Watcher<'a> = &'a mut (dyn FnMut(&Stamped) + Send);

/// Why a driver stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// The deployment is over.
    Over(DeploymentState),
    /// It waits for people, or for the world outside. Driving it again goes on.
    Waits(Waiting),
    /// Its plan has to be made anew.
    Outdated,
}

type Flight = Pin<Box<dyn Future<Output = (Work, Digest, Effect)> + Send>>;

/// One deployment, driven by this process.
pub(super) struct Session<'a> {
    fleet: &'a Fleet,
    id: DeploymentId,
    state: FleetState,
    position: u64,
    sights: Sights,
    running: BTreeSet<Work>,
    cuts: BTreeMap<Work, CancellationToken>,
    flights: FuturesUnordered<Flight>,
    gates: Gates,
    /// Whether to stay when it waits for people.
    stay: bool,
    lock: &'a mut Option<Lock>,
    epoch: Option<u64>,
    lock_patience: u64,
    watcher: Watcher<'a>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        fleet: &'a Fleet,
        id: DeploymentId,
        stay: bool,
        lock: &'a mut Option<Lock>,
        watcher: Watcher<'a>,
    ) -> Self {
        Self {
            fleet,
            id,
            state: FleetState::default(),
            position: 0,
            sights: Sights::default(),
            running: BTreeSet::new(),
            cuts: BTreeMap::new(),
            flights: FuturesUnordered::new(),
            gates: Gates::Waiting { what: Vec::new(), until: u64::MAX },
            stay,
            lock,
            epoch: None,
            lock_patience: 10_000,
            watcher,
        }
    }

    /// Drives until it is over or waits for people. Dropping it is like being killed.
    pub(super) async fn run(&mut self) -> Result<Stopped, FleetDriveError> {
        loop {
            self.catch_up()?;
            let record = self.record()?.clone();
            self.check_lease(&record)?;
            if record.state.holds_environment() && self.epoch.is_none() {
                self.acquire(&record).await?;
                continue;
            }
            self.cut_what_is_not_waited_for(&record).await?;
            if record.state == DeploymentState::AwaitingGates {
                self.judge(&record).await?;
                // Judging takes time, in which somebody may have written something.
                self.catch_up()?;
            }
            match self.decide()? {
                Decision::Over => return Ok(Stopped::Over(self.record()?.state)),
                Decision::Change(change, reason) => self.change(change, reason).await?,
                Decision::Replan => return Ok(Stopped::Outdated),
                Decision::Acquire => self.acquire(&record).await?,
                Decision::Do(works) => {
                    for work in works {
                        self.begin(work).await?;
                    }
                }
                Decision::Wait(waiting) => {
                    if waiting.what.is_outside() && !self.stay && self.running.is_empty() {
                        return Ok(Stopped::Waits(waiting));
                    }
                    self.wait(waiting.until).await?;
                }
            }
        }
    }

    fn decide(&self) -> Result<Decision, FleetDriveError> {
        let out: BTreeSet<Name> = self.state.quarantined.keys().cloned().collect();
        Ok(decide(&View {
            record: self.record()?,
            out: &out,
            sights: &self.sights,
            running: &self.running,
            gates: &self.gates,
            held: self.state.held.as_deref(),
            lingers: lingering::of_others(&self.state, &self.id),
            limits: &self.fleet.limits,
            now: self.fleet.clock.now(),
        }))
    }

    fn record(&self) -> Result<&DeploymentRecord, FleetDriveError> {
        let unknown = || FleetDriveError::Unknown { deployment: self.id.clone() };
        self.state.deployment(&self.id).ok_or_else(unknown)
    }

    fn catch_up(&mut self) -> Result<(), FleetDriveError> {
        for entry in self.fleet.log.since(self.position)? {
            self.position = entry.position;
            self.state.apply(entry.at, &entry.event);
            (self.watcher)(&entry);
        }
        Ok(())
    }

    /// Somebody with a newer lease drives: this one touches nothing any more.
    fn check_lease(&self, record: &DeploymentRecord) -> Result<(), FleetDriveError> {
        #[cfg(test)]
        if super::wrong::Wrong::Lease.is_forgotten() {
            return Ok(());
        }
        match self.epoch {
            Some(epoch) if epoch != record.epoch || epoch != self.state.epoch => {
                let why = format!("its epoch is {}, ours is {epoch}", self.state.epoch);
                Err(FleetDriveError::Overtaken { why })
            }
            _ => Ok(()),
        }
    }

    async fn append(&mut self, event: FleetEvent) -> Result<(), FleetDriveError> {
        self.fleet.log.append(event).await?;
        self.catch_up()
    }

    async fn change(
        &mut self,
        change: DeploymentChange,
        reason: Option<staith_model::Reason>,
    ) -> Result<(), FleetDriveError> {
        let (before, epoch) = (self.record()?.clone(), self.record()?.epoch);
        let deployment = self.id.clone();
        self.append(FleetEvent::Changed { deployment, epoch, change, reason }).await?;
        let after = self.record()?;
        self.check_lease(after)?;
        if after.state == before.state && after.since == before.since && after.ask == before.ask {
            // Deciding the same again and again would never end.
            return Err(FleetDriveError::Stuck { state: format!("{:?} ({change:?})", after.state) });
        }
        Ok(())
    }

    async fn judge(&mut self, record: &DeploymentRecord) -> Result<(), FleetDriveError> {
        let judge = Arc::clone(&self.fleet.judge);
        let mut judging = judge.gates(record);
        let gates = loop {
            tokio::select! {
                gates = &mut judging => break gates,
                () = self.fleet.log.changed(self.position) => {
                    self.catch_up()?;
                    if self.record()?.abort.is_some() {
                        return Ok(());
                    }
                }
            }
        };
        let what = match &gates {
            Gates::Open | Gates::OpenByDefault { .. } => Vec::new(),
            Gates::Waiting { what, .. } => what.clone(),
            Gates::Refused { why } => vec![why.clone()],
            Gates::Superseded { by } => vec![format!("{by} took its place")],
        };
        let by_default_at_the_deadline = match &gates {
            Gates::OpenByDefault { missing } => Some(missing.clone()),
            _ => None,
        };
        let open = matches!(gates, Gates::Open | Gates::OpenByDefault { .. });
        let refused = matches!(gates, Gates::Refused { .. } | Gates::Superseded { .. });
        self.gates = gates;
        let before = self.record()?;
        if before.gates != what || before.by_default != by_default_at_the_deadline {
            let (deployment, plan) = (self.id.clone(), record.plan.digest());
            let judged =
                FleetEvent::Gates { deployment, plan, open, what, refused, by_default_at_the_deadline };
            self.append(judged).await?;
        }
        Ok(())
    }

    /// Lock, then epoch, then the change that says so.
    async fn acquire(&mut self, record: &DeploymentRecord) -> Result<(), FleetDriveError> {
        if let (None, Some(path)) = (&*self.lock, &self.fleet.lock) {
            match lock::take(path, Duration::ZERO).await {
                Ok(lock) => *self.lock = Some(lock),
                Err(error @ LockError::Held { .. }) => {
                    let waited = self.fleet.clock.now().saturating_sub(record.since);
                    if waited >= self.lock_patience {
                        return Err(error.into());
                    }
                    return self.wait(self.fleet.clock.now() + 200).await;
                }
                Err(error) => return Err(error.into()),
            }
            // What the one before wrote last has to be seen.
            self.catch_up()?;
            if record.state == DeploymentState::Acquiring && record.by_itself && self.state.held.is_some() {
                // It went back meanwhile, and this one may not begin any more.
                *self.lock = None;
                return Ok(());
            }
        }
        let epoch = self.state.epoch.max(record.plan.epoch_seen).saturating_add(1);
        let (deployment, who) = (self.id.clone(), self.fleet.who.clone());
        self.epoch = Some(epoch);
        self.append(FleetEvent::Lease { deployment, epoch, who }).await?;
        self.check_lease(self.record()?)?;
        if self.record()?.state == DeploymentState::Acquiring {
            self.lift_hold().await?;
            self.change(DeploymentChange::Acquired, None).await?;
        }
        Ok(())
    }

    /// Whoever asks for a deployment has decided; but not before it may begin.
    async fn lift_hold(&mut self) -> Result<(), FleetDriveError> {
        let record = self.record()?;
        if self.state.held.is_none() || record.by_itself || record.plan.direction == Direction::Back {
            return Ok(());
        }
        let reason = format!("release {} was deployed by hand", record.plan.release.short());
        let by = record.by.clone();
        self.append(FleetEvent::HoldLifted { by, reason }).await
    }

    /// The intent is written before the effect.
    async fn begin(&mut self, work: Work) -> Result<(), FleetDriveError> {
        let operation = self.record()?.operation(&work);
        let epoch = self.record()?.epoch;
        if !work.only_reads() {
            self.forget(&work);
            let deployment = self.id.clone();
            self.append(FleetEvent::Intent { deployment, operation, epoch, work: work.clone() }).await?;
            self.check_lease(self.record()?)?;
        }
        let cut = CancellationToken::new();
        let record = Arc::new(self.record()?.clone());
        self.running.insert(work.clone());
        self.cuts.insert(work.clone(), cut.clone());
        self.flights.push(Box::pin(perform(self.fleet.clone(), record, work, operation, cut)));
        Ok(())
    }

    /// What was seen before something was done says nothing of what is there after.
    fn forget(&mut self, work: &Work) {
        if let Some(target) = work.target() {
            self.sights.machines.remove(target);
        }
        if matches!(work, Work::Serve { .. }) {
            self.sights.balancer = None;
        }
    }

    async fn ended(&mut self, work: Work, operation: Digest, effect: Effect) -> Result<(), FleetDriveError> {
        self.running.remove(&work);
        self.cuts.remove(&work);
        if !work.only_reads() {
            self.forget(&work);
        }
        let at = self.fleet.clock.now();
        match (effect, work.target()) {
            (Effect::Saw(what), Some(target)) => {
                self.sights.machines.insert(target.clone(), Sight::Seen { at, what });
            }
            (Effect::SawTraffic(what), _) => self.sights.balancer = Some(Sight::Seen { at, what }),
            (Effect::Blind(why), Some(target)) => {
                let before = self.sights.machines.get(target).and_then(Sight::lost);
                let lost = Lost::again(before, at, &why);
                self.sights.machines.insert(target.clone(), Sight::Lost(lost));
            }
            (Effect::Blind(why), None) => {
                let before = self.sights.balancer.as_ref().and_then(Sight::lost);
                self.sights.balancer = Some(Sight::Lost(Lost::again(before, at, &why)));
            }
            (Effect::Fenced(why), _) => return Err(FleetDriveError::Overtaken { why }),
            (Effect::Result(result), _) => self.write_down(work, operation, result).await?,
            (Effect::Cut | Effect::Saw(_), _) => {}
        }
        Ok(())
    }

    async fn write_down(
        &mut self,
        work: Work,
        operation: Digest,
        result: WorkResult,
    ) -> Result<(), FleetDriveError> {
        // Under its own epoch, not under the one that the log has by now: what a driver that was overtaken says counts for nothing.
        let epoch = self.epoch.map_or_else(|| self.record().map(|record| record.epoch), Ok)?;
        let deployment = self.id.clone();
        self.append(FleetEvent::Outcome { deployment, operation, work, epoch, result }).await
    }

    /// Waits until something is done, the log has grown, or it is `until`.
    async fn wait(&mut self, until: u64) -> Result<(), FleetDriveError> {
        // A clock may be set: nothing is waited for in one piece for longer than a minute.
        let pause = Duration::from_millis(until.saturating_sub(self.fleet.clock.now()).clamp(1, 60_000));
        tokio::select! {
            biased;
            Some((work, operation, effect)) = self.flights.next(), if !self.flights.is_empty() => {
                self.ended(work, operation, effect).await
            }
            () = self.fleet.log.changed(self.position) => Ok(()),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    /// On the way back nobody waits for what only leads forward. A switch or a hook that is under way is let finish; it is
    /// cut off, too, when its time is up.
    async fn cut_what_is_not_waited_for(&mut self, record: &DeploymentRecord) -> Result<(), FleetDriveError> {
        let all = match record.state {
            DeploymentState::Halting => {
                record.since.saturating_add(self.fleet.limits.halting) <= self.fleet.clock.now()
            }
            _ => return Ok(()),
        };
        let finishes = |work: &Work| matches!(work, Work::Switch { .. } | Work::Hook { .. });
        let cut: BTreeSet<Work> =
            self.running.iter().filter(|work| all || !finishes(work)).cloned().collect();
        for token in cut.iter().filter_map(|work| self.cuts.get(work)) {
            token.cancel();
        }
        while self.running.intersection(&cut).next().is_some() {
            let Some((work, operation, effect)) = self.flights.next().await else { break };
            self.ended(work, operation, effect).await?;
        }
        Ok(())
    }
}
