//! `staith project`.

mod add;
mod approve;
mod arrivals;
mod hook;
mod list;
mod protect;
mod remove;
mod run;
mod set;
mod show;

use clap::{Args, Subcommand};
use staith_model::Exit;

use crate::{
    client::people::Server,
    output::{OutputMode, Problem},
};

/// Keep the projects of a server: what it builds, and when
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Add(add::Add),
    List(list::List),
    Show(show::Show),
    Set(set::Set),
    Remove(remove::Remove),
    Run(run::Run),
    Hook(hook::Hook),
    Arrivals(arrivals::Arrivals),
    Approve(approve::Approve),
    Protect(protect::Protect),
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let server = &self.server;
        match self.what {
            What::Add(what) => what.obey(server, mode).await,
            What::List(what) => what.obey(server, mode).await,
            What::Show(what) => what.obey(server, mode).await,
            What::Set(what) => what.obey(server, mode).await,
            What::Remove(what) => what.obey(server, mode).await,
            What::Run(what) => what.obey(server, mode).await,
            What::Hook(what) => what.obey(server, mode),
            What::Arrivals(what) => what.obey(server, mode).await,
            What::Approve(what) => what.obey(server, mode).await,
            What::Protect(what) => what.obey(server, mode).await,
        }
    }
}
