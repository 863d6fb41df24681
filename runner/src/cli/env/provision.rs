//! `staith env provision` and `staith env destroy`.

use std::path::PathBuf;

use clap::Args;
use staith_model::{Digest, Exit, Name};

use crate::{
    fleet::{Asked, Done, Site, Wish, provision},
    home::Home,
    interrupt,
    output::{OutputMode, Problem},
};

/// Make the machines of an environment: plan, wait for what protects it, apply exactly that plan
///
/// `staith release deploy` does the same first where the machines are not there as runner.toml describes them. Whatever was begun and
/// not finished is looked at and gone on with. Ctrl-C asks the tool for an end; a second one ends it.
#[derive(Debug, Args)]
pub(crate) struct Provision {
    #[command(flatten)]
    how: How,
}

/// Take down the machines of an environment, all that was made for it
#[derive(Debug, Args)]
pub(crate) struct Destroy {
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct How {
    /// The environment
    environment: Name,
    /// The project's directory, with runner.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    project_dir: PathBuf,
    /// Only if this is still the plan
    #[arg(long, value_name = "DIGEST")]
    plan: Option<Digest>,
    /// Show the plan and stop; the next command carries out this one, as long as nothing changes
    #[arg(long)]
    plan_only: bool,
    /// Why; goes into the ledger
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Do not wait for people: end with 41 while approvals are missing; the same command goes on
    #[arg(long)]
    no_wait: bool,
}

impl Provision {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        self.how.obey(Wish::There, mode).await
    }
}

impl Destroy {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        self.how.obey(Wish::Gone, mode).await
    }
}

impl How {
    async fn obey(self, wish: Wish, mode: OutputMode) -> Result<Exit, Problem> {
        let stop = interrupt::listen()?;
        let site = Site::open(&Home::find()?, &self.project_dir, &self.environment)?;
        let word = match wish {
            Wish::There => "provision",
            Wish::Gone => "destroy",
        };
        let again = format!("staith env {word} {}", self.environment);
        let asked = Asked {
            again: &again,
            reason: &self.reason,
            expected: self.plan,
            waits: !self.no_wait,
            only_shows: self.plan_only,
        };
        Ok(match provision(&site, wish, &asked, &stop, mode).await? {
            Done::Stopped(exit) => exit,
            Done::Site(_) | Done::Nothing => Exit::Passed,
        })
    }
}
