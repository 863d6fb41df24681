//! A world of one host and its traffic, scripted and strict: it refuses, with a panic, whatever would leave a request
//! without a server, and fails at the call that the script says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use staith_model::{Digest, Release};
use staith_releaser::{
    health::{Answer, Health, Observation, Verdict},
    host::{
        Depth, Done, Files, Host, HostError, HostState, Life, PackageFiles, Patience, PoolView, Progress,
        Staged,
    },
    keeper::Pool,
    traffic::{Traffic, TrafficError, TrafficState},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not done.
    Refused,
    /// It is not done, and the answer is lost.
    LostBefore,
    /// It is done, and the answer is lost.
    LostAfter,
    /// The supervisor ends before it is done; only the active pool comes back.
    SupervisorDies,
    /// The disk is full, the release unhealthy, the epoch too low: whatever the call may truly say no with.
    TrueNo,
    /// It never answers.
    Hangs,
}

#[derive(Debug, Default, Clone)]
pub struct State {
    pub host: HostState,
    pub active: Option<Pool>,
    pub probed: BTreeSet<(Pool, Digest)>,
    /// Calls so far, but for observations.
    pub calls: usize,
    /// Effects so far.
    pub effects: Vec<String>,
    pub damaged: BTreeSet<Digest>,
}

#[derive(Default)]
pub struct World {
    pub state: Mutex<State>,
    script: Mutex<Option<(usize, Fault)>>,
    /// Told when a call hangs.
    pub hung: Notify,
}

impl World {
    /// Lets the call with this number, counted from now, meet a fault; once.
    pub fn fail_at(&self, call: usize, fault: Fault) {
        self.state.lock().unwrap().calls = 0;
        *self.script.lock().unwrap() = Some((call, fault));
    }

    pub fn forgive(&self) {
        *self.script.lock().unwrap() = None;
    }

    /// Whether the script was played.
    pub fn was_played(&self) -> bool {
        self.script.lock().unwrap().is_none()
    }

    pub fn serving(&self) -> Option<Digest> {
        let state = self.state.lock().unwrap();
        state
            .active
            .and_then(|pool| state.host.pools.get(&pool))
            .filter(|view| view.life == Life::Up)?
            .release
    }

    pub fn effects(&self) -> Vec<String> {
        self.state.lock().unwrap().effects.clone()
    }

    /// Plays the script if this is its call.
    async fn enter(&self) -> Option<Fault> {
        let fault = {
            let mut state = self.state.lock().unwrap();
            let call = state.calls;
            state.calls += 1;
            let mut script = self.script.lock().unwrap();
            script.take_if(|(at, _)| *at == call).map(|(_, fault)| fault)
        };
        if fault == Some(Fault::Hangs) {
            self.hung.notify_one();
            std::future::pending::<()>().await;
        }
        if fault == Some(Fault::SupervisorDies) {
            let mut state = self.state.lock().unwrap();
            let active = state.active;
            state.host.pools.retain(|pool, _| Some(*pool) == active);
            state.probed.clear();
        }
        fault
    }

    /// The effect of a call under the script: done or not, and what is answered.
    async fn act<T>(&self, refused: impl FnOnce(Fault) -> T, effect: impl FnOnce(&mut State) -> T) -> T {
        let fault = self.enter().await;
        match fault {
            None => effect(&mut self.state.lock().unwrap()),
            Some(Fault::LostAfter) => {
                effect(&mut self.state.lock().unwrap());
                refused(Fault::LostAfter)
            }
            Some(fault) => refused(fault),
        }
    }

    fn check_epoch(state: &mut State, epoch: u64) {
        assert!(epoch >= state.host.epoch, "epoch {epoch} after {}", state.host.epoch);
        state.host.epoch = epoch;
    }
}

fn host_no(fault: Fault) -> HostError {
    match fault {
        Fault::LostBefore | Fault::LostAfter | Fault::SupervisorDies => {
            HostError::Lost { what: "do it".into(), why: "the script says so".into() }
        }
        _ => HostError::Refused { pool: None, what: "do it".into(), why: "the script says so".into() },
    }
}

fn traffic_no(fault: Fault) -> TrafficError {
    match fault {
        Fault::LostBefore | Fault::LostAfter | Fault::SupervisorDies => {
            TrafficError::Lost { what: "do it", why: "the script says so".into() }
        }
        _ => TrafficError::Refused { what: "do it", why: "the script says so".into() },
    }
}

