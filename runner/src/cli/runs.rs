//! `staith runs`.

mod cancel;
mod list;
mod logs;
mod retry;
mod show;
mod watch;

use clap::{Args, Subcommand};
use staith_model::Exit;

use crate::{
    client::people::Server,
    output::{OutputMode, Problem},
};

/// See the runs of a server, follow them, end them, try them again
///
/// Lists runs if nothing else is said. A run is named by its id, or as PROJECT#NUMBER.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    list: list::List,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    List(list::List),
    Show(show::Show),
    Logs(logs::Logs),
    Watch(watch::Watch),
    Cancel(cancel::Cancel),
    Retry(retry::Retry),
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let server = &self.server;
        let what = match self.what {
            None => What::List(self.list),
            Some(_) if !self.list.is_bare() => {
                return Err(Problem::new(
                    Exit::Usage,
                    "what is listed is said behind `list`, and not before another command",
                ));
            }
            Some(what) => what,
        };
        match what {
            What::List(what) => what.obey(server, mode).await,
            What::Show(what) => what.obey(server, mode).await,
            What::Logs(what) => what.obey(server, mode).await,
            What::Watch(what) => what.obey(server, mode).await,
            What::Cancel(what) => what.obey(server, mode).await,
            What::Retry(what) => what.obey(server, mode).await,
        }
    }
}
