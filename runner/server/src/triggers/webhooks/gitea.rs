//! What Gitea and Forgejo tell.

use staith_model::service::Happening;

use super::shapes::{PullRequestEvent, Push, json, other};

pub(super) fn understood(event: &str, body: &[u8]) -> Result<Happening, String> {
    match event {
        "push" => json::<Push>(body)?.happening(),
        // Versions differ in what they call new commits.
        "pull_request" | "pull_request_sync" => {
            let told: PullRequestEvent = json(body)?;
            match told.action.as_str() {
                "closed" => Ok(Happening::PullRequestClosed { number: told.number }),
                "opened" | "reopened" | "synchronized" | "synchronize" | "edited" => told.happening(),
                action => Ok(other(event, action)),
            }
        }
        _ => Ok(other(event, "")),
    }
}
