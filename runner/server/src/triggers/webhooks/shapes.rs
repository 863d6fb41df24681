//! What webhooks of several forges share.

use serde::{Deserialize, de::DeserializeOwned};
use staith_model::service::Happening;

use super::super::hook::{commit, is_name, moved};

/// A push to a branch or a tag. `after` is nothing but zeros if that is gone.
#[derive(Debug, Deserialize)]
pub(super) struct Push {
    #[serde(rename = "ref")]
    pub(super) reference: String,
    pub(super) before: String,
    pub(super) after: String,
}

impl Push {
    pub(super) fn happening(&self) -> Result<Happening, String> {
        moved(&self.reference, Some(&self.before), &self.after)
    }
}

/// A request to merge, as GitHub and its like tell of it.
#[derive(Debug, Deserialize)]
pub(super) struct PullRequestEvent {
    pub(super) action: String,
    pub(super) number: u64,
    pub(super) pull_request: PullRequest,
}

#[derive(Debug, Deserialize)]
pub(super) struct PullRequest {
    pub(super) user: User,
    pub(super) head: End,
    pub(super) base: End,
}

#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) id: u64,
}

/// One side of a request.
#[derive(Debug, Deserialize)]
pub(super) struct End {
    #[serde(rename = "ref")]
    pub(super) branch: String,
    pub(super) sha: String,
    /// None where a fork was removed.
    #[serde(default)]
    pub(super) repo: Option<Repository>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Repository {
    pub(super) id: u64,
}

impl PullRequestEvent {
    /// The request, with the reference under which the forge has its head.
    pub(super) fn happening(self) -> Result<Happening, String> {
        let PullRequest { user, head, base } = self.pull_request;
        // A repository that is not there any more was another one.
        let fork = match (&head.repo, &base.repo) {
            (Some(head), Some(base)) => head.id != base.id,
            _ => true,
        };
        Ok(Happening::PullRequest {
            number: self.number,
            branch: name(head.branch)?,
            head: commit(&head.sha)?,
            target: name(base.branch)?,
            fork,
            author: user.id,
            reference: Some(format!("refs/pull/{}/head", self.number)),
        })
    }
}

/// A branch's name, which becomes part of references.
pub(super) fn name(text: String) -> Result<String, String> {
    if is_name(&text) { Ok(text) } else { Err(format!("`{}` is no branch", text.escape_debug())) }
}

/// # Errors
/// What is wrong with it, in words.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|bad| format!("line {}, column {}: {bad}", bad.line(), bad.column()))
}

/// Something that starts nothing.
pub(super) fn other(event: &str, action: &str) -> Happening {
    let event = if action.is_empty() { event.to_owned() } else { format!("{event} ({action})") };
    Happening::Other { event: event.chars().filter(|c| !c.is_control()).take(100).collect() }
}
