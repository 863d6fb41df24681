//! One deployment under way: its plan, operation by operation.

use std::time::{Duration, Instant};

use staith_model::{DeploymentId, Digest};
use tokio_util::sync::CancellationToken;

use super::{
    books::now,
    course::Course,
    driver::{Deployed, Driver, Wanted},
    error::Trouble,
    journal::{Line, Note, operation_id},
    record::Record,
};
use crate::{
    health::{Health, explain},
    host::Patience,
    keeper::Pool,
    plan::{DeploymentPlan, Observed, Operation, plan},
};

/// How often contact may be lost before a deployment gives up: enough for a keeper that is killed, is started again and
/// is killed once more.
const MOST_LOSSES: u32 = 3;

/// One deployment under way.
pub(super) struct Session<'a> {
    pub(super) driver: &'a Driver,
    pub(super) wanted: &'a Wanted,
    pub(super) digest: Digest,
    pub(super) deployment: DeploymentId,
    pub(super) epoch: u64,
    /// What was there when it began: that is what a retreat leads back to.
    pub(super) before: Observed,
    pub(super) record: &'a Record,
    pub(super) plan: DeploymentPlan,
    pub(super) course: Course<'a>,
    pub(super) during: String,
    pub(super) left_in_flight: u64,
    /// The pool in which this deployment started something.
    pub(super) started: Option<Pool>,
}

impl Session<'_> {
    pub(super) async fn execute(&mut self, cancel: &CancellationToken) -> Result<(), Trouble> {
        self.note(Note::Began {
            kind: self.wanted.kind,
            release: self.digest,
            serving: self.before.serving(),
            plan: self.plan.digest(),
        })
        .await?;
        let mut losses = 0;
        loop {
            match self.carry_out(cancel).await {
                Err(trouble) if trouble.is_lost() && losses < MOST_LOSSES => losses += 1,
                ended => return ended,
            }
            // What was asked may have been done or not, and whoever supervised the pools may be gone: look, plan anew.
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(Trouble::Cancelled),
                planned = self.plan_again() => planned?,
            }
        }
    }

    async fn plan_again(&mut self) -> Result<(), Trouble> {
        self.driver.host.reach().await?;
        let mut observed = self.driver.observe(self.wanted, self.record).await?;
        // What this deployment replaced is what a rollback leads to, also when it no longer shows.
        observed.previous =
            self.before.serving().filter(|serving| *serving != self.digest).or(observed.previous);
        self.plan = plan(&self.wanted.release, &self.driver.environment, &observed);
        Ok(())
    }

    async fn carry_out(&mut self, cancel: &CancellationToken) -> Result<(), Trouble> {
        for operation in self.plan.operations().to_vec() {
            self.during = operation.to_string();
            let since = Instant::now();
            let already = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(Trouble::Cancelled),
                done = self.ensure(&operation, cancel) => done?,
            };
            self.course.did(&operation, already, since);
        }
        Ok(())
    }

    /// Looks, and does what is not so yet. Says whether it was.
    async fn ensure(&mut self, operation: &Operation, cancel: &CancellationToken) -> Result<bool, Trouble> {
        self.course.reach(operation.phase());
        if let Operation::Probe { pool } = operation {
            let health = self.driver.host.probe(*pool, &self.wanted.release, Patience::Deadline).await?;
            return healthy(health, *pool, false);
        }
        if let Operation::Verify { pool } = operation {
            let health = self.driver.traffic.verify(&self.wanted.release).await?;
            return healthy(health, *pool, true);
        }
        let (host, traffic) = tokio::join!(self.driver.host.observe(), self.driver.traffic.observe());
        let (host, traffic) = (host?, traffic?);
        if operation.endangers(&traffic) {
            return Err(Trouble::Endangers(operation.clone()));
        }
        if operation.holds(self.digest, &host, &traffic) {
            return Ok(true);
        }
        let id = self.intend(operation).await?;
        let done = self.perform(operation, cancel).await;
        let error = done.as_ref().err().map(|trouble| trouble.reason(&self.during).what);
        self.note(Note::Outcome { id, error }).await?;
        done
    }

    async fn perform(&mut self, operation: &Operation, cancel: &CancellationToken) -> Result<bool, Trouble> {
        let (host, traffic) = (&self.driver.host, &self.driver.traffic);
        let drain = Duration::from_secs(self.driver.environment.drain_seconds);
        match operation {
            Operation::Stage => {
                let files = self.wanted.files.clone().ok_or(Trouble::FilesMissing(self.digest))?;
                let progress = self.wanted.progress.clone();
                let staged = host.stage(&self.wanted.release, files, progress, cancel.clone()).await?;
                Ok(staged.already)
            }
            Operation::Clear { pool } => {
                traffic.drain(self.epoch, *pool, drain).await?;
                Ok(host.stop(self.epoch, *pool).await?.already)
            }
            Operation::Start { pool } => {
                self.started = Some(*pool);
                Ok(host.start(self.epoch, *pool, &self.wanted.release).await?.already)
            }
            Operation::Switch { to } => Ok(traffic.switch(self.epoch, *to).await?.already),
            Operation::Activate => Ok(host.activate(Some(&self.digest)).await?.already),
            Operation::Drain { pool } => {
                self.left_in_flight = traffic.drain(self.epoch, *pool, drain).await?;
                Ok(false)
            }
            Operation::Retain { keep } => Ok(host.retain(keep).await?.is_empty()),
            // These only read: `ensure` has done them.
            Operation::Probe { .. } | Operation::Verify { .. } => Ok(false),
        }
    }

    async fn intend(&self, operation: &Operation) -> Result<String, Trouble> {
        let words = operation.to_string();
        let id = operation_id(&self.deployment, self.epoch, &words);
        self.note(Note::Intent { operation: words, id: id.clone() }).await?;
        Ok(id)
    }

    pub(super) async fn note(&self, note: Note) -> Result<(), Trouble> {
        let line = Line { at: now(), deployment: &self.deployment, epoch: self.epoch, note };
        Ok(self.driver.books.note(line).await?)
    }

    pub(super) async fn deployed(self, already: bool, began: Instant) -> Deployed {
        // Only for people; a proxy that can't be seen right now does not make the deployment a failure.
        let seen = self.driver.traffic.observe().await.ok();
        let listen = seen.and_then(|state| state.listen);
        Deployed {
            deployment: self.deployment,
            epoch: self.epoch,
            release: self.digest,
            previous: self.plan.previous(),
            pool: self.plan.pool().unwrap_or(Pool::Blue),
            already,
            url: listen.map(|listen| crate::health::url(crate::traffic::dialable(listen), "/")),
            left_in_flight: self.left_in_flight,
            took: began.elapsed(),
        }
    }
}

fn healthy(health: Health, pool: Pool, through_proxy: bool) -> Result<bool, Trouble> {
    if health.is_healthy() {
        // Asking is never found done: it is what makes sure.
        return Ok(false);
    }
    let told = explain(&health);
    Err(Trouble::Unhealthy { pool, through_proxy, health: health.into(), told })
}
