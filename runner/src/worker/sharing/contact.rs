//! When the server was last heard of, so that the end of a job does not wait for one that is away.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::sleep;

/// How long nothing may be heard before it is not waited any longer: longer than a piece takes, shorter than a lease.
const QUIET: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
enum Standing {
    /// It was heard of then.
    Heard(Instant),
    /// Nothing is asked: a layer is being packed.
    AtWork,
    /// It did not answer.
    Away,
}

/// When the server was last heard of.
#[derive(Debug)]
pub(super) struct Contact(Mutex<Standing>);

impl Contact {
    /// As if it were heard of now.
    pub(super) fn begin() -> Self {
        Self(Mutex::new(Standing::Heard(Instant::now())))
    }

    /// It has answered, whatever it said.
    pub(super) fn heard(&self) {
        self.set(Standing::Heard(Instant::now()));
    }

    /// Something is done here before it is asked again.
    pub(super) fn at_work(&self) {
        self.set(Standing::AtWork);
    }

    /// It did not answer.
    pub(super) fn lost(&self) {
        self.set(Standing::Away);
    }

    /// Waits until the server has not been heard of for some time. Cancel-safe.
    pub(super) async fn quiet(&self) {
        loop {
            let left = match self.standing() {
                Standing::AtWork => QUIET,
                Standing::Heard(at) => QUIET.saturating_sub(at.elapsed()),
                Standing::Away => return,
            };
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }

    fn standing(&self) -> Standing {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, standing: Standing) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_is_away_is_not_waited_for_and_one_that_answers_is() {
        let contact = Contact::begin();
        let short = Duration::from_millis(1);
        assert!(tokio::time::timeout(short, contact.quiet()).await.is_err());
        contact.at_work();
        assert!(tokio::time::timeout(short, contact.quiet()).await.is_err());
        contact.lost();
        contact.quiet().await;
        contact.set(Standing::Heard(Instant::now() - QUIET));
        contact.quiet().await;
        contact.heard();
        assert!(tokio::time::timeout(short, contact.quiet()).await.is_err());
    }
}
