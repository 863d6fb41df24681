//! What is answered when something can't be done.

use serde::{Deserialize, Serialize};

/// The body of every answer that is no success, as RFC 9457 has it (`application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemDetails {
    /// What kind of problem it is, for programs: a word that never changes its meaning, like `stale-fence`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is wrong, in a sentence.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Where a stream of bytes goes on; with `wrong-offset` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}
