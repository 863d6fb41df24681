//! The audit log for people. Nothing of it can be changed here or anywhere: entries are added by the changes themselves, in their own
//! transactions.

use axum::{Router, extract::State, routing::get};
use serde::{Deserialize, Serialize};

use crate::{
    api::{Answer, Asked, Caller, Part, Permission, Problem, Scope},
    site::Site,
    store::{AuditEntry, page},
};

/// How many entries an answer has, if nothing is said, and at most.
const USUAL: u32 = 100;
const MOST: u32 = 1000;

/// The routes of the audit log.
pub fn routes() -> Router<Site> {
    Router::new().route("/api/v1/audit", get(list))
}

/// `GET /api/v1/audit`: the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// At most as many as were asked for.
    pub entries: Vec<AuditEntry>,
    /// What to send as `after` for the next ones; none if there are no more yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

async fn list(
    State(site): State<Site>,
    caller: Caller,
    Asked(part): Asked<Part<u64>>,
) -> Result<Answer<AuditPage>, Problem> {
    caller.must(Permission::Administer, Scope::Server)?;
    let most = part.most_of(USUAL, MOST);
    let rest = site.store.audit(part.after.unwrap_or(0), most + 1).await?;
    let (entries, next) = page::cut(rest, most, |entry| entry.seq);
    Ok(Answer(AuditPage { entries, next }))
}
