//! `staith inspect`.

use clap::Args;
use staith_model::Exit;
use staith_packager::web_deploy::{Inspection, inspect};

use super::package::PackageArgument;
use crate::output::{self, OutputMode, Problem};

/// Show what a Web Deploy package is, whoever made it
///
/// Its providers with their settings, the parameters that can be set, digests and sizes, and what somebody should know before using
/// it: secrets in defaults, paths and names of the machine that made it, what other tools would trip over. Values that look like
/// secrets are hidden. Nothing in the package is executed; `staith verify` reads the bytes of its content, too.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    package: PackageArgument,
    /// List the entries, too (with --json they always are)
    #[arg(long)]
    entries: bool,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let work = move || {
            let opened = self.package.open()?;
            let profile = opened.published.as_ref().map(|published| published.profile);
            let inspection = Inspection { profile, ..inspect(&opened.reader)? };
            output::inspection(&opened.called, &inspection, self.entries, mode.is_json())
                .map_err(|lost| Problem::unwritable(&lost))
        };
        tokio::task::spawn_blocking(work).await.map_err(|panicked| Problem::bug(panicked.to_string()))??;
        Ok(Exit::Passed)
    }
}
