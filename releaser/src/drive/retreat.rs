//! The way back: what served before serves again, and what was started for nothing is stopped.

use std::time::{Duration, Instant};

use staith_model::{DeploymentChange, DeploymentState, Digest};

use super::{
    error::{Ending, Failure, Trouble},
    journal::Note,
    session::Session,
};
use crate::{
    health::explain,
    host::{Life, Patience},
    keeper::Pool,
};

/// How often contact may be lost on the way back.
const MOST_TRIES: u32 = 4;
/// How long the new release's own requests may take before it is stopped; they are few, and it failed.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

impl Session<'_> {
    /// Takes back what was done. Not to be cancelled: it is what a cancellation asks for.
    pub(super) async fn retreat(mut self, trouble: Trouble) -> Failure {
        let reason = trouble.reason(&self.during);
        let was_visible = self.course.state().may_be_visible();
        self.course.change(DeploymentChange::Aborted, Some(reason.clone()));
        let (ending, moved) = if trouble.is_fenced() {
            let why =
                "another deployment writes to this environment; look at its status before doing anything";
            self.course.change(DeploymentChange::Undecidable, None);
            (Ending::NeedsDecision(why.into()), false)
        } else {
            self.take_back_persistently().await
        };
        let cancelled = matches!(trouble, Trouble::Cancelled);
        let health = if let Trouble::Unhealthy { health, .. } = trouble { Some(*health) } else { None };
        Failure {
            serving: self.serving_now().await,
            deployment: self.deployment,
            during: self.during,
            cancelled,
            reason,
            ending,
            was_visible: was_visible && moved,
            health,
        }
    }

    async fn serving_now(&self) -> Option<Digest> {
        let active = self.driver.traffic.observe().await.ok()?.active?;
        self.driver.host.observe().await.ok()?.pools.get(&active)?.release
    }

    /// Says how it ended, and whether requests had to be sent back.
    async fn take_back_persistently(&mut self) -> (Ending, bool) {
        let mut tries = 0;
        let ended = loop {
            match self.take_back().await {
                Err(trouble) if trouble.is_lost() && tries < MOST_TRIES => {
                    tries += 1;
                    // If this fails, the next look says why.
                    let _ = self.driver.host.reach().await;
                }
                ended => break ended,
            }
        };
        let moved = self.course.state() == DeploymentState::RollingBack;
        let (change, ending) = match ended {
            Ok(()) => (DeploymentChange::Restored, Ending::RolledBack),
            Err(trouble) => {
                let why = trouble.reason("go back").what;
                match self.course.state() {
                    DeploymentState::RollingBack => {
                        (DeploymentChange::RestoreFailed, Ending::RollbackFailed(why))
                    }
                    _ => (DeploymentChange::Undecidable, Ending::NeedsDecision(why)),
                }
            }
        };
        self.course.change(change, None);
        (ending, moved)
    }

    /// Level-triggered like the way forward: each look decides what is still to be done.
    async fn take_back(&mut self) -> Result<(), Trouble> {
        let active = self.driver.traffic.observe().await?.active;
        let Some(home) = self.before.traffic.active else {
            if let Some(pool) = active {
                self.begin_rollback();
                self.abandon(pool).await?;
            }
            self.driver.host.activate(self.before.host.current.as_ref()).await?;
            return self.stop_what_was_started(None).await;
        };
        if active != Some(home) {
            self.begin_rollback();
        }
        self.revive(home).await?;
        if active != Some(home) {
            let since = Instant::now();
            self.during = format!("send all requests back to pool {home}");
            let done = self.driver.traffic.switch(self.epoch, home).await?;
            self.course.did_in_words(self.during.clone(), done.already, since);
        }
        self.driver.host.activate(self.before.host.current.as_ref()).await?;
        self.stop_what_was_started(Some(home)).await
    }

    /// Nothing served before: then nothing serves afterwards.
    async fn abandon(&mut self, pool: Pool) -> Result<(), Trouble> {
        let since = Instant::now();
        self.during = format!("take the requests away from pool {pool}");
        let done = self.driver.traffic.abandon(self.epoch, pool).await?;
        self.course.did_in_words(self.during.clone(), done.already, since);
        Ok(())
    }

    fn begin_rollback(&mut self) {
        if self.course.state() == DeploymentState::Halting {
            self.course.change(DeploymentChange::RollbackBegan, None);
        }
    }

    /// What served before still runs, as a rule. If its supervisor died meanwhile, it is started again from its files.
    async fn revive(&mut self, home: Pool) -> Result<(), Trouble> {
        let before = self.before.host.pools.get(&home);
        let Some(release) = before.and_then(|view| view.release) else { return Ok(()) };
        let was_up = before.is_some_and(|view| view.life == Life::Up);
        let state = self.driver.host.observe().await?;
        let runs =
            state.pools.get(&home).is_some_and(|view| view.release == Some(release) && view.life == Life::Up);
        if runs || !was_up {
            return Ok(());
        }
        let frozen = self.driver.books.release(release).await?.ok_or(Trouble::FilesMissing(release))?;
        let since = Instant::now();
        self.during = format!("start the previous release in pool {home} again");
        let done = self.driver.host.start(self.epoch, home, &frozen).await?;
        let health = self.driver.host.probe(home, &frozen, Patience::Deadline).await?;
        if !health.is_healthy() {
            let told = explain(&health);
            return Err(Trouble::Unhealthy { pool: home, through_proxy: false, health: health.into(), told });
        }
        self.course.did_in_words(self.during.clone(), done.already, since);
        Ok(())
    }

    /// What was there before, warm, stays; what this deployment started goes.
    async fn stop_what_was_started(&mut self, home: Option<Pool>) -> Result<(), Trouble> {
        let Some(pool) = self.started.filter(|pool| Some(*pool) != home) else { return Ok(()) };
        let since = Instant::now();
        let words = format!("stop the release in pool {pool}");
        self.driver.traffic.drain(self.epoch, pool, LAST_REQUESTS).await?;
        let done = self.driver.host.stop(self.epoch, pool).await?;
        self.course.did_in_words(words.clone(), done.already, since);
        self.note(Note::Outcome { id: words, error: None }).await
    }
}
