//! By what the process that deploys is known.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use staith_model::Digest;

use crate::{
    api::Problem,
    tokens::{Kind, Word},
};

/// Opens to one process at a time: the one that was started last. Its token is kept nowhere; whoever starts the process gives it.
#[derive(Clone, Default)]
pub struct Door(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    token: Option<Digest>,
    seen: Option<Duration>,
}

/// A deployer that was not heard of for so long is not waited for. It asks more often than that.
const GONE: Duration = Duration::from_secs(15);

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Door")
    }
}

impl Door {
    /// A token for a process that is about to be started. All earlier ones count for nothing.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn let_in(&self) -> Result<String, Problem> {
        let word = Word::new(Kind::Deployer)?;
        *self.known() = Known { token: Some(word.digest()), seen: None };
        Ok(word.tell())
    }

    /// Whether this is the digest of its token.
    pub(crate) fn is_for(&self, token: &Digest) -> bool {
        self.known().token.as_ref() == Some(token)
    }

    /// It asked, at this time of the steady clock.
    pub(super) fn heard(&self, now: Duration) {
        self.known().seen = Some(now);
    }

    /// Whether somebody is there who will answer soon.
    pub(super) fn is_there(&self, now: Duration) -> bool {
        self.known().seen.is_some_and(|seen| now.saturating_sub(seen) < GONE)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
