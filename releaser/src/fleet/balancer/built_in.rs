//! The built-in reverse proxy ([`crate::proxy::station`]), through its control socket.
//!
//! Members are the targets, by their names; where each listens is told with the order, or known to the proxy. Several nodes are all
//! told the same: members that come are found up on every node before any node sends them requests, and only then does a node
//! take requests from those that go. On one node the two happen at one instant.

mod talk;

pub use talk::ask;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use staith_model::Name;
use tokio::time::Instant;

use super::{Balancer, BalancerState, Member, Shift, Shifted, agree, haproxy::Dial};
use crate::{
    fleet::machine::Order,
    proxy::station::protocol::{Answer, Ask, Status, Wanted, WantedMember},
    traffic::TrafficError,
};

/// How often a node is asked while something is waited for.
const LOOK: Duration = Duration::from_millis(20);

const CHANGE: &str = "change who gets requests";
const TELL: &str = "tell who gets requests";

/// One backend of the built-in proxy, on one node or several.
#[derive(Debug, Clone)]
pub struct BuiltIn {
    nodes: Vec<Dial>,
    backend: Name,
    addresses: BTreeMap<Name, String>,
}

impl BuiltIn {
    /// The balancer that these nodes are; `None` without a node. `addresses` are those of members that the proxy need not know,
    /// `HOST:PORT`.
    pub fn new(nodes: Vec<Dial>, backend: Name, addresses: BTreeMap<Name, String>) -> Option<Self> {
        (!nodes.is_empty()).then_some(Self { nodes, backend, addresses })
    }

    async fn ask(&self, node: &Dial, ask: Ask, what: &'static str) -> Result<Answer, TrafficError> {
        let answer = talk::ask(node, &self.backend, ask).await;
        let answer = answer.map_err(|error| TrafficError::Lost { what, why: format!("{node}: {error}") })?;
        match answer {
            Answer::Fenced { highest } => {
                Err(TrafficError::Fenced { why: format!("{node} has seen epoch {highest}, which is higher") })
            }
            Answer::Refused { why } => Err(TrafficError::Refused { what, why: format!("{node}: {why}") }),
            answer => Ok(answer),
        }
    }

    async fn status(&self, node: &Dial) -> Result<Status, TrafficError> {
        match self.ask(node, Ask::Status, TELL).await? {
            Answer::Status(status) => Ok(status),
            other => Err(unexpected(node, &other)),
        }
    }

    /// Refuses what can't or must not be done, before anything is said to any node. Each node refuses it as well.
    async fn admissible(&self, epoch: u64, to: &BTreeMap<Name, u32>) -> Result<(), TrafficError> {
        let refused = |why: String| Err(TrafficError::Refused { what: CHANGE, why });
        if to.is_empty() {
            return refused("nobody is to get them, and then every request would fail".into());
        }
        if let Some((name, weight)) = to.iter().find(|(_, weight)| !(1..=256).contains(*weight)) {
            return refused(format!("the weight of {name} is {weight}, and there are 1 to 256"));
        }
        for node in &self.nodes {
            let status = self.status(node).await?;
            if status.epoch > epoch {
                let why = format!("{node} has seen epoch {}, and this one has {epoch}", status.epoch);
                return Err(TrafficError::Fenced { why });
            }
            let known = |name: &Name| status.members.contains_key(name) || self.addresses.contains_key(name);
            if let Some(unknown) = to.keys().find(|name| !known(name)) {
                return refused(format!(
                    "{node} has no member {unknown}, and nothing says where it listens; give the target an address and a port, or \
                     the proxy a member of that name"
                ));
            }
        }
        Ok(())
    }

    fn wanted(&self, epoch: u64, to: &BTreeMap<Name, u32>) -> Wanted {
        let member = |(name, weight): (&Name, &u32)| {
            let address = self.addresses.get(name).cloned();
            (name.clone(), WantedMember { weight: *weight, address })
        };
        Wanted { epoch, attempt: attempt(), to: to.iter().map(member).collect() }
    }

