//! Who waits for a change is woken by it. A bell says that there may be something; what there is, the store says: whoever wakes
//! looks, and whoever missed a ring finds it when they look the next time.

use std::sync::Arc;

use tokio::sync::watch;

/// One bell. Rings are counted, so that one which comes between a look and the waiting after it is not missed.
#[derive(Debug, Clone)]
pub struct Bell(Arc<watch::Sender<u64>>);

impl Bell {
    /// Tells everybody who listens.
    pub fn ring(&self) {
        self.0.send_modify(|rings| *rings = rings.wrapping_add(1));
    }

    /// Begins to listen: rings from now on are heard. Listen before you look.
    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

/// Somebody who hears a bell.
#[derive(Debug)]
pub struct Listener(watch::Receiver<u64>);

impl Listener {
    /// Waits for a ring since the last one that was heard, or since [`Bell::listen`]. Cancel-safe. Never returns once the bell is gone.
    pub async fn heard(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The bells of a server.
#[derive(Debug, Clone, Default)]
pub struct Bells {
    /// There may be a job to claim, or one ended.
    pub jobs: Bell,
    /// A stream of an attempt grew or was closed.
    pub streams: Bell,
    /// Something happened at a repository and waits to be looked into.
    pub arrivals: Bell,
    /// Something waits to be sent to a forge.
    pub outbox: Bell,
    /// The deployer is to do something, or what protects an environment changed.
    pub orders: Bell,
    /// The deployer said something.
    pub deployments: Bell,
}
