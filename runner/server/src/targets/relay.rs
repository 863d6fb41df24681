//! All tunnels of a server, and which runner of a machine is the one that counts. In memory only: a tunnel lives as long as the
//! server, and whoever is at its ends begins another one when it is gone.

use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use staith_model::{
    RunnerId, TunnelId,
    service::{TargetOf, TunnelOffered},
};

use super::tunnel::{Came, End, Event, Not, Side, Tunnel};
use crate::bells::{Bell, Listener};

/// An end of a tunnel of which nothing was heard for so long is gone. Whoever is there has a question waiting all the time.
pub(crate) const GONE: Duration = Duration::from_secs(15);
/// How long it is remembered how a tunnel ended.
const REMEMBERED: Duration = Duration::from_secs(60);
/// The most tunnels to one machine at once: one deploys, the others look.
const MOST: usize = 8;

/// All tunnels. Clones are the same.
#[derive(Clone, Default)]
pub struct Relay(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    last_turn: u64,
    posts: BTreeMap<TargetOf, Post>,
    tunnels: BTreeMap<TunnelId, Held>,
    bells: BTreeMap<TargetOf, Bell>,
}

/// The runner of a machine that began last.
struct Post {
    runner: RunnerId,
    turn: u64,
    presence: Presence,
}

/// A tunnel with whose it is.
struct Held {
    target: TargetOf,
    folder: String,
    state: Tunnel,
    deployer: Presence,
    bell: Bell,
}

/// Whether somebody is there.
#[derive(Debug, Clone, Copy)]
struct Presence {
    /// Questions of theirs that wait for an answer.
    waiting: u32,
    heard: Duration,
}

impl Presence {
    const fn new(now: Duration) -> Self {
        Self { waiting: 0, heard: now }
    }

    fn is_gone(self, now: Duration) -> bool {
        self.waiting == 0 && now.saturating_sub(self.heard) > GONE
    }
}

/// Who asks at an end of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At<'a> {
    /// The process that deploys.
    Deployer,
    /// A runner of a machine, in its turn.
    Machine(&'a TargetOf, u64),
}

impl At<'_> {
    pub(crate) const fn side(self) -> Side {
        match self {
            Self::Deployer => Side::Deployer,
            Self::Machine(..) => Side::Machine,
        }
    }
}

/// Why the relay does not do what is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The server was started anew since the runner began.
    NoTurn,
    /// Another runner of the machine has begun since.
    TurnOver,
    /// There is no such tunnel for who asks.
    Unknown,
    /// The machine has as many as it can have.
    TooMany,
    /// The tunnel says no.
    Not(Not),
}

/// Where a machine stands, as the server sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its runner is there.
    Here,
    /// It is not; how long ago it was heard of, if it was since the server was started.
    Away(Option<Duration>),
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Relay")
    }
}

impl Relay {
    /// A runner of a machine begins, and is the one that counts from now on: what an earlier one had is over. `chance` keeps turns of
    /// before and after a start of the server apart.
    pub(crate) fn begin(&self, target: &TargetOf, runner: &RunnerId, chance: u64, now: Duration) -> u64 {
        let mut known = self.known();
        known.last_turn = known.last_turn.saturating_add(1).max(chance);
        let turn = known.last_turn;
        let anew = "the runner on the machine was started anew";
        known.end_where(
            |held| held.target == *target && matches!(held.state, Tunnel::Open { .. }),
            anew,
            now,
        );
        let post = Post { runner: runner.clone(), turn, presence: Presence::new(now) };
        known.posts.insert(target.clone(), post);
        known.ring(target);
        turn
    }

    /// The tunnels that a machine is to have. Those in `has` are taken by it.
    pub(crate) fn offers(
        &self,
        at: (&TargetOf, u64),
        has: &[TunnelId],
        now: Duration,
    ) -> Result<Vec<TunnelOffered>, Refusal> {
        let mut known = self.known();
        known.counts(at)?;
        known.sweep(now);
        for tunnel in has {
            if let Some(held) = known.tunnels.get_mut(tunnel).filter(|held| held.target == *at.0) {
                let _ = held.step(Event::Taken);
            }
        }
        let wanted = |(tunnel, held): (&TunnelId, &Held)| {
            let is_its = held.target == *at.0 && held.state.is_wanted();
            is_its.then(|| TunnelOffered { tunnel: tunnel.clone(), folder: held.folder.clone() })
        };
        Ok(known.tunnels.iter().filter_map(wanted).collect())
    }

