//! `staith proxy status`.

use clap::Args;
use staith_model::Exit;
use staith_releaser::proxy::station::protocol::{Answer, Ask};

use super::Backend;
use crate::output::{self, OutputMode, Problem};

/// Show the members of a backend: who gets requests, who is up, what each is answering
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    backend: Backend,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let Answer::Status(status) = self.backend.ask(Ask::Status).await? else {
            return Err(Problem::bug("the proxy answered another question"));
        };
        output::proxy_status(&self.backend.backend, &status, mode)
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
