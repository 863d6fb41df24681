//! `staith server`.

mod audit;
mod backup;
mod built_in;
mod check;
mod control;
mod deployer;
mod own_address;
mod own_deployer;
mod place;
mod release;
mod runner_code;
mod runners;
mod secret;
mod start;
mod status;
mod token;
mod vault;
mod which;

use clap::{Args, Subcommand};
use staith_model::Exit;

use crate::output::{OutputMode, Problem};

/// The server: pushes become runs, runs become jobs, jobs go to runners
///
/// All that it knows is in one directory: a database, the streams of runs, packages, keys. Nothing else has to be installed or running.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Start(start::Arguments),
    Status(status::Status),
    RunnerCode(runner_code::RunnerCode),
    Runners(runners::Runners),
    #[command(hide = true)]
    Deployer(deployer::Arguments),
    Release(release::Arguments),
    Token(token::Arguments),
    Secret(secret::Arguments),
    Audit(audit::Arguments),
    Check(check::Arguments),
    Backup(backup::Backup),
    Restore(backup::Restore),
}

impl Arguments {
    /// Whether it serves until it is told to end.
    pub(super) const fn stays(&self) -> bool {
        matches!(self.what, What::Start(_))
    }

    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        match self.what {
            What::Start(arguments) => arguments.obey(mode).await,
            What::Status(what) => what.obey(mode).await,
            What::RunnerCode(what) => what.obey(mode).await,
            What::Runners(what) => what.obey(mode).await,
            What::Deployer(arguments) => arguments.obey().await,
            What::Release(arguments) => arguments.obey(mode).await,
            What::Token(arguments) => arguments.obey(mode).await,
            What::Secret(arguments) => arguments.obey(mode).await,
            What::Audit(arguments) => arguments.obey(mode).await,
            What::Check(arguments) => arguments.obey(mode).await,
            What::Backup(arguments) => arguments.obey(mode).await,
            What::Restore(arguments) => arguments.obey(mode).await,
        }
    }
}