    /// The deployer wants a tunnel. One of this id that is there already is that one.
    pub(crate) fn offer(
        &self,
        tunnel: &TunnelId,
        target: &TargetOf,
        folder: &str,
        now: Duration,
    ) -> Result<(), Refusal> {
        let mut known = self.known();
        known.sweep(now);
        if let Some(held) = known.tunnels.get(tunnel) {
            return if held.target == *target { Ok(()) } else { Err(Refusal::Unknown) };
        }
        let open = known.tunnels.values().filter(|held| held.target == *target && held.state.is_wanted());
        if open.count() >= MOST {
            return Err(Refusal::TooMany);
        }
        let held = Held {
            target: target.clone(),
            folder: folder.to_owned(),
            state: Tunnel::Offered,
            deployer: Presence::new(now),
            bell: Bell::default(),
        };
        known.tunnels.insert(tunnel.clone(), held);
        known.ring(target);
        Ok(())
    }

    /// Whether the machine has taken the tunnel.
    pub(crate) fn is_open(&self, tunnel: &TunnelId, now: Duration) -> Result<bool, Refusal> {
        let mut known = self.known();
        known.sweep(now);
        match &known.tunnels.get(tunnel).ok_or(Refusal::Unknown)?.state {
            Tunnel::Offered => Ok(false),
            Tunnel::Open { .. } => Ok(true),
            Tunnel::Ended { end, .. } => Err(Refusal::Not(Not::Ended(end.clone()))),
        }
    }

    /// Something happens at one of its ends.
    pub(crate) fn step(
        &self,
        tunnel: &TunnelId,
        at: At<'_>,
        event: Event<'_>,
        now: Duration,
    ) -> Result<Came, Refusal> {
        let mut known = self.known();
        if let At::Machine(target, turn) = at {
            known.counts((target, turn))?;
        }
        known.sweep(now);
        let held = known.of(tunnel, at)?;
        let is_end = matches!(event, Event::End(_));
        let came = held.step(event).map_err(Refusal::Not);
        let target = held.target.clone();
        if is_end {
            known.ring(&target);
        }
        came
    }

    /// Whether more that is said at this end has to wait.
    pub(crate) fn is_full(&self, tunnel: &TunnelId, at: At<'_>) -> bool {
        self.known().of(tunnel, at).is_ok_and(|held| held.state.is_full(at.side()))
    }

    /// Hears what happens to a tunnel.
    pub(crate) fn listen(&self, tunnel: &TunnelId, at: At<'_>) -> Result<Listener, Refusal> {
        self.known().of(tunnel, at).map(|held| held.bell.listen())
    }

    /// Hears what a machine is to do.
    pub(crate) fn listen_for(&self, target: &TargetOf) -> Listener {
        self.known().bells.entry(target.clone()).or_default().listen()
    }

    /// Where a machine stands.
    pub(crate) fn standing(&self, target: &TargetOf, now: Duration) -> Standing {
        match self.known().posts.get(target) {
            Some(post) if !post.presence.is_gone(now) => Standing::Here,
            Some(post) => Standing::Away(Some(now.saturating_sub(post.presence.heard))),
            None => Standing::Away(None),
        }
    }

    /// A runner's key counts for nothing any more: what it has is over at once.
    pub(crate) fn revoked(&self, runner: &RunnerId, now: Duration) {
        let mut known = self.known();
        let theirs = known.posts.iter().find(|(_, post)| post.runner == *runner);
        if let Some(target) = theirs.map(|(target, _)| target.clone()) {
            known.posts.remove(&target);
            let why = "the key of the machine's runner was revoked";
            known.end_where(|held| held.target == target, why, now);
            known.ring(&target);
        }
    }

    /// A host was registered as a machine: another one that was it before has nothing any more.
    pub(crate) fn belongs_to(&self, target: &TargetOf, runner: &RunnerId, now: Duration) {
        let before = self.known().posts.get(target).map(|post| post.runner.clone());
        if let Some(before) = before.filter(|before| before != runner) {
            self.revoked(&before, now);
        }
    }

