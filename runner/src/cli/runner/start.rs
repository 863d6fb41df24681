//! `staith runner start`.

use std::num::NonZeroUsize;

use clap::Args;
use staith_model::Exit;

use crate::{
    client::Address,
    home::Home,
    interrupt,
    output::{self, OutputMode, Problem},
    worker::{self, Beginning},
    workshop::EngineName,
};

/// Take jobs from the server and run them, until SIGTERM or Ctrl-C
///
/// Each job is kept by a process of its own, which goes on when the runner ends, is killed or is replaced by a newer one: the next
/// `staith runner start` takes it up. A job that the server does not hear of for more than a minute ends by itself.
///
/// On a host that is registered as a machine of an environment, it takes deployments to that machine and no jobs.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Jobs that may run at once; each takes the memory that its steps take, so one if not given
    #[arg(long, short, value_name = "NUMBER", default_value = "1", value_parser = jobs)]
    jobs: NonZeroUsize,
    /// What isolates steps of jobs
    #[arg(long, value_enum, value_name = "ENGINE", env = "STAITH_ENGINE", default_value_t)]
    engine: EngineName,
    /// What a server tells the runner of its own machine
    #[arg(long, hide = true, value_parser = Address::told)]
    own_server: Option<Address>,
}

fn jobs(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "at least one job runs at a time: write a whole number from 1 on".to_owned())
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let stop = interrupt::listen_for_an_end()?;
        let beginning =
            Beginning { home: Home::find()?, jobs: self.jobs, engine: self.engine, server: self.own_server };
        worker::start(beginning, stop, &|news| output::runner_news(news, mode)).await?;
        Ok(Exit::Passed)
    }
}
