//! `staith release diff`.

use clap::Args;
use staith_model::{Exit, FleetRelease};
use staith_releaser::fleet::diff::Comparison;

use super::Project;
use crate::{
    cli::package::{self, OpenPackage},
    fleet::{pipeline_in, release_among, shelf_of},
    home::Home,
    output::{self, OutputMode, Problem},
};

/// Show how one release differs from another: package, files, and what each environment is given
///
/// Of secrets, versions are compared; their values are not in releases.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The first release: the beginning of its digest, its package's version, or `latest`
    #[arg(value_name = "A")]
    from: String,
    /// The second one, likewise
    #[arg(value_name = "B", default_value = "latest")]
    to: String,
    #[command(flatten)]
    project: Project,
    /// Exit with 10 if they differ
    #[arg(long)]
    exit_code: bool,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let work = tokio::task::spawn_blocking(move || self.compared(mode));
        work.await.map_err(|panicked| Problem::bug(panicked.to_string()))?
    }

    fn compared(&self, mode: OutputMode) -> Result<Exit, Problem> {
        let pipeline = pipeline_in(&self.project.project_dir)?;
        let shelf = shelf_of(&Home::find()?, pipeline.name());
        let (from, to) = (release_among(&shelf, &self.from)?, release_among(&shelf, &self.to)?);
        let packages = (package_of(&from), package_of(&to));
        let manifest = |found: &Result<OpenPackage, Problem>| {
            found.as_ref().ok().and_then(|package| package.reader.manifest().cloned())
        };
        let (before, after) = (manifest(&packages.0), manifest(&packages.1));
        let found = Comparison::of(&from, &to, (before.as_ref(), after.as_ref()));
        output::releases_differ(&found, mode).map_err(|lost| Problem::unwritable(&lost))?;
        let differs = !found.diff.differences.is_empty();
        Ok(if self.exit_code && differs { Exit::StepFailed } else { Exit::Passed })
    }
}

/// A release outlives its package in the store: then files are not compared, which is said.
fn package_of(release: &FleetRelease) -> Result<OpenPackage, Problem> {
    package::open(&format!("{}@{}", release.package.name, release.package.digest))
}
