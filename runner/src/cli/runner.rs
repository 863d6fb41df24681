//! `staith runner`.

mod drain;
mod install;
mod keep;
mod list;
mod register;
mod start;

use clap::{Args, Subcommand};
use staith_model::Exit;

use crate::output::{OutputMode, Problem};

/// Make this host a build host of a server, or a machine that it deploys to, and let it work
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Register(register::Arguments),
    Start(start::Arguments),
    Drain(drain::Arguments),
    List(list::Arguments),
    Install(install::Arguments),
    #[command(hide = true)]
    Keep(keep::Arguments),
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        match self.what {
            What::Register(arguments) => arguments.obey(mode).await,
            What::Start(arguments) => arguments.obey(mode).await,
            What::Drain(arguments) => arguments.obey(mode),
            What::List(arguments) => arguments.obey(mode),
            What::Install(arguments) => arguments.obey(mode),
            What::Keep(arguments) => arguments.obey().await,
        }
    }
}
