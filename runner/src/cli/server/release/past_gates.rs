//! `staith server release override`.

use clap::Args;
use staith_model::{Digest, Exit, Name, service::OverrideAsked};

use super::{There, vote::waiting};
use crate::output::{self, OutputMode, Problem};

/// Let the deployment that waits go on in spite of what protects the environment; recorded with its reason
///
/// Administrators may, for exactly the plan that waits. Where people have to agree, it is not for who asked for the deployment, unless
/// the protection says that the requester may. Nobody goes past a rejection, nor past whose code may be deployed there.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The environment
    environment: Name,
    /// Why; goes into the ledger and the audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only a freeze is overridden; all else still has to hold
    #[arg(long)]
    freeze: bool,
    /// Only if the plan is this one
    #[arg(long, value_name = "DIGEST")]
    plan: Option<Digest>,
}

impl Arguments {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        if !self.reason.chars().any(char::is_alphanumeric) {
            return Err(Problem::new(Exit::Usage, "going past a gate needs a reason, in words"));
        }
        let plan = match self.plan {
            Some(plan) => plan,
            None => waiting(there, &self.environment).await?,
        };
        let asked = OverrideAsked { plan, reason: self.reason, freeze_only: self.freeze };
        let answer = there.order(&self.environment, "overrides", &asked).await?;
        output::server_order(&answer, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
