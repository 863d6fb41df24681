//! `staith server release docs`.

use clap::Args;
use staith_model::{Exit, Name};
use staith_releaser::fleet::record::run_book::RunBook;

use super::{There, query};
use crate::output::{self, OutputMode, Problem};

/// Write the run-book of an environment, in Markdown: what is done, who has to agree, and how to go back
///
/// It is made from the runner.toml of the newest release and from what protects the environment, so that it is never behind them.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The environment
    environment: Name,
    /// For this release: its number, the beginning of its digest, its package's version, or `latest`
    #[arg(long, value_name = "RELEASE")]
    release: Option<String>,
}

impl Arguments {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        let path = there.path_in(&self.environment, "run-book");
        let release = self.release.as_deref().map(|release| ("release", release));
        let book: RunBook = there.people.get(&query(&path, release.as_slice())).await?;
        output::run_book(&book, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
