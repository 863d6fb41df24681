//! HAProxy as a balancer.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    dial::Dial,
    next::{self, To},
    node::{self, Seen},
    persist::{self, Keep},
};
use crate::{
    fleet::{
        balancer::{Balancer, BalancerState, Member, Shift, Shifted, agree},
        machine::Order,
    },
    traffic::TrafficError,
};

/// How often a node is looked at while something is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// A node of HAProxy.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Its runtime API, of level `admin`.
    pub runtime: Dial,
    /// The socket of its master, where it has one: workers that a reload has left behind are waited for.
    pub master: Option<Dial>,
    /// Where the truth is kept for the next reload; `None` leaves a reload to what the configuration says.
    pub keep: Option<Keep>,
}

/// The servers of one backend, on one node or several that are all told the same.
#[derive(Debug, Clone)]
pub struct HaProxy {
    nodes: Vec<NodeSpec>,
    backend: String,
}

impl HaProxy {
    /// The balancer that these nodes are. `None` if there is no node, or the backend's name is none that HAProxy could have:
    /// letters, digits, `-`, `_`, `.` and `:`.
    pub fn new(nodes: Vec<NodeSpec>, backend: &str) -> Option<Self> {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.:".contains(letter);
        let good = !nodes.is_empty() && !backend.is_empty() && backend.chars().all(fits);
        good.then(|| Self { nodes, backend: backend.to_owned() })
    }

    async fn look(&self) -> Result<Vec<Seen>, TrafficError> {
        let mut seen = vec![];
        for node in &self.nodes {
            seen.push(node::look(node, &self.backend).await?);
        }
        Ok(seen)
    }

    /// Refuses what can't or must not be done, before anything is said to any node.
    fn admissible(&self, epoch: u64, to: &To, seen: &[Seen]) -> Result<(), TrafficError> {
        let refused = |why: String| Err(TrafficError::Refused { what: "change who gets requests", why });
        if to.is_empty() {
            return refused("nobody is to get them, and then every request would fail".into());
        }
        if let Some((name, weight)) = to.iter().find(|(_, weight)| !(1..=256).contains(*weight)) {
            return refused(format!("the weight of {name} is {weight}, and HAProxy has 1 to 256"));
        }
        for (node, seen) in self.nodes.iter().zip(seen) {
            fenced(node, seen, epoch)?;
            for name in to.keys() {
                let Some(server) = seen.servers.get(name) else {
                    return refused(format!(
                        "{} has no server {name} in the backend {}",
                        node.runtime, self.backend
                    ));
                };
                if !server.checked {
                    return refused(format!(
                        "the server {}/{name} has no `check` in the configuration of {}; without one, HAProxy would give requests to it \
                         although it is dead",
                        self.backend, node.runtime
                    ));
                }
            }
        }
        Ok(())
    }

    /// A look at the nodes in the middle of a shift, which is over for this deployment when another has begun.
    async fn look_as(&self, epoch: u64) -> Result<Vec<Seen>, TrafficError> {
        let seen = self.look().await?;
        for (node, seen) in self.nodes.iter().zip(&seen) {
            fenced(node, seen, epoch)?;
        }
        Ok(seen)
    }

