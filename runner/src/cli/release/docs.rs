//! `staith release docs`.

use clap::Args;
use staith_model::Exit;
use staith_releaser::fleet::record::run_book::{By, RunBook, Subject, run_book};

use super::Environment;
use crate::output::{self, OutputMode, Problem};

/// Write the run-book of an environment, in Markdown: what is done, who has to agree, and how to go back
///
/// It is made from runner.toml and from what protects the environment, so that it is never behind them.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    environment: Environment,
    /// For this release: the beginning of its digest, its package's version, or `latest`
    #[arg(long, value_name = "RELEASE")]
    release: Option<String>,
}

impl Arguments {
    pub(crate) fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let site = self.environment.site()?;
        let release = self.release.as_deref().map(|text| site.release(text)).transpose()?;
        let markdown = run_book(&Subject {
            project: site.project(),
            environment: &site.environment,
            protection: &site.protection()?,
            release: release.as_ref(),
            plan: None,
            by: By::Hand,
        });
        let book = RunBook { environment: site.environment.name.clone(), markdown };
        output::run_book(&book, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
