//! What every part of a server has at hand.

use std::{path::PathBuf, sync::Arc};

use staith_model::Digest;
use tokio_util::sync::CancellationToken;

use crate::{
    api::Who,
    bells::Bells,
    clock::Clock,
    counts::Counts,
    layers::Shelf,
    limits::Limits,
    packages::Shelves,
    queue::Room,
    releases::Door,
    secrets::Vault,
    source_transfer::SourceSupply,
    store::{Store, StoreError},
    streams::{Caps, Desk},
    targets::Relay,
    triggers::Surroundings,
};

/// A server's parts, as handlers and loops see them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Site {
    /// What is kept.
    pub store: Arc<dyn Store>,
    /// The directory of the server: its database, its streams, its packages.
    pub data: PathBuf,
    /// What others reach the server by: `https://ci.example.net`, without a `/` at its end.
    pub public_url: Arc<str>,
    /// What time it is.
    pub clock: Clock,
    /// Who is told that something changed.
    pub bells: Bells,
    /// What triggers need of the world outside: who reads repositories, and how forges are spoken to.
    pub triggers: Surroundings,
    /// What the queue knows and does not keep.
    pub queue: Arc<Room>,
    /// Takes the bytes of attempts.
    pub streams: Desk,
    /// Gives sources to attempts; none where nobody can read repositories.
    pub sources: Option<Arc<dyn SourceSupply>>,
    /// What steps left, for other runners.
    pub layers: Shelf,
    /// The projects' packages.
    pub packages: Shelves,
    /// What stands between the network and the handlers.
    pub guard: Arc<Guard>,
    /// What seals secrets.
    pub vault: Vault,
    /// By what the process that deploys is known.
    pub deployer: Door,
    /// What the deployer and machines that pull say to each other.
    pub relay: Relay,
    /// Cancelled when the server stops. What waits for something to happen (a long poll, a stream of events) answers then at once.
    pub stop: CancellationToken,
}

/// What stands between the network and the handlers.
#[derive(Debug, Default)]
pub struct Guard {
    /// How often somebody may ask.
    pub limits: Limits,
    /// What was asked.
    pub counts: Counts,
    /// Room for bodies whose sender is not proven yet.
    pub unproven: crate::limits::Memory,
}

impl Site {
    /// A server's parts with a store; what else there is, is as on a machine that nobody has said anything about.
    pub fn new(store: Arc<dyn Store>, data: PathBuf, clock: Clock) -> Self {
        let bells = Bells::default();
        let streams = Desk::new(Arc::clone(&store), &data, bells.streams.clone(), Caps::default());
        let (packages, layers) = (Shelves::below(&data), Shelf::below(&data));
        Self {
            store,
            data,
            clock,
            public_url: "http://127.0.0.1:8765".into(),
            bells,
            triggers: Surroundings::default(),
            queue: Arc::default(),
            streams,
            sources: None,
            layers,
            packages,
            guard: Arc::default(),
            vault: Vault::default(),
            deployer: Door::default(),
            relay: Relay::default(),
            stop: CancellationToken::new(),
        }
    }
    /// Who has this token.
    ///
    /// # Errors
    /// The store fails.
    pub async fn who_has(&self, token: &str) -> Result<Who, StoreError> {
        let digest = Digest::of(token.as_bytes());
        if self.deployer.is_for(&digest) {
            return Ok(Who::Deployer);
        }
        let who = self.store.who_has(&digest, self.clock.unix_millis()).await?;
        Ok(who.unwrap_or(Who::Nobody))
    }
}
