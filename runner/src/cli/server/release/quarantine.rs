//! `staith server release quarantine` and `staith server release reinstate`.

use clap::Args;
use staith_model::{Exit, Name, service::QuarantineAsked};

use super::There;
use crate::output::{self, OutputMode, Problem};

/// Take a machine out of deployments: plans leave it alone and give it no requests, until it is reinstated
///
/// It is written into the environment's ledger, with who and why. What it serves now it goes on serving: the next deployment takes it out
/// of traffic. `staith server release status` shows which machines are out.
#[derive(Debug, Args)]
pub(super) struct Quarantine {
    #[command(flatten)]
    machine: Machine,
    /// Why; goes into the ledger
    #[arg(long, value_name = "TEXT", required = true)]
    reason: String,
}

/// Put a machine back into deployments; the next one brings it what it has missed
#[derive(Debug, Args)]
pub(super) struct Reinstate {
    #[command(flatten)]
    machine: Machine,
    /// Why; goes into the ledger
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// A machine of an environment.
#[derive(Debug, Args)]
struct Machine {
    /// The environment
    environment: Name,
    /// The machine, as plans call it
    #[arg(value_name = "MACHINE")]
    target: Name,
}

impl Quarantine {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        self.machine.order(there, true, self.reason, mode).await
    }
}

impl Reinstate {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        self.machine.order(there, false, self.reason, mode).await
    }
}

impl Machine {
    async fn order(
        self,
        there: &There,
        out: bool,
        reason: String,
        mode: OutputMode,
    ) -> Result<Exit, Problem> {
        let asked = QuarantineAsked { target: self.target, out, reason };
        let answer = there.order(&self.environment, "quarantines", &asked).await?;
        output::server_order(&answer, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