fn health(answer: Answer, verdict: Verdict) -> Health {
    let observation = Observation { answer, times: 1, first: Duration::ZERO, last: Duration::ZERO };
    Health {
        verdict,
        url: "http://fake/health".into(),
        observations: vec![observation],
        needed: 1,
        took: Duration::ZERO,
        log: None,
    }
}

fn good() -> Health {
    health(Answer::Good { status: 200 }, Verdict::Healthy)
}

fn bad() -> Health {
    health(Answer::BadStatus(500), Verdict::Unhealthy)
}

#[derive(Clone)]
pub struct FakeHost(pub Arc<World>);

#[async_trait]
impl Host for FakeHost {
    async fn reach(&self) -> Result<Done, HostError> {
        Ok(Done::ALREADY)
    }

    async fn observe(&self) -> Result<HostState, HostError> {
        Ok(self.0.state.lock().unwrap().host.clone())
    }

    async fn inspect(&self, release: &Release, _: Depth) -> Result<Files, HostError> {
        let state = self.0.state.lock().unwrap();
        let digest = release.digest();
        Ok(match state.host.releases.contains(&digest) {
            true if state.damaged.contains(&digest) => Files::Damaged("the script says so".into()),
            true => Files::Complete,
            false => Files::Absent,
        })
    }

    async fn stage(
        &self,
        release: &Release,
        _: Arc<dyn PackageFiles>,
        progress: Progress,
        _: CancellationToken,
    ) -> Result<Staged, HostError> {
        let digest = release.digest();
        let full = |fault| match fault {
            Fault::TrueNo => HostError::Full { path: "/env".into(), bytes: 7 },
            fault => host_no(fault),
        };
        progress(staith_releaser::host::StageProgress { files: 1, of_files: 1 });
        self.0
            .act(
                |fault| Err(full(fault)),
                |state| {
                    state.effects.push("stage".into());
                    if state.damaged.remove(&digest) {
                        let stands = |view: &&mut PoolView| view.release == Some(digest);
                        state.host.pools.values_mut().filter(stands).for_each(|view| view.orphaned = true);
                    }
                    state.host.releases.insert(digest);
                    Ok(Staged { already: false, files: 1, bytes: 1 })
                },
            )
            .await
    }

    async fn start(&self, epoch: u64, pool: Pool, release: &Release) -> Result<Done, HostError> {
        let digest = release.digest();
        self.0
            .act(
                |fault| Err(host_no(fault)),
                |state| {
                    World::check_epoch(state, epoch);
                    assert!(state.host.releases.contains(&digest), "started what is not staged");
                    assert!(!state.damaged.contains(&digest), "started what is damaged");
                    let held = state.host.pools.get(&pool).and_then(|view| view.release);
                    assert!(
                        state.active != Some(pool) || held.is_none_or(|held| held == digest),
                        "started something else in the active pool"
                    );
                    state.effects.push(format!("start {pool}"));
                    let view =
                        PoolView { release: Some(digest), life: Life::Up, orphaned: false, in_flight: 0 };
                    state.host.pools.insert(pool, view);
                    Ok(Done::NOW)
                },
            )
            .await
    }

    async fn stop(&self, epoch: u64, pool: Pool) -> Result<Done, HostError> {
        self.0
            .act(
                |fault| Err(host_no(fault)),
                |state| {
                    World::check_epoch(state, epoch);
                    assert_ne!(state.active, Some(pool), "stopped the active pool");
                    state.effects.push(format!("stop {pool}"));
                    let held = state.host.pools.remove(&pool);
                    state.probed.retain(|(probed, _)| *probed != pool);
                    Ok(Done { already: held.is_none() })
                },
            )
            .await
    }

    async fn probe(&self, pool: Pool, release: &Release, patience: Patience) -> Result<Health, HostError> {
        if patience == Patience::Glance {
            let state = self.0.state.lock().unwrap();
            let runs = state.host.pools.get(&pool).is_some_and(|view| view.release == Some(release.digest()));
            return Ok(if runs { good() } else { bad() });
        }
        let digest = release.digest();
        self.0
            .act(
                |fault| match fault {
                    Fault::TrueNo => Ok(bad()),
                    fault => Err(host_no(fault)),
                },
                |state| {
                    let view = state.host.pools.get(&pool);
                    let is_it = view.is_some_and(|view| view.release == Some(digest) && !view.orphaned);
                    state.probed.extend(is_it.then_some((pool, digest)));
                    Ok(if is_it { good() } else { bad() })
                },
            )
            .await
    }

