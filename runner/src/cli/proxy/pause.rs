//! `staith proxy pause` and `staith proxy resume`.

use clap::Args;
use staith_model::Exit;
use staith_releaser::proxy::station::protocol::Ask;

use super::Backend;
use crate::output::{self, OutputMode, Problem};

/// Hold requests that begin from now on instead of passing them on
///
/// For an application of which there can be only one, while it is exchanged. Requests in flight are not touched; a request is held
/// for no longer, and no more of them are, than the configuration's `limits.hold` and `limits.held` say.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    #[command(flatten)]
    backend: Backend,
    /// Seconds after which they go on, whatever happens
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    at_most: u64,
}

impl Pause {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        self.backend.ask(Ask::Pause { at_most_ms: self.at_most * 1000 }).await?;
        output::proxy_paused(&self.backend.backend, Some(self.at_most), mode)
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// Let held requests go on
#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    backend: Backend,
}

impl Resume {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        self.backend.ask(Ask::Resume).await?;
        output::proxy_paused(&self.backend.backend, None, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
