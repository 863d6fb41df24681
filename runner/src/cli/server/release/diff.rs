//! `staith server release diff`.

use clap::Args;
use staith_model::Exit;
use staith_releaser::fleet::diff::Comparison;

use super::{There, query};
use crate::output::{self, OutputMode, Problem};

/// Show how one release differs from another: package, files, and what each environment is given
///
/// Of secrets, versions are compared; their values are not in releases.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The first release: its number, the beginning of its digest, its package's version, or `latest`
    #[arg(value_name = "A")]
    from: String,
    /// The second one, likewise
    #[arg(value_name = "B", default_value = "latest")]
    to: String,
    /// Exit with 10 if they differ
    #[arg(long)]
    exit_code: bool,
}

impl Arguments {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        let path = query(&there.path("comparison"), &[("from", &self.from), ("to", &self.to)]);
        let found: Comparison = there.people.get(&path).await?;
        output::releases_differ(&found, mode).map_err(|lost| Problem::unwritable(&lost))?;
        let differs = !found.diff.differences.is_empty();
        Ok(if self.exit_code && differs { Exit::StepFailed } else { Exit::Passed })
    }
}
