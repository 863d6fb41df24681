//! What approvers say of a plan for machines: `staith env approve`, `reject` and `override`.

use std::path::PathBuf;

use clap::Args;
use staith_model::{Digest, Exit, FleetEvent, Name, ProvisionEvent, ProvisionState, Provisioning};
use staith_releaser::{fleet::drive::FleetDriveError, ledger::Who};

use crate::{
    fleet::Site,
    home::Home,
    output::{self, OutputMode, Problem},
};

/// Say yes to the plan for machines that waits, and to no other
///
/// Who you are is what the system says.
#[derive(Debug, Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    of: Of,
    /// Only if this is the plan, as `staith env provision` showed it
    #[arg(long, value_name = "DIGEST")]
    plan: Option<Digest>,
    /// A word to it
    #[arg(long, value_name = "TEXT", default_value = "")]
    comment: String,
}

/// Say no to the plan for machines that waits
#[derive(Debug, Args)]
pub(crate) struct Reject {
    #[command(flatten)]
    of: Of,
    /// Why
    #[arg(long, value_name = "TEXT")]
    comment: String,
}

/// Carry out the plan for machines in spite of what protects the environment; recorded with its reason
#[derive(Debug, Args)]
pub(crate) struct Override {
    #[command(flatten)]
    of: Of,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only a freeze is overridden; all else still has to hold
    #[arg(long)]
    freeze: bool,
}

#[derive(Debug, Args)]
struct Of {
    /// The environment
    environment: Name,
    /// The project's directory, with runner.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    project_dir: PathBuf,
}

impl Approve {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let comment = self.comment;
        said(&self.of, self.plan, mode, |plan, by| ProvisionEvent::Voted {
            plan,
            by,
            approves: true,
            comment,
        })
        .await
    }
}

impl Reject {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let comment = self.comment;
        said(&self.of, None, mode, |plan, by| ProvisionEvent::Voted { plan, by, approves: false, comment })
            .await
    }
}

impl Override {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        if !self.reason.chars().any(char::is_alphanumeric) {
            return Err(Problem::new(Exit::Usage, "going past a gate needs a reason, in words"));
        }
        let (reason, freeze_only) = (self.reason, self.freeze);
        said(&self.of, None, mode, |plan, by| ProvisionEvent::Overridden { plan, by, reason, freeze_only })
            .await
    }
}

async fn said(
    of: &Of,
    expected: Option<Digest>,
    mode: OutputMode,
    event: impl FnOnce(Digest, String) -> ProvisionEvent,
) -> Result<Exit, Problem> {
    let site = Site::open(&Home::find()?, &of.project_dir, &of.environment)?;
    let log = site.log();
    let entries = log.since(0).map_err(FleetDriveError::from)?;
    let state = ProvisionState::of(entries.iter().map(|entry| (entry.at, &entry.event)));
    let waiting = state.waiting.ok_or_else(|| {
        Problem::new(Exit::Usage, format!("no plan for the machines of `{}` waits", of.environment))
            .with_remedy("`staith env provision` and `staith env destroy` make one")
    })?;
    let plan = waiting.plan.digest();
    if let Some(expected) = expected.filter(|expected| *expected != plan) {
        return Err(Problem::new(
            Exit::NeedsDecision,
            format!("the plan is not {} any more", expected.short()),
        )
        .with_why(format!("it is {plan} now"))
        .with_remedy(format!(
            "look at it with `staith env {} {} --plan-only`, and say yes to that one",
            match waiting.plan.direction {
                Provisioning::Apply => "provision",
                Provisioning::Destroy => "destroy",
            },
            of.environment
        )));
    }
    let provision = Box::new(event(plan, Who::of_this_process().user));
    log.append(FleetEvent::Provision { provision }).await.map_err(FleetDriveError::from)?;
    output::provision_asked(&of.environment, &plan, mode).map_err(|lost| Problem::unwritable(&lost))?;
    Ok(Exit::Passed)
}
