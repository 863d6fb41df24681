//! `staith diff`.

use clap::Args;
use staith_model::Exit;
use staith_packager::web_deploy::diff;

use super::{offered, package};
use crate::output::{self, OutputMode, Problem};

/// Show how one package differs from another: files, parameters, providers
///
/// Files are compared by their paths below the directory that was packed, so that the machines on which two packages were made make
/// no difference. Two files are the same if their contents are: times do not count. Values that look like secrets are compared, but
/// not shown.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The first package: a file, or NAME@VERSION, NAME@CHANNEL, NAME@DIGEST or NAME (its latest version) of this machine's store
    #[arg(value_name = "A", add = offered::files_and_packages())]
    old: String,
    /// The second one, likewise
    #[arg(value_name = "B", add = offered::files_and_packages())]
    new: String,
    /// Exit with 10 if they differ
    #[arg(long)]
    exit_code: bool,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let work = move || -> Result<Exit, Problem> {
            let (old, new) = (package::open(&self.old)?, package::open(&self.new)?);
            let difference = diff(&old.reader, &new.reader)?;
            output::difference(&old.called, &new.called, &difference, mode.is_json())
                .map_err(|lost| Problem::unwritable(&lost))?;
            Ok(if self.exit_code && !difference.is_empty() { Exit::StepFailed } else { Exit::Passed })
        };
        tokio::task::spawn_blocking(work).await.map_err(|panicked| Problem::bug(panicked.to_string()))?
    }
}
