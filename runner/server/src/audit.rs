//! The audit log for people. Nothing of it can be changed here or anywhere: entries are added by the changes themselves, in their own
//! transactions.

use axum::{
    Router,
    extract::{Query, State},
    routing::get,
};
use serde::Deserialize;

use crate::{
    api::{Answer, Caller, Permission, Problem, Scope},
    site::Site,
    store::AuditEntry,
};

/// The most entries of an answer.
const MOST: u32 = 1000;

/// The routes of the audit log.
pub fn routes() -> Router<Site> {
    Router::new().route("/api/v1/audit", get(list))
}

/// Which part of the log.
#[derive(Debug, Deserialize)]
struct Part {
    /// Entries after this one.
    #[serde(default)]
    after: u64,
    /// So many at most.
    limit: Option<u32>,
}

async fn list(
    State(site): State<Site>,
    caller: Caller,
    Query(part): Query<Part>,
) -> Result<Answer<Vec<AuditEntry>>, Problem> {
    caller.must(Permission::Administer, Scope::Server)?;
    let most = part.limit.unwrap_or(100).clamp(1, MOST);
    Ok(Answer(site.store.audit(part.after, most).await?))
}
