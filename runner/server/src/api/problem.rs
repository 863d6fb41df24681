//! What is answered when something can't be done.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use staith_model::service::ProblemDetails;

use crate::store::StoreError;

/// An answer that is no success. Says what, why and what to do, and never what the caller may not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(ProblemDetails);

impl Problem {
    /// A problem of a kind (a word for programs that never changes its meaning).
    pub fn new(status: u16, kind: &str, title: impl Into<String>) -> Self {
        Self(ProblemDetails {
            kind: kind.to_owned(),
            title: title.into(),
            status,
            detail: None,
            remedy: None,
            next: None,
        })
    }

    /// Adds why.
    #[must_use]
    pub fn with_why(mut self, why: impl Into<String>) -> Self {
        self.0.detail = Some(why.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Adds where a stream goes on.
    #[must_use]
    pub fn with_next(mut self, next: u64) -> Self {
        self.0.next = Some(next);
        self
    }

    /// What is told.
    pub fn details(&self) -> &ProblemDetails {
        &self.0
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let kind = [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
        (status, kind, body).into_response()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            StoreError::Unknown { .. } => Self::new(404, "unknown", text),
            StoreError::Conflict(_) => Self::new(409, "conflict", text),
            StoreError::StaleFence { .. } => Self::new(409, "stale-fence", text)
                .with_remedy("stop: another attempt counts, and nothing of this one is taken any more"),
            StoreError::Full => Self::new(503, "disk-full", text)
                .with_why("nothing was changed")
                .with_remedy("make room on the server's disk; what was refused can be asked again"),
            StoreError::Damaged { .. } => Self::new(500, "damaged", text).with_remedy(
                "the row was left alone, and the rest works; `staith server check` tells all of them",
            ),
            StoreError::InUse(_) | StoreError::TooNew { .. } | StoreError::Failed(_) => {
                // What the database says may hold data of others; it is in the server's own log.
                tracing::error!(error = text, "the store failed");
                Self::new(500, "store-failed", "the server can't reach its database")
            }
        }
    }
}
