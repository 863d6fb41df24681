//! `staith env`.

mod list;
mod status;

use clap::{Args, Subcommand};
use staith_model::Exit;

use crate::output::{OutputMode, Problem};

/// Show the project's environments, and whether their machines are as they should be
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(list::Arguments),
    Status(status::Arguments),
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        match self.what {
            What::List(arguments) => arguments.obey(mode),
            What::Status(arguments) => arguments.obey(mode).await,
        }
    }
}
