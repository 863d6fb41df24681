//! `staith env`.

mod cloud_init;
mod provision;
mod sweep;
mod vote;

use clap::{Args, Subcommand};
use staith_model::Exit;

use crate::output::{OutputMode, Problem};

pub(super) use sweep::tell_of_overdue;

/// Show the project's environments, and make and take down their machines
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Provision(provision::Provision),
    Destroy(provision::Destroy),
    Approve(vote::Approve),
    Reject(vote::Reject),
    Override(vote::Override),
    Sweep(sweep::Arguments),
    CloudInit(cloud_init::Arguments),
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        match self.what {
            What::Provision(arguments) => arguments.obey(mode).await,
            What::Destroy(arguments) => arguments.obey(mode).await,
            What::Approve(arguments) => arguments.obey(mode).await,
            What::Reject(arguments) => arguments.obey(mode).await,
            What::Override(arguments) => arguments.obey(mode).await,
            What::Sweep(arguments) => arguments.obey(mode).await,
            What::CloudInit(arguments) => arguments.obey(mode).await,
        }
    }
}
