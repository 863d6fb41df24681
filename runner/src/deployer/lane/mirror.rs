//! The server is told what the ledger says.

use std::sync::Arc;

use staith_model::service::{LedgerEntry, LedgerPart};

use super::Lane;
use crate::client::Patience;

/// The most entries that are told at once. A plan for a thousand machines is a megabyte.
const AT_ONCE: usize = 20;

/// Tells the server all that is appended, for as long as the process lives.
pub(super) async fn tell(lane: Arc<Lane>) {
    let log = lane.office.log(&lane.project, &lane.environment);
    let (mut had, mut patience) = (None, Patience::default());
    loop {
        let entries = match (had, log.since(had.unwrap_or_default())) {
            // First of all, how much of it the server has.
            (None, _) => Vec::new(),
            (Some(_), Ok(entries)) => entries,
            (Some(_), Err(error)) => {
                tracing::error!(%error, "a ledger can't be read");
                tokio::time::sleep(patience.failed()).await;
                continue;
            }
        };
        if let (Some(position), true) = (had, entries.is_empty()) {
            log.changed(position).await;
            continue;
        }
        let entry = |one: staith_releaser::fleet::drive::Stamped| LedgerEntry {
            position: one.position,
            at: one.at,
            event: one.event,
        };
        let part = LedgerPart {
            project: lane.project.clone(),
            environment: lane.environment.clone(),
            entries: entries.into_iter().take(AT_ONCE).map(entry).collect(),
        };
        match lane.office.desk.mirror(&part).await {
            Ok(told) => {
                (had, patience) = (Some(told.position), Patience::default());
                lane.told.send_replace(told.position);
            }
            Err(refused) => {
                tracing::warn!(%refused, "the server was not told what a ledger says");
                // It may have another part of it than this process thought.
                had = None;
                tokio::time::sleep(patience.failed()).await;
            }
        }
    }
}
