//! Both pools and the pointer between them: what a keeper can be asked to do.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    log::{CAP, LogFile},
    orphans,
    pool::{KeeperStatus, Pool, PoolPhase, PoolSpec, PoolStatus},
    process::{self, Surroundings},
    protocol::Refusal,
    state::{SavedPool, StateFile},
    supervise::{Supervised, View},
};
use crate::proxy::{Routes, Upstream};

/// How long a switch waits for a program to be seen accepting connections: several of the keeper's own looks.
const ACCEPT_PATIENCE: Duration = Duration::from_secs(2);

/// The two pools of an environment.
pub(super) struct Pools {
    dir: String,
    listen: SocketAddr,
    slots: [Slot; 2],
    routes: Arc<Routes>,
    state: Arc<StateFile>,
    surroundings: Arc<Surroundings>,
    journal: Arc<LogFile>,
    /// Set when the keeper ends: whoever waited for a pool's turn must not fill it again behind its back.
    ending: AtomicBool,
}

/// The place of one pool.
struct Slot {
    log: Arc<LogFile>,
    /// Held while the pool is filled, emptied or switched to, so that these never meet. The other pool's operations go
    /// on meanwhile: a switch back does not wait until a slow program has ended.
    busy: tokio::sync::Mutex<()>,
    filled: Arc<Mutex<Option<Filled>>>,
}

