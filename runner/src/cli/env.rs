//! `staith env`.

mod cloud_init;
mod list;
mod provision;
mod status;
mod sweep;
mod vote;

use clap::{Args, Subcommand};
use staith_model::Exit;

use crate::output::{OutputMode, Problem};

pub(super) use sweep::tell_of_overdue;

/// Show the project's environments and whether their machines are as they should be; make machines and take them down
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(list::Arguments),
    Status(status::Arguments),
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
            What::List(arguments) => arguments.obey(mode),
            What::Status(arguments) => arguments.obey(mode).await,
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
