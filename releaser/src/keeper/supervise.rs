//! Keeping a pool's program running.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{
    backoff::{Backoff, Next},
    log::LogFile,
    orphans::{self, ProcessMark},
    pool::{Pool, PoolPhase, PoolSpec},
    process::{NotStarted, Process, Surroundings, free_port},
    state::StateFile,
};
use crate::proxy::Upstream;

/// What a program needs from the keeper that runs it.
pub(super) struct Supervised {
    pub(super) pool: Pool,
    pub(super) spec: PoolSpec,
    pub(super) upstream: Arc<Upstream>,
    pub(super) view: Arc<View>,
    /// Whether the pool ever was active with this spec.
    pub(super) admitted: Arc<AtomicBool>,
    /// What the other pool does, whose port this one does not get.
    pub(super) taken: Arc<dyn Fn() -> Option<u16> + Send + Sync>,
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) log: Arc<LogFile>,
    pub(super) journal: Arc<LogFile>,
    pub(super) state: Arc<StateFile>,
}

/// What can be seen of a program.
#[derive(Debug)]
pub(super) struct View(Mutex<Seen>);

/// A moment of a [`View`].
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) phase: PoolPhase,
    pub(super) port: Option<u16>,
    pub(super) pid: Option<u32>,
    pub(super) restarts: u32,
    pub(super) last_exit: Option<String>,
    pub(super) starts: u32,
}

impl View {
    /// A program that is about to be started.
    pub(super) fn new() -> Self {
        let phase = PoolPhase::Starting;
        Self(Mutex::new(Seen { phase, port: None, pid: None, restarts: 0, last_exit: None, starts: 0 }))
    }

    /// What is seen now.
    pub(super) fn now(&self) -> Seen {
        self.lock().clone()
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Supervised {
    /// Runs the program, again and again, until `stop` is cancelled; it has ended when this returns. `started` is told
    /// when the first start was tried.
    pub(super) async fn run(self, stop: CancellationToken, started: tokio::sync::oneshot::Sender<()>) {
        let mut started = Some(started);
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let process = self.start().await;
            if let Some(started) = started.take() {
                // Nobody waits for a start that the keeper itself ordered.
                let _ = started.send(());
            }
            let how = match process {
                Ok(process) => {
                    let how = self.attend(process, &stop).await;
                    how.map(|why| NotStarted { why, for_good: false })
                }
                Err(not_started) => Some(not_started),
            };
            let Some(how) = how else { return };
            let admitted = self.admitted.load(Ordering::Acquire);
            let next = match how.for_good && !admitted {
                true => Next::GiveUp,
                false => backoff.ended(began.elapsed(), admitted),
            };
            self.note(&format!("ended after {} ms: {}; {next:?}", began.elapsed().as_millis(), how.why));
            if !self.pause(next, &how.why, &stop).await {
                return;
            }
        }
    }

    async fn start(&self) -> Result<Process, NotStarted> {
        let taken: Vec<u16> = (self.taken)().into_iter().collect();
        let port = free_port(&taken).map_err(|error| NotStarted {
            why: format!("no port could be had for it: {error}"),
            for_good: false,
        })?;
        let process = Process::start(self.pool, &self.spec, port, &self.surroundings, Arc::clone(&self.log))?;
        let pid = process.pid();
        self.view.change(|seen| {
            (seen.phase, seen.port, seen.pid) = (PoolPhase::Running, Some(port), Some(pid));
            seen.starts = seen.starts.saturating_add(1);
        });
        self.upstream.point_at(Some(([127, 0, 0, 1], port).into()));
        self.remember(ProcessMark::of(pid)).await;
        self.note(&format!("{} was started as process {pid} with port {port}", self.spec.release));
        Ok(process)
    }

    /// Waits for the program's end and says how it came; `None` when it was asked for.
    async fn attend(&self, mut process: Process, stop: &CancellationToken) -> Option<String> {
        let how = tokio::select! {
            how = process.ended() => Some(how),
            () = stop.cancelled() => None,
        };
        if how.is_none() {
            self.view.change(|seen| seen.phase = PoolPhase::Stopping);
            let how = process.stop(Duration::from_secs(self.spec.stop_seconds)).await;
            self.note(&format!("was stopped: {how}"));
        }
        self.upstream.point_at(None);
        self.view.change(|seen| {
            (seen.port, seen.pid) = (None, None);
            if let Some(how) = &how {
                (seen.phase, seen.last_exit) = (PoolPhase::Restarting, Some(how.clone()));
            }
        });
        self.remember(None).await;
        self.end_the_rest(how.is_none()).await;
        process.last_words().await;
        how
    }

    /// Ends what the program left behind outside of its process group. Whoever was asked to end the program asks the rest
    /// as well; a program that ended by itself is missed, so its rest has no time.
    async fn end_the_rest(&self, gently: bool) {
        let (dir, pool) = (self.surroundings.mark().to_owned(), self.pool);
        let ended = tokio::task::spawn_blocking(move || orphans::end_left_in(&dir, pool, gently)).await;
        if let Ok(ended @ 1..) = ended {
            self.note(&format!("ended {ended} processes that it had left behind"));
        }
    }

    /// Waits until the program shall be started again; false when it shall not.
    async fn pause(&self, next: Next, how: &str, stop: &CancellationToken) -> bool {
        let phase = match next {
            Next::Restart(_) => PoolPhase::Restarting,
            Next::GiveUp => PoolPhase::Stopped,
        };
        self.view.change(|seen| (seen.phase, seen.last_exit) = (phase, Some(how.to_owned())));
        let Next::Restart(pause) = next else { return false };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return false,
        }
        self.view.change(|seen| seen.restarts = seen.restarts.saturating_add(1));
        true
    }

    /// A program whose start could not be written down runs all the same: an orphan is also known by its environment.
    async fn remember(&self, process: Option<ProcessMark>) {
        let (pool, release) = (self.pool, self.spec.release);
        let remembered = self.state.change(move |saved| {
            if let Some(saved) = saved.pools.get_mut(&pool).filter(|saved| saved.spec.release == release) {
                saved.process = process;
            }
            Ok(())
        });
        if let Err(refusal) = remembered.await {
            self.note(&format!("its process could not be written down: {refusal:?}"));
        }
    }

    fn note(&self, what: &str) {
        self.journal.note(&format!("pool {}: {what}", self.pool));
    }
}