/// What a pool is filled with.
struct Filled {
    spec: PoolSpec,
    upstream: Arc<Upstream>,
    view: Arc<View>,
    admitted: Arc<AtomicBool>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Pools {
    /// Both pools as the state has them. Requests find the pool that was active from now on, and wait for it.
    pub(super) fn new(
        dir: &Path,
        listen: SocketAddr,
        state: Arc<StateFile>,
        surroundings: Surroundings,
        journal: Arc<LogFile>,
    ) -> Self {
        let routes = Arc::new(Routes::new());
        if state.saved().active.is_some() {
            routes.switch(Upstream::new());
        }
        let slots = Pool::ALL.map(|pool| Slot {
            log: Arc::new(LogFile::at(dir.join("logs").join(format!("{pool}.log")), CAP)),
            busy: tokio::sync::Mutex::new(()),
            filled: Arc::default(),
        });
        let surroundings = Arc::new(surroundings);
        let (dir, ending) = (dir.to_string_lossy().into_owned(), AtomicBool::new(false));
        Self { dir, listen, slots, routes, state, surroundings, journal, ending }
    }

    /// The pointer that the proxy follows.
    pub(super) fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// Ends what a killed keeper left behind, then starts what it ran, the active pool first.
    pub(super) async fn restore(&self) {
        let saved = self.state.saved();
        let recorded: Vec<_> = saved.pools.values().filter_map(|pool| pool.process.clone()).collect();
        let dir = self.dir.clone();
        let ended = tokio::task::spawn_blocking(move || orphans::end_left_behind(&dir, &recorded)).await;
        if let Ok(ended @ 1..) = ended {
            self.journal.note(&format!("ended {ended} processes that an earlier keeper had left behind"));
        }
        let mut pools: Vec<(Pool, SavedPool)> = saved.pools.into_iter().collect();
        pools.sort_by_key(|(pool, _)| Some(*pool) != saved.active);
        for (pool, SavedPool { spec, admitted, .. }) in pools {
            let upstream = self.fill(pool, spec, admitted).await;
            if Some(pool) == saved.active {
                self.routes.switch(upstream);
            }
        }
    }

    /// What there is to see.
    pub(super) fn status(&self) -> KeeperStatus {
        let saved = self.state.saved();
        KeeperStatus {
            pid: std::process::id(),
            epoch: saved.epoch,
            listen: self.listen,
            active: saved.active,
            pools: Pool::ALL.into_iter().map(|pool| (pool, self.pool_status(pool))).collect(),
            served: self.routes.served(),
        }
    }

    /// Fills a pool, unless it is filled with the same already.
    pub(super) async fn ensure(&self, epoch: u64, pool: Pool, spec: PoolSpec) -> Result<PoolStatus, Refusal> {
        let _busy = self.slot(pool).busy.lock().await;
        self.admit(epoch).await?;
        process::check(&spec, &self.surroundings).map_err(|why| Refusal::UnusableSpec { pool, why })?;
        let status = self.pool_status(pool);
        let is_same = status.spec.as_ref() == Some(&spec);
        if is_same && status.phase != PoolPhase::Stopped {
            return Ok(status);
        }
        self.refuse_active(pool)?;
        self.empty(pool).await;
        let saved = SavedPool { spec: spec.clone(), admitted: false, process: None };
        self.state
            .change(move |state| fenced(state, epoch, |state| drop(state.pools.insert(pool, saved))))
            .await?;
        self.fill(pool, spec, false).await;
        Ok(self.pool_status(pool))
    }

    /// Makes a pool the active one: on disk, then for requests.
    pub(super) async fn switch(&self, epoch: u64, to: Pool) -> Result<(), Refusal> {
        let _busy = self.slot(to).busy.lock().await;
        self.admit(epoch).await?;
        self.let_accept(to).await;
        let PoolStatus { phase, last_exit, .. } = self.pool_status(to);
        let is_active = self.state.saved().active == Some(to);
        let reachable = self.slot(to).filled().as_ref().map(|filled| {
            // From here on the program is restarted for ever, even if it ends before the pointer has moved.
            filled.admitted.store(true, Ordering::Release);
            Arc::clone(&filled.upstream)
        });
        let Some(upstream) = reachable.filter(|_| is_active || phase == PoolPhase::Running) else {
            return Err(Refusal::PoolNotRunning { pool: to, phase, last_exit });
        };
        self.state
            .change(move |state| {
                fenced(state, epoch, |state| {
                    state.active = Some(to);
                    if let Some(pool) = state.pools.get_mut(&to) {
                        pool.admitted = true;
                    }
                })
            })
            .await?;
        if !is_active {
            self.routes.switch(upstream);
            self.journal.note(&format!("epoch {epoch}: requests go to pool {to}"));
        }
        Ok(())
    }

    /// Whoever asks for a switch may have heard from the program a moment before this keeper's own look at it.
    async fn let_accept(&self, pool: Pool) {
        if self.pool_status(pool).phase == PoolPhase::Starting {
            let upstream = self.slot(pool).filled().as_ref().map(|filled| Arc::clone(&filled.upstream));
            if let Some(upstream) = upstream {
                // What it is afterwards is looked at by the caller.
                let _ = timeout(ACCEPT_PATIENCE, upstream.accepting()).await;
            }
        }
    }

    /// Takes the requests away from a pool and gives them to none: on disk, then for requests. Those in flight stay.
    pub(super) async fn abandon(&self, epoch: u64, pool: Pool) -> Result<(), Refusal> {
        let _busy = self.slot(pool).busy.lock().await;
        self.admit(epoch).await?;
        if self.state.saved().active != Some(pool) {
            return Ok(());
        }
        self.state.change(move |state| fenced(state, epoch, |state| state.active = None)).await?;
        self.routes.close();
        self.journal.note(&format!("epoch {epoch}: requests go nowhere, pool {pool} was abandoned"));
        Ok(())
    }

    /// Waits until a pool answers no request.
    pub(super) async fn drain(&self, epoch: u64, pool: Pool, deadline: Duration) -> Result<u64, Refusal> {
        self.admit(epoch).await?;
        self.refuse_active(pool)?;
        let upstream = self.slot(pool).filled().as_ref().map(|filled| Arc::clone(&filled.upstream));
        let Some(upstream) = upstream else { return Ok(0) };
        let left = upstream.drain(deadline).await;
        self.refuse_active(pool)?;
        Ok(left)
    }

    /// Empties a pool.
    pub(super) async fn stop(&self, epoch: u64, pool: Pool) -> Result<(), Refusal> {
        let _busy = self.slot(pool).busy.lock().await;
        self.admit(epoch).await?;
        self.refuse_active(pool)?;
        // Forgotten first: a keeper that is killed in between ends the program as an orphan and does not start it.
        self.state.change(move |state| fenced(state, epoch, |state| drop(state.pools.remove(&pool)))).await?;
        self.empty(pool).await;
        Ok(())
    }

    /// Ends both programs; what they were stays remembered for the next keeper.
    pub(super) async fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
        let end = |pool| async move {
            let _busy = self.slot(pool).busy.lock().await;
            self.empty(pool).await;
        };
        tokio::join!(end(Pool::Blue), end(Pool::Green));
    }