    /// Waits until all that are to serve are up on all nodes, bringing in those that are new, and then admits them.
    async fn bring_in(&self, epoch: u64, to: &To, patience: Duration) -> Result<bool, TrafficError> {
        let deadline = Instant::now() + patience;
        let mut brought: Vec<(u32, BTreeSet<String>)> = vec![(0, BTreeSet::new()); self.nodes.len()];
        let mut acted = false;
        loop {
            let seen = self.look_as(epoch).await?;
            let mut waited_for = BTreeSet::new();
            for ((node, seen), (pid, brought)) in self.nodes.iter().zip(&seen).zip(&mut brought) {
                if *pid != seen.info.pid {
                    // A reload: what it was told before may be forgotten, and what it finds up may be what it was told to find.
                    (*pid, *brought) = (seen.info.pid, BTreeSet::new());
                }
                let coming = next::to_bring_in(&seen.servers, to, brought);
                for name in coming {
                    node::order(node, &next::bring_in(&self.backend, &name)).await?;
                    waited_for.insert(name.clone());
                    brought.insert(name);
                    acted = true;
                }
                waited_for.extend(next::waited_for(&seen.servers, to));
            }
            if waited_for.is_empty() {
                let mut left = false;
                for (node, seen) in self.nodes.iter().zip(&seen) {
                    let commands = next::admit(&self.backend, &seen.servers, to);
                    node::order(node, &commands).await?;
                    left |= !commands.is_empty();
                }
                acted |= left;
                if !left {
                    return Ok(acted);
                }
            } else if Instant::now() >= deadline {
                return Err(self.not_up(&waited_for, &seen, patience));
            } else {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    fn not_up(&self, waited_for: &BTreeSet<String>, seen: &[Seen], patience: Duration) -> TrafficError {
        let how = |name: &String| {
            let checks: BTreeSet<&str> =
                seen.iter().filter_map(|seen| Some(seen.servers.get(name)?.check.as_str())).collect();
            let checks: Vec<&str> = checks.into_iter().filter(|check| !check.is_empty()).collect();
            format!(
                "{name} (its check says {})",
                if checks.is_empty() { "nothing yet".into() } else { checks.join(", ") }
            )
        };
        let who: Vec<String> = waited_for.iter().map(how).collect();
        TrafficError::Refused {
            what: "change who gets requests",
            why: format!(
                "HAProxy did not find up within {} s: {}. Nobody who served was drained; see whether the application answers HAProxy's \
                 check on that machine",
                patience.as_secs(),
                who.join(", ")
            ),
        }
    }

    /// Takes new requests from those that go, and waits for what they are answering.
    async fn drain(&self, epoch: u64, to: &To, within: Duration) -> Result<Drained, TrafficError> {
        let (mut acted, deadline) = (false, Instant::now() + within);
        loop {
            let seen = self.look_as(epoch).await?;
            let good = |seen: &Seen| {
                next::waited_for(&seen.servers, to).is_empty()
                    && next::admit(&self.backend, &seen.servers, to).is_empty()
            };
            if !seen.iter().all(good) {
                return Ok(Drained::Changed);
            }
            let mut told = false;
            for (node, seen) in self.nodes.iter().zip(&seen) {
                let commands = next::drain(&self.backend, &seen.servers, to);
                told |= !commands.is_empty();
                node::order(node, &commands).await?;
            }
            if told {
                acted = true;
                continue;
            }
            let leaving: BTreeSet<String> =
                seen.iter().flat_map(|seen| next::leaving(&seen.servers, to).into_keys()).collect();
            let left = sessions(&seen, to);
            if leaving.is_empty() && left.is_empty() {
                return Ok(Drained::Done { acted, left });
            }
            // A worker that a reload has left behind knows nothing of the drain, so it is waited for as a whole.
            let lingering = seen.iter().any(|seen| !seen.old_workers.is_empty());
            let late = Instant::now() >= deadline;
            if left.is_empty() && (!lingering || late) {
                let retired = self.retire(&seen, to).await?;
                return Ok(Drained::Done { acted: acted || retired, left });
            }
            if late {
                return Ok(Drained::Done { acted, left });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Puts those that have nothing left into maintenance, where no client that is bound to them reaches them either.
    async fn retire(&self, seen: &[Seen], to: &To) -> Result<bool, TrafficError> {
        let mut acted = false;
        for (node, seen) in self.nodes.iter().zip(seen) {
            let leaving = next::leaving(&seen.servers, to);
            let commands: Vec<String> =
                leaving.keys().map(|name| next::set(&self.backend, name, "state maint")).collect();
            acted |= !commands.is_empty();
            node::order(node, &commands).await?;
        }
        Ok(acted)
    }

    async fn keep(&self) -> Result<(), TrafficError> {
        for node in &self.nodes {
            if let Some(keep) = &node.keep {
                persist::keep(&node.runtime, &self.backend, keep).await?;
            }
        }
        Ok(())
    }
}

/// What came of draining.
enum Drained {
    /// Somebody or something has changed it meanwhile: it has to begin again.
    Changed,
    Done {
        acted: bool,
        left: BTreeMap<String, u64>,
    },
}

/// Sessions of those that go, on all nodes and in their old workers, without those that have none.
fn sessions(seen: &[Seen], to: &To) -> BTreeMap<String, u64> {
    let mut left = BTreeMap::new();
    for seen in seen {
        let old = seen.old_workers.iter().flatten().filter(|(name, _)| !to.contains_key(*name));
        let old = old.map(|(name, sessions)| (name.clone(), *sessions));
        for (name, sessions) in
            next::leaving(&seen.servers, to).into_iter().chain(old).filter(|(_, sessions)| *sessions > 0)
        {
            *left.entry(name).or_default() += sessions;
        }
    }
    left
}

#[async_trait]
impl Balancer for HaProxy {
    async fn observe(&self) -> Result<BalancerState, TrafficError> {
        let seen = self.look().await?;
        let states = self.nodes.iter().zip(&seen).map(|(node, seen)| (node.runtime.to_string(), state(seen)));
        agree::merged(states.collect())
            .map_err(|why| TrafficError::Refused { what: "tell who gets requests", why })
    }

    async fn serve(&self, order: &Order, shift: &Shift) -> Result<Shifted, TrafficError> {
        let to: To = shift.to.iter().map(|(name, weight)| (name.to_string(), *weight)).collect();
        let seen = self.look().await?;
        self.admissible(order.epoch, &to, &seen)?;
        let give_up = Instant::now() + shift.patience + shift.drain + shift.patience;
        for (node, seen) in self.nodes.iter().zip(&seen).filter(|(_, seen)| seen.epoch != Some(order.epoch)) {
            tracing::debug!(node = %node.runtime, earlier = ?seen.epoch, "remembers the epoch");
            node::remember(node, &self.backend, order.epoch).await;
        }
        let mut acted = false;
        loop {
            acted |= self.bring_in(order.epoch, &to, shift.patience).await?;
            // A reload between here and the end finds both, never neither.
            self.keep().await?;
            match self.drain(order.epoch, &to, shift.drain).await? {
                Drained::Done { acted: also, left } => {
                    self.keep().await?;
                    let left =
                        left.into_iter().filter_map(|(name, sessions)| Some((node::name(&name)?, sessions)));
                    return Ok(Shifted { already: !acted && !also, left: left.collect() });
                }
                Drained::Changed if Instant::now() < give_up => acted = true,
                Drained::Changed => {
                    let why = "what HAProxy was told is changed again and again; is somebody else deploying?"
                        .into();
                    return Err(TrafficError::Lost { what: "change who gets requests", why });
                }
            }
        }
    }

    fn granularity(&self) -> u32 {
        256
    }

    fn cautions(&self) -> Vec<String> {
        let forgets = self.nodes.iter().filter(|node| node.keep.is_none());
        let nodes: Vec<String> = forgets.map(|node| node.runtime.to_string()).collect();
        if nodes.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "a reload of HAProxy forgets who serves and begins with what its configuration says: name the `state-file` of {}",
            nodes.join(", ")
        )]
    }
}

/// A node that has seen a later epoch takes nothing from an earlier one.
fn fenced(node: &NodeSpec, seen: &Seen, epoch: u64) -> Result<(), TrafficError> {
    match seen.epoch.filter(|highest| *highest > epoch) {
        None => Ok(()),
        Some(highest) => Err(TrafficError::Fenced {
            why: format!("{} has seen epoch {highest}, and this one has {epoch}", node.runtime),
        }),
    }
}

fn state(seen: &Seen) -> BalancerState {
    let members = seen.servers.iter().filter_map(|(name, server)| {
        let old: u64 = seen.old_workers.iter().filter_map(|sessions| sessions.get(name)).sum();
        let member = Member {
            weight: server.weight,
            admitted: server.is_admitted(),
            up: server.checked.then_some(server.up),
            in_flight: Some(server.sessions + old),
        };
        Some((node::name(name)?, member))
    });
    BalancerState { epoch: seen.epoch, members: members.collect() }
}
