//! The seam to whoever decides which machines get requests.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use staith_model::Name;

use super::machine::Order;
use crate::{host::Done, traffic::TrafficError};

mod agree;
pub mod built_in;
pub mod dns;
pub mod haproxy;
pub mod traffic_manager;

/// Whoever decides which machines get requests.
///
/// There is one way to change that: to say who is to serve. Whoever implements it enables those that are new, waits until each is
/// verified to be up, and only then drains those that go and waits for what they are answering. So the order in which some request finds no
/// server can't be expressed, and a call can be repeated after any crash.
///
/// **Ensure, not do**, **cancel-safe** and **fenced** as [`Machine`](super::machine::Machine) is. What was changed is durable: a
/// reload or restart of the provider keeps it.
#[async_trait]
pub trait Balancer: Send + Sync {
    /// Who gets requests now. Reads only.
    ///
    /// # Errors
    /// It can't be told, or several nodes tell different things. An answer is never guessed.
    async fn observe(&self) -> Result<BalancerState, TrafficError>;

    /// Makes exactly these members get the requests that begin from now on, by weight. Those in flight stay where they are.
    /// Members that go are given `drain` to answer what they have; what is left then is told and not cut.
    ///
    /// # Errors
    /// Nobody is to serve; a member is not known, or does not come up within `patience` (then nobody was drained); the epoch
    /// is too low; or contact was lost.
    async fn serve(&self, order: &Order, shift: &Shift) -> Result<Shifted, TrafficError>;

    /// The smallest share of requests that a weight can express: 256 for HAProxy's weights, 1 for a name's addresses. A plan
    /// tells the share that is really reached.
    fn granularity(&self) -> u32;

    /// What a person should know of it before saying yes to a plan, for example that a reload would forget who serves.
    fn cautions(&self) -> Vec<String> {
        Vec::new()
    }

    /// How long answers that were given before are believed by clients, beyond a drain: the time to live of a name's records.
    fn lingers(&self) -> Duration {
        Duration::ZERO
    }
}

/// Who is to serve, and how much time there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shift {
    /// The members that get requests, with their weights (1 to 256, relative to each other).
    pub to: BTreeMap<Name, u32>,
    /// How long a new member may take to be up for the provider.
    pub patience: Duration,
    /// How long members that go may take to answer what they have.
    pub drain: Duration,
}

/// What a shift did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shifted {
    /// Whether it was so already.
    pub already: bool,
    /// Requests (or sessions) that members which went were still answering when their time was up.
    pub left: BTreeMap<Name, u64>,
}

impl From<&Shifted> for Done {
    fn from(shifted: &Shifted) -> Self {
        Self { already: shifted.already }
    }
}

/// Who gets requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BalancerState {
    /// The highest epoch that the provider has seen, where it can remember one.
    pub epoch: Option<u64>,
    /// Every member that it knows.
    pub members: BTreeMap<Name, Member>,
}

/// A member as the provider has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its weight; 0 gets no new requests.
    pub weight: u32,
    /// Whether it gets new requests if it is up.
    pub admitted: bool,
    /// Whether the provider finds it up; `None` where the provider does not look.
    pub up: Option<bool>,
    /// Requests or sessions that it has now; `None` where the provider can't tell.
    pub in_flight: Option<u64>,
}

impl BalancerState {
    /// Members that get new requests now.
    pub fn serving(&self) -> BTreeSet<&Name> {
        let serves = |member: &Member| member.admitted && member.weight > 0 && member.up != Some(false);
        self.members.iter().filter(|(_, member)| serves(member)).map(|(name, _)| name).collect()
    }
}