    /// Another process deploys from now on: tunnels of the one before are over.
    pub fn another_deployer(&self, now: Duration) {
        self.known().end_where(|_| true, "the process that deploys was started anew", now);
    }

    /// Somebody waits for an answer from here on, until the returned is dropped: they are there for so long.
    pub(crate) fn is_there(&self, waits: Waits, clock: &crate::clock::Clock) -> There {
        self.known().hear(&waits, 1, clock.steady());
        There { relay: self.clone(), waits, clock: clock.clone() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who waits.
#[derive(Debug, Clone)]
pub(crate) enum Waits {
    /// The deployer, at a tunnel.
    Deployer(TunnelId),
    /// The runner of a machine, in its turn.
    Machine(TargetOf, u64),
}

/// Somebody waits for an answer.
#[derive(Debug)]
pub(crate) struct There {
    relay: Relay,
    waits: Waits,
    clock: crate::clock::Clock,
}

impl Drop for There {
    fn drop(&mut self) {
        self.relay.known().hear(&self.waits, -1, self.clock.steady());
    }
}

impl Held {
    fn step(&mut self, event: Event<'_>) -> Result<Came, Not> {
        let before = self.state.mark();
        let (after, came) = mem::replace(&mut self.state, Tunnel::Offered).after(event);
        self.state = after;
        if self.state.mark() != before {
            self.bell.ring();
        }
        came
    }
}

impl Known {
    /// Goes on only if that runner is the one that counts.
    fn counts(&self, (target, turn): (&TargetOf, u64)) -> Result<(), Refusal> {
        match self.posts.get(target) {
            None => Err(Refusal::NoTurn),
            Some(post) if post.turn == turn => Ok(()),
            Some(_) => Err(Refusal::TurnOver),
        }
    }

    fn of(&mut self, tunnel: &TunnelId, at: At<'_>) -> Result<&mut Held, Refusal> {
        let held = self.tunnels.get_mut(tunnel).ok_or(Refusal::Unknown)?;
        match at {
            At::Machine(target, _) if held.target != *target => Err(Refusal::Unknown),
            _ => Ok(held),
        }
    }

    fn hear(&mut self, waits: &Waits, more: i32, now: Duration) {
        let presence = match waits {
            Waits::Deployer(tunnel) => self.tunnels.get_mut(tunnel).map(|held| &mut held.deployer),
            Waits::Machine(target, turn) => {
                let post = self.posts.get_mut(target).filter(|post| post.turn == *turn);
                post.map(|post| &mut post.presence)
            }
        };
        if let Some(presence) = presence {
            presence.waiting = presence.waiting.saturating_add_signed(more);
            presence.heard = now;
        }
    }

    fn ring(&mut self, target: &TargetOf) {
        self.bells.entry(target.clone()).or_default().ring();
    }

    fn end_where(&mut self, which: impl Fn(&Held) -> bool, why: &str, now: Duration) {
        for held in self.tunnels.values_mut().filter(|held| held.state.is_wanted() && which(held)) {
            held.deployer.heard = now;
            let _ = held.step(Event::End(End::Broken(why.to_owned())));
            if let Some(bell) = self.bells.get(&held.target) {
                bell.ring();
            }
        }
    }

    /// Ends what nobody is at, and forgets what ended long ago.
    fn sweep(&mut self, now: Duration) {
        let away: Vec<TargetOf> = self
            .posts
            .iter()
            .filter(|(_, post)| post.presence.is_gone(now))
            .map(|(t, _)| t.clone())
            .collect();
        let silent = format!("nothing was heard of the machine's runner for {} s", GONE.as_secs());
        let is_open = |held: &Held| matches!(held.state, Tunnel::Open { .. });
        self.end_where(|held| is_open(held) && away.contains(&held.target), &silent, now);
        let silent = format!("nothing was heard of the deployer for {} s", GONE.as_secs());
        self.end_where(|held| held.deployer.is_gone(now), &silent, now);
        self.tunnels.retain(|_, held| {
            held.state.is_wanted()
                || held.deployer.waiting > 0
                || now.saturating_sub(held.deployer.heard) < REMEMBERED
        });
    }
}

#[cfg(test)]
mod tests;
