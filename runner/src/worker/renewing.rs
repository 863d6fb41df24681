//! Keeping the lease.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use staith_model::{
    Secret,
    service::{RenewAsked, Renewed, Wanted},
};
use tokio::{sync::watch, time::sleep};

use super::{
    boot,
    job::{CancelWanted, Job},
    lease::{Lease, Standing},
};
use crate::client::{Ask, Client, Patience, Refused};

/// A failed question is repeated soon: a lease has room for few.
const AGAIN_AT_MOST: Duration = Duration::from_secs(1);

/// The lease of one attempt, for all who act for it.
pub(super) struct Leasehold {
    lease: Mutex<Lease>,
    job: Job,
    /// Changes whenever the lease or what the server wants has.
    changed: watch::Sender<()>,
}

impl Leasehold {
    pub(super) fn new(job: Job, lease: Lease) -> Self {
        Self { lease: Mutex::new(lease), job, changed: watch::Sender::new(()) }
    }

    /// How the attempt stands now.
    pub(super) fn standing(&self) -> Standing {
        self.lease().standing(boot::millis())
    }

    fn lease(&self) -> Lease {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Lease)) {
        let lease = {
            let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut lease);
            *lease
        };
        if let Err(refused) = self.job.keep_lease(lease) {
            tracing::warn!(%refused, "a lease could not be written down");
        }
        self.changed.send_replace(());
    }

    /// Takes the server's word that this attempt does not count.
    pub(super) fn lost(&self) {
        self.change(Lease::lost);
    }

    /// Returns when what the attempt does counts. Cancel-safe.
    pub(super) async fn until_valid(&self) {
        let mut changes = self.changed.subscribe();
        while self.standing() != Standing::Valid {
            // The sender lives as long as this.
            let _ = changes.changed().await;
        }
    }

    /// Returns when what the attempt does counts no more, for now or for good. Cancel-safe.
    pub(super) async fn until_not_valid(&self) {
        while self.standing() == Standing::Valid {
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Returns when the keeper is to be ended, with why. Cancel-safe.
    pub(super) async fn until_unwanted(&self) -> Unwanted {
        loop {
            match self.standing() {
                Standing::Lost => return Unwanted::Lost,
                Standing::Over => return Unwanted::Over,
                _ if self.job.wanted().is_some() => return Unwanted::Cancelled,
                _ => {}
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Renews the lease until the server says that the attempt does not count, and gives what it says. Cancel-safe.
    pub(super) async fn keep(&self, client: &Client, token: &Secret, attempt: &str, fence: u64) -> Refused {
        let path = format!("/api/v1/attempts/{attempt}/renew");
        let mut patience = Patience::default();
        // At once: an answer that waited for a job has used some of the lease, and so has a runner that was not there.
        loop {
            let within = Duration::from_millis(self.lease().question());
            let ask = Ask::post(path.as_str(), &RenewAsked { fence }).with(token).within(within);
            let sent = boot::millis();
            let wait = match client.value::<Renewed>(&ask).await {
                Ok(renewed) => {
                    patience.worked();
                    if let Wanted::Cancel { why } = renewed.wanted
                        && let Err(refused) = self.job.want_end(&CancelWanted { why })
                    {
                        tracing::warn!(%refused, "what the server wants could not be written down");
                    }
                    self.change(|lease| lease.renewed(sent, renewed.lease_millis));
                    Duration::from_millis(self.lease().renew_at().saturating_sub(boot::millis()))
                }
                Err(refused) if counts_no_more(&refused) => return refused,
                Err(refused) => {
                    tracing::info!(%refused, "a lease could not be renewed");
                    patience.failed().min(AGAIN_AT_MOST)
                }
            };
            sleep(wait).await;
        }
    }
}

/// Why a keeper is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unwanted {
    Cancelled,
    Over,
    Lost,
}

/// Whether the server itself says that the attempt is not one that counts: it has ended, another one counts, or its token is worth
/// nothing any more. What somebody on the way says is no word of the server's.
pub(super) fn counts_no_more(refused: &Refused) -> bool {
    refused.is("stale-fence") || matches!(refused.status(), Some(401 | 403 | 404 | 410))
}

#[cfg(test)]
mod tests {
    use staith_model::service::ProblemDetails;

    use super::*;

    #[test]
    fn only_the_server_ends_an_attempt() {
        let said = |status, kind: &str| {
            let (kind, title) = (kind.to_owned(), "no".to_owned());
            Refused::Said(ProblemDetails { kind, title, status, detail: None, remedy: None, next: None })
        };
        for (refused, ends) in [
            (said(409, "stale-fence"), true),
            (said(404, "unknown"), true),
            (said(401, "unauthorised"), true),
            (said(409, "conflict"), false),
            (said(503, "disk-full"), false),
            (said(429, "too-many"), false),
            (Refused::Away { server: "s".into(), why: "w".into() }, false),
            (Refused::Strange { server: "s".into(), why: "a page with 404".into() }, false),
        ] {
            assert_eq!(counts_no_more(&refused), ends, "{refused:?}");
        }
    }
}
