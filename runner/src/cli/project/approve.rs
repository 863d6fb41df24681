//! `staith project approve`.

use clap::Args;
use staith_model::{Digest, Exit, Name, service::ApprovalAsked};

use crate::{
    client::people::Server,
    output::{OutputMode, Problem},
};

/// Agree that a fork's request is run with the pipeline file that it brings
///
/// The agreement is to exactly this commit with exactly this file; whatever is pushed afterwards needs another one. Such a run
/// gets no secrets all the same.
#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// The project
    project: Name,
    /// The request's number at the forge
    #[arg(long, value_name = "NUMBER")]
    pull_request: u64,
    /// The commit that you have looked at
    #[arg(long, value_name = "COMMIT")]
    head: String,
    /// The digest of the pipeline file that you have looked at
    #[arg(long, value_name = "DIGEST")]
    pipeline: Digest,
}

impl Approve {
    pub(super) async fn obey(self, server: &Server, mode: OutputMode) -> Result<Exit, Problem> {
        let asked = ApprovalAsked { number: self.pull_request, head: self.head, pipeline: self.pipeline };
        let path = format!("/api/v1/projects/{}/approvals", self.project);
        let told: serde_json::Value = server.open()?.post(&path, &asked).await?;
        crate::output::document(told.to_string().as_bytes(), mode.is_json())
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
