//! Which runner gets which job, and what becomes of it. A map, in reading order:
//!
//! 1. `choice`, `needs`, `unmet`: the decisions, in pure code. The store makes them with what it finds, in one transaction each.
//! 2. [`leases`]: how long an attempt counts without being heard of. In memory, by the steady clock.
//! 3. `claims`: a runner gets a job. `attempts`: it renews and finishes. `runs`: people cancel and retry.
//! 4. `watch`: the loop that ends leases. `tokens`: what attempts prove themselves by.
//!
//! What is safe here does not hang on leases: each effect of an attempt is checked against its fence in the transaction that has the
//! effect. Leases only decide when to stop waiting.

pub mod attempts;
pub mod choice;
pub mod claims;
pub mod leases;
pub mod needs;
mod routes;
pub mod runs;
pub mod tokens;
pub mod unmet;
mod watch;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Semaphore;

use self::{leases::Leases, tokens::TokenKey};
pub use self::{
    routes::routes,
    watch::{run, tick},
};
use crate::api::Problem;

/// How many runners of a kind look for a job at once when there may be one; the others wait behind them. With one, the store's commits
/// would follow each other; with all, each job would be looked for by five hundred.
const AT_THE_DOOR: usize = 4;

/// What the queue knows and does not keep.
#[derive(Debug, Default)]
pub struct Room {
    leases: Mutex<Leases>,
    doors: Mutex<HashMap<String, Arc<Semaphore>>>,
    key: Mutex<Option<TokenKey>>,
    swept: Mutex<Option<Duration>>,
}

impl Room {
    /// The leases. Held for moments only, never while something is waited for.
    pub fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where runners that could take the same jobs wait for their turn to look.
    fn door(&self, kind: &str) -> Arc<Semaphore> {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(door) = doors.get(kind) {
            return Arc::clone(door);
        }
        // Kinds that nobody waits for any more are forgotten: labels of runners change.
        doors.retain(|_, door| Arc::strong_count(door) > 1);
        Arc::clone(doors.entry(kind.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(AT_THE_DOOR))))
    }

    fn key(&self, data: &Path) -> Result<TokenKey, Problem> {
        let mut known = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = known.as_ref() {
            return Ok(key.clone());
        }
        let key = TokenKey::of(data).map_err(|refused| {
            tracing::error!(%refused, "there is no key for the tokens of attempts");
            Problem::new(500, "no-key", "the server has no key for the tokens of attempts")
                .with_why("its file can't be read or made; the server's log says more")
        })?;
        Ok(known.insert(key).clone())
    }
}
