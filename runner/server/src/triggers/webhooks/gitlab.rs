//! What GitLab tells.

use serde::Deserialize;
use staith_model::service::Happening;

use super::{
    super::hook::commit,
    shapes::{Push, json, name, other},
};

#[derive(Debug, Deserialize)]
struct MergeRequestEvent {
    object_attributes: MergeRequest,
}

#[derive(Debug, Deserialize)]
struct MergeRequest {
    iid: u64,
    /// Not there when somebody tries the webhook out.
    #[serde(default)]
    action: Option<String>,
    /// There when the branch has new commits.
    #[serde(default)]
    oldrev: Option<String>,
    author_id: u64,
    source_branch: String,
    target_branch: String,
    /// None where a fork was removed.
    #[serde(default)]
    source_project_id: Option<u64>,
    target_project_id: u64,
    last_commit: Commit,
}

#[derive(Debug, Deserialize)]
struct Commit {
    id: String,
}

pub(super) fn understood(event: &str, body: &[u8]) -> Result<Happening, String> {
    match event {
        "Push Hook" | "Tag Push Hook" => json::<Push>(body)?.happening(),
        "Merge Request Hook" => {
            let request = json::<MergeRequestEvent>(body)?.object_attributes;
            let action = request.action.clone().unwrap_or_default();
            match action.as_str() {
                "close" | "merge" => Ok(Happening::PullRequestClosed { number: request.iid }),
                "open" | "reopen" => request.happening(),
                "update" if request.oldrev.is_some() => request.happening(),
                action => Ok(other(event, action)),
            }
        }
        _ => Ok(other(event, "")),
    }
}

impl MergeRequest {
    fn happening(self) -> Result<Happening, String> {
        Ok(Happening::PullRequest {
            number: self.iid,
            branch: name(self.source_branch)?,
            head: commit(&self.last_commit.id)?,
            target: name(self.target_branch)?,
            fork: self.source_project_id != Some(self.target_project_id),
            author: self.author_id,
            reference: Some(format!("refs/merge-requests/{}/head", self.iid)),
        })
    }
}
