//! What GitHub tells.

use staith_model::service::Happening;

use super::shapes::{PullRequestEvent, Push, json, other};

/// Actions after which there is something new to build.
const NEW: [&str; 4] = ["opened", "reopened", "synchronize", "ready_for_review"];

pub(super) fn understood(event: &str, body: &[u8]) -> Result<Happening, String> {
    match event {
        "push" => json::<Push>(body)?.happening(),
        "pull_request" => {
            let told: PullRequestEvent = json(body)?;
            match told.action.as_str() {
                "closed" => Ok(Happening::PullRequestClosed { number: told.number }),
                action if NEW.contains(&action) => told.happening(),
                // The branch that it asks to go to may be another one now.
                "edited" => told.happening(),
                action => Ok(other(event, action)),
            }
        }
        _ => Ok(other(event, "")),
    }
}