    async fn activate(&self, release: Option<&Digest>) -> Result<Done, HostError> {
        let release = release.copied();
        self.0
            .act(
                |fault| Err(host_no(fault)),
                |state| {
                    let already = state.host.current == release;
                    if !already {
                        state.effects.push("activate".into());
                        state.host.current = release;
                    }
                    Ok(Done { already })
                },
            )
            .await
    }

    async fn retain(&self, keep: &BTreeSet<Digest>) -> Result<BTreeSet<Digest>, HostError> {
        self.0
            .act(
                |fault| Err(host_no(fault)),
                |state| {
                    let in_pools = state.host.pools.values().filter_map(|view| view.release);
                    let keep: BTreeSet<Digest> = keep.iter().copied().chain(in_pools).collect();
                    state.effects.push("retain".into());
                    let gone = state.host.releases.difference(&keep).copied().collect();
                    state.host.releases.retain(|release| keep.contains(release));
                    Ok(gone)
                },
            )
            .await
    }
}

#[derive(Clone)]
pub struct FakeTraffic(pub Arc<World>);

#[async_trait]
impl Traffic for FakeTraffic {
    async fn observe(&self) -> Result<TrafficState, TrafficError> {
        let state = self.0.state.lock().unwrap();
        let in_flight: BTreeMap<Pool, u64> =
            state.host.pools.iter().map(|(pool, view)| (*pool, view.in_flight)).collect();
        Ok(TrafficState { active: state.active, listen: None, in_flight })
    }

    async fn switch(&self, epoch: u64, to: Pool) -> Result<Done, TrafficError> {
        self.0
            .act(
                |fault| Err(traffic_no(fault)),
                |state| {
                    World::check_epoch(state, epoch);
                    let view = state.host.pools.get(&to).expect("switched to an empty pool").clone();
                    assert_eq!(view.life, Life::Up, "switched to a pool that is not up");
                    let proven = view.release.is_some_and(|release| state.probed.contains(&(to, release)));
                    assert!(proven, "switched to a release that was not proven");
                    let already = state.active == Some(to);
                    state.effects.push(format!("switch {to}"));
                    if let Some(old) = state.active.filter(|old| *old != to) {
                        state.host.pools.get_mut(&old).into_iter().for_each(|view| view.in_flight = 1);
                    }
                    state.active = Some(to);
                    Ok(Done { already })
                },
            )
            .await
    }

    async fn abandon(&self, epoch: u64, pool: Pool) -> Result<Done, TrafficError> {
        self.0
            .act(
                |fault| Err(traffic_no(fault)),
                |state| {
                    World::check_epoch(state, epoch);
                    assert_eq!(state.active, Some(pool), "abandoned a pool that got no requests");
                    state.effects.push(format!("abandon {pool}"));
                    state.active = None;
                    Ok(Done::NOW)
                },
            )
            .await
    }

    async fn drain(&self, epoch: u64, pool: Pool, _: Duration) -> Result<u64, TrafficError> {
        self.0
            .act(
                |fault| Err(traffic_no(fault)),
                |state| {
                    World::check_epoch(state, epoch);
                    assert_ne!(state.active, Some(pool), "drained the active pool");
                    state.effects.push(format!("drain {pool}"));
                    state.host.pools.get_mut(&pool).into_iter().for_each(|view| view.in_flight = 0);
                    Ok(0)
                },
            )
            .await
    }

    async fn verify(&self, release: &Release) -> Result<Health, TrafficError> {
        let digest = release.digest();
        self.0
            .act(
                |fault| match fault {
                    Fault::TrueNo => Ok(bad()),
                    fault => Err(traffic_no(fault)),
                },
                |state| {
                    let active = state.active.and_then(|pool| state.host.pools.get(&pool));
                    Ok(if active.is_some_and(|view| view.release == Some(digest)) { good() } else { bad() })
                },
            )
            .await
    }
}
