//! `staith runner register`.

use std::{collections::BTreeSet, path::PathBuf};

use clap::Args;
use staith_model::{Exit, Name, Secret};

use crate::{
    client::Address,
    home::Home,
    output::{self, OutputMode, Problem},
    worker::{Rooms, register},
};

/// Make this host a runner of a server
///
/// The host makes a key of its own, which never leaves it, and proves to the server that it has it. The code is good for one host and
/// for a short time; asked again by the same host, the server gives the same answer.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The server: https://HOST[:PORT]
    #[arg(long, value_name = "URL", required_unless_present = "own_server")]
    url: Option<String>,
    /// The code that `staith server runner-code` gave
    #[arg(long, value_name = "CODE", env = "STAITH_RUNNER_CODE", hide_env_values = true)]
    token: String,
    /// What people call this host; the host's own name if not given
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// What this host offers, beside what the code gives it; may be repeated
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<Name>,
    /// Believe the server by these authorities instead of those of this machine
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Ask in clear text, where nobody else is on the network
    #[arg(long)]
    insecure: bool,
    /// What a server tells the runner of its own machine
    #[arg(long, hide = true, value_parser = Address::told)]
    own_server: Option<Address>,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let home = Home::find()?;
        let server = match (self.own_server, &self.url) {
            (Some(server), _) => server,
            (None, url) => {
                Address::parse(url.as_deref().unwrap_or_default(), self.ca.as_deref(), self.insecure)?
            }
        };
        home.make().map_err(|refused| {
            Problem::new(Exit::Environment, format!("{} can't be made", home.path().display()))
                .with_why(refused.to_string())
                .with_remedy("set STAITH_HOME to a directory of your own")
        })?;
        let name = self.name.map_or_else(own_name, Ok)?;
        let labels: BTreeSet<Name> = self.labels.into_iter().collect();
        let registration =
            register(&Rooms::of(&home), server, &Secret::new(self.token), name, labels).await?;
        output::runner_registered(&registration, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// The host's own name, as far as it is one of ours.
fn own_name() -> Result<Name, Problem> {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let first = name.split('.').next().unwrap_or_default();
    first.parse().map_err(|bad: staith_model::NotAName| {
        Problem::new(Exit::Usage, "this host's own name can't be a runner's")
            .with_why(bad.to_string())
            .with_remedy("give it one with --name")
    })
}