    /// Waits until all are up on all nodes, and then makes them serve there. Whether anything has changed.
    async fn bring_in(&self, wanted: &Wanted, patience: Duration) -> Result<bool, TrafficError> {
        let deadline = Instant::now() + patience;
        let mut acted = false;
        loop {
            let mut waiting = BTreeMap::new();
            for node in &self.nodes {
                match self.ask(node, Ask::Prepare(wanted.clone()), CHANGE).await? {
                    Answer::Waiting(who) => waiting.extend(who),
                    other => return Err(unexpected(node, &other)),
                }
            }
            if waiting.is_empty() {
                for node in &self.nodes {
                    match self.ask(node, Ask::Commit(wanted.clone()), CHANGE).await? {
                        Answer::Committed { changed } => acted |= changed,
                        // It has just gone down, or the proxy was started again: it is waited for again.
                        Answer::Waiting(who) => waiting.extend(who),
                        other => return Err(unexpected(node, &other)),
                    }
                }
            }
            if waiting.is_empty() {
                return Ok(acted);
            }
            if Instant::now() >= deadline {
                return Err(not_up(&waiting, patience));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits for what those that went are answering; what is left when the time is over.
    async fn drain(&self, epoch: u64, within: Duration) -> Result<BTreeMap<Name, u64>, TrafficError> {
        let deadline = Instant::now() + within;
        loop {
            let mut left = BTreeMap::new();
            for node in &self.nodes {
                match self.ask(node, Ask::Left { epoch }, CHANGE).await? {
                    Answer::Left(here) => here
                        .into_iter()
                        .for_each(|(name, requests)| *left.entry(name).or_default() += requests),
                    other => return Err(unexpected(node, &other)),
                }
            }
            if left.is_empty() || Instant::now() >= deadline {
                return Ok(left);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[async_trait]
impl Balancer for BuiltIn {
    async fn observe(&self) -> Result<BalancerState, TrafficError> {
        let mut states = vec![];
        for node in &self.nodes {
            states.push((node.to_string(), state(self.status(node).await?)));
        }
        agree::merged(states).map_err(|why| TrafficError::Refused { what: TELL, why })
    }

    async fn serve(&self, order: &Order, shift: &Shift) -> Result<Shifted, TrafficError> {
        self.admissible(order.epoch, &shift.to).await?;
        let wanted = self.wanted(order.epoch, &shift.to);
        let acted = self.bring_in(&wanted, shift.patience).await?;
        let left = self.drain(order.epoch, shift.drain).await?;
        Ok(Shifted { already: !acted, left })
    }

    fn granularity(&self) -> u32 {
        256
    }
}

/// Differs from attempt to attempt, whoever makes it.
fn attempt() -> String {
    let mut random = [0u8; 8];
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    // Without random numbers the clock and the process still tell attempts apart.
    let _ = getrandom::fill(&mut random);
    format!("{}-{clock}-{}", std::process::id(), u64::from_le_bytes(random))
}

fn not_up(waiting: &BTreeMap<Name, String>, patience: Duration) -> TrafficError {
    let who: Vec<String> =
        waiting.iter().map(|(name, said)| format!("{name} (its check says: {said})")).collect();
    TrafficError::Refused {
        what: CHANGE,
        why: format!(
            "the proxy did not find up within {} s: {}. Nobody who served was drained; see whether the application answers the proxy's \
             check on that machine",
            patience.as_secs(),
            who.join(", ")
        ),
    }
}

fn unexpected(node: &Dial, answer: &Answer) -> TrafficError {
    TrafficError::Refused { what: CHANGE, why: format!("{node} answered another question: {answer:?}") }
}

fn state(status: Status) -> BalancerState {
    let member = |(name, member): (Name, crate::proxy::station::protocol::MemberStatus)| {
        let (weight, admitted, up) = (member.weight, member.admitted, member.up);
        (name, Member { weight, admitted, up, in_flight: Some(member.in_flight) })
    };
    BalancerState {
        epoch: Some(status.epoch).filter(|epoch| *epoch > 0),
        members: status.members.into_iter().map(member).collect(),
    }
}
