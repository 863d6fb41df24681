//! What people want of a deployment that is under way: `staith server release abort`, `pause`, `resume`, `retry`, `skip` and
//! `accept`.

use clap::Args;
use staith_model::{Ask, Exit, Name, service::WishAsked};

use super::There;
use crate::output::{self, OutputMode, Problem};

/// Stop the deployment that is under way, and take back what is visible
#[derive(Debug, Args)]
pub(super) struct Abort {
    /// The environment
    environment: Name,
    /// Why; goes into the ledger
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// Let the deployment that is under way stand still: what is begun is finished, nothing new is begun
#[derive(Debug, Args)]
pub(super) struct Pause {
    /// The environment
    environment: Name,
}

/// Go on with a deployment that was paused
#[derive(Debug, Args)]
pub(super) struct Resume {
    /// The environment
    environment: Name,
}

/// Try again what failed in a deployment, and only that
#[derive(Debug, Args)]
pub(super) struct Retry {
    /// The environment
    environment: Name,
}

/// Go on without a machine; it stays as it is
#[derive(Debug, Args)]
pub(super) struct Skip {
    /// The environment
    environment: Name,
    /// The machine
    target: Name,
}

/// Take what is there as the end of a deployment that waits for a decision
#[derive(Debug, Args)]
pub(super) struct Accept {
    /// The environment
    environment: Name,
}

impl Abort {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        asked(there, &self.environment, Ask::Abort { reason: self.reason }, mode).await
    }
}

impl Pause {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        asked(there, &self.environment, Ask::Pause, mode).await
    }
}

impl Resume {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        asked(there, &self.environment, Ask::Resume, mode).await
    }
}

impl Retry {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        asked(there, &self.environment, Ask::Retry, mode).await
    }
}

impl Skip {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        asked(there, &self.environment, Ask::Skip { target: self.target }, mode).await
    }
}

impl Accept {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        asked(there, &self.environment, Ask::Accept, mode).await
    }
}

async fn asked(there: &There, environment: &Name, ask: Ask, mode: OutputMode) -> Result<Exit, Problem> {
    let answer = there.order(environment, "asks", &WishAsked { ask }).await?;
    output::server_order(&answer, mode).map_err(|lost| Problem::unwritable(&lost))?;
    Ok(Exit::Passed)
}