    fn slot(&self, pool: Pool) -> &Slot {
        let [blue, green] = &self.slots;
        match pool {
            Pool::Blue => blue,
            Pool::Green => green,
        }
    }

    async fn admit(&self, epoch: u64) -> Result<(), Refusal> {
        if self.ending.load(Ordering::SeqCst) {
            return Err(Refusal::Failed { why: "it is about to end; ask the next keeper".to_owned() });
        }
        self.state.change(move |state| state.admit(epoch)).await
    }

    fn refuse_active(&self, pool: Pool) -> Result<(), Refusal> {
        match self.state.saved().active {
            Some(active) if active == pool => Err(Refusal::PoolIsActive { pool }),
            _ => Ok(()),
        }
    }

    /// Starts a program in an empty pool; returns when its first start was tried.
    async fn fill(&self, pool: Pool, spec: PoolSpec, admitted: bool) -> Arc<Upstream> {
        let slot = self.slot(pool);
        slot.log.begin();
        let upstream = Upstream::new();
        let view = Arc::new(View::new());
        let admitted = Arc::new(AtomicBool::new(admitted));
        let stop = CancellationToken::new();
        let other = Arc::clone(&self.slot(pool.other()).filled);
        let supervised = Supervised {
            pool,
            spec: spec.clone(),
            upstream: Arc::clone(&upstream),
            view: Arc::clone(&view),
            admitted: Arc::clone(&admitted),
            taken: Arc::new(move || lock(&other).as_ref().and_then(|filled| filled.view.now().port)),
            surroundings: Arc::clone(&self.surroundings),
            log: Arc::clone(&slot.log),
            journal: Arc::clone(&self.journal),
            state: Arc::clone(&self.state),
        };
        let (started, first_start) = oneshot::channel();
        let task = tokio::spawn(supervised.run(stop.clone(), started));
        let filled = Filled { spec, upstream: Arc::clone(&upstream), view, admitted, stop, task };
        *slot.filled() = Some(filled);
        // An error means that the supervisor is gone, which the status shows.
        let _ = first_start.await;
        upstream
    }

    /// Ends what runs in a pool. The pool is seen as stopping until it has ended.
    async fn empty(&self, pool: Pool) {
        let slot = self.slot(pool);
        let task = slot.filled().as_mut().map(|filled| {
            filled.upstream.close_idle();
            filled.stop.cancel();
            std::mem::replace(&mut filled.task, tokio::spawn(async {}))
        });
        if let Some(task) = task {
            let _ = task.await;
            *slot.filled() = None;
        }
    }

    fn pool_status(&self, pool: Pool) -> PoolStatus {
        let slot = self.slot(pool);
        let (log, log_from) = (slot.log.path().to_owned(), slot.log.from());
        let filled = slot.filled();
        let Some(filled) = filled.as_ref() else {
            let phase = PoolPhase::Empty;
            return PoolStatus {
                phase,
                spec: None,
                port: None,
                pid: None,
                in_flight: 0,
                restarts: 0,
                last_exit: None,
                starts: 0,
                log,
                log_from,
            };
        };
        let seen = filled.view.now();
        let phase = match seen.phase {
            PoolPhase::Running if !filled.upstream.is_accepting() => PoolPhase::Starting,
            phase => phase,
        };
        PoolStatus {
            phase,
            spec: Some(filled.spec.clone()),
            port: seen.port,
            pid: seen.pid,
            in_flight: filled.upstream.in_flight(),
            restarts: seen.restarts,
            last_exit: seen.last_exit,
            starts: seen.starts,
            log,
            log_from,
        }
    }
}

impl Slot {
    fn filled(&self) -> MutexGuard<'_, Option<Filled>> {
        lock(&self.filled)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A change under an epoch that may have been superseded since it was admitted.
fn fenced(
    state: &mut super::state::Saved,
    epoch: u64,
    change: impl FnOnce(&mut super::state::Saved),
) -> Result<(), Refusal> {
    state.admit(epoch)?;
    change(state);
    Ok(())
}
