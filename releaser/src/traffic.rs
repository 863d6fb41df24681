//! The seam to whoever decides which pool gets requests, and the built-in proxy.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use async_trait::async_trait;
use staith_model::{Blame, Release};

use crate::{health::Health, host::Done, keeper::Pool};

mod built_in;

pub use built_in::BuiltInProxy;
pub(crate) use built_in::dialable;

/// Whoever decides which pool gets requests.
///
/// Requests are taken away from a pool by giving them to another, so that none finds no server. The one exception is
/// [`Traffic::abandon`], for a release that nothing served before.
///
/// **Ensure, not do**, **cancel-safe** and **fenced** as [`Host`](crate::host::Host) is.
#[async_trait]
pub trait Traffic: Send + Sync {
    /// Who gets requests now. Reads only, and works when nothing runs: then nobody does.
    ///
    /// # Errors
    /// It can't be told. An answer is never guessed.
    async fn observe(&self) -> Result<TrafficState, TrafficError>;

    /// Sends every request that begins from now on to a pool; those in flight stay where they are. When it returns, the
    /// decision is durable and no request that begins afterwards goes elsewhere.
    ///
    /// # Errors
    /// The pool does not accept connections, the epoch is too low, or contact was lost.
    async fn switch(&self, epoch: u64, to: Pool) -> Result<Done, TrafficError>;

    /// Takes the requests away from a pool and gives them to none, as it was before the first release ever. Only for a
    /// first release that turned out not to work. Nothing happens when the pool gets no requests.
    ///
    /// # Errors
    /// The epoch is too low, or contact was lost.
    async fn abandon(&self, epoch: u64, pool: Pool) -> Result<Done, TrafficError>;

    /// Waits until a pool that gets no new requests has answered the ones it has, for `deadline` at most. Returns how
    /// many are left; they are not cut.
    ///
    /// # Errors
    /// The pool still gets requests, the epoch is too low, or contact was lost.
    async fn drain(&self, epoch: u64, pool: Pool, deadline: Duration) -> Result<u64, TrafficError>;

    /// Asks the release how it is, as a client does: through the front door.
    ///
    /// # Errors
    /// There is no front door. A release that does not answer is an answer, not an error.
    async fn verify(&self, release: &Release) -> Result<Health, TrafficError>;
}

/// Who gets requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrafficState {
    /// The pool that gets requests; `None` until the first switch.
    pub active: Option<Pool>,
    /// Where clients ask; `None` if nobody listens.
    pub listen: Option<SocketAddr>,
    /// Requests that each pool is answering now.
    pub in_flight: BTreeMap<Pool, u64>,
}

/// Why requests could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// Another deployment has taken over.
    #[error("another deployment has taken over this environment: {why}")]
    Fenced {
        /// What the proxy said.
        why: String,
    },
    /// Contact was lost; what was asked may or may not have been done.
    #[error("lost contact with whoever sends requests while it was to {what}: {why}")]
    Lost {
        /// What it was asked.
        what: &'static str,
        /// How contact was lost.
        why: String,
    },
    /// It was not done.
    #[error("whoever sends requests can't {what}: {why}")]
    Refused {
        /// What it was asked.
        what: &'static str,
        /// Why not.
        why: String,
    },
}

impl TrafficError {
    /// Whether looking again and asking again may help.
    pub const fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }

    /// Whose fault it is.
    pub const fn blame(&self) -> Blame {
        Blame::Environment
    }

    /// What to do about it.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Fenced { .. } => Some("look at the environment's status before deploying again".into()),
            Self::Lost { .. } => Some("deploy again: it looks at what is there and goes on".into()),
            Self::Refused { .. } => None,
        }
    }
}
