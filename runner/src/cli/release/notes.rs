//! `staith release notes`.

use std::path::Path;

use clap::Args;
use staith_builder::source::{SourceError, commits_between};
use staith_model::{Exit, FleetRelease};
use staith_releaser::fleet::record::notes::{ReleaseNotes, Side};

use super::Project;
use crate::{
    fleet::{as_told, pipeline_in, release_among, shelf_of},
    home::Home,
    output::{self, OutputMode, Problem},
};

/// Say what is new in a release: the commits since an earlier one, by kind, with work items and people
///
/// Commits are those of the repository that the project's directory is in, as far as they changed the project; merges are left out.
/// Their kinds are those of conventional commits (`feat: ...`).
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    project: Project,
}

/// Between which releases, and how it is shown.
#[derive(Debug, Args)]
pub(crate) struct Range {
    /// From which release to which: each the beginning of its digest, its package's version, or `latest`
    #[arg(value_name = "FROM..TO", required_unless_present = "since", conflicts_with = "since")]
    range: Option<String>,
    /// From this release to the latest
    #[arg(long, value_name = "RELEASE")]
    since: Option<String>,
    /// As a page of Markdown
    #[arg(long)]
    pub(crate) markdown: bool,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let (from, to) = self.range.releases()?;
        let folder = self.project.project_dir;
        let pipeline = pipeline_in(&folder)?;
        let shelf = shelf_of(&Home::find()?, pipeline.name());
        let (from, to) = (release_among(&shelf, &from)?, release_among(&shelf, &to)?);
        let work = tokio::task::spawn_blocking(move || found(&folder, &from, &to));
        let notes = work.await.map_err(|panicked| Problem::bug(panicked.to_string()))??;
        output::release_notes(&notes, self.range.markdown, mode)
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

impl Range {
    /// The two releases, as they were written.
    ///
    /// # Errors
    /// They are not two (64).
    pub(crate) fn releases(&self) -> Result<(String, String), Problem> {
        if let Some(since) = &self.since {
            return Ok((since.clone(), "latest".to_owned()));
        }
        let range = self.range.as_deref().unwrap_or_default();
        match range.split_once("..") {
            Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok((from.to_owned(), to.to_owned())),
            _ => Err(Problem::new(Exit::Usage, format!("`{}` names no two releases", range.escape_debug()))
                .with_remedy(
                    "write FROM..TO, such as 1.0.0..1.1.0, or `--since FROM` for what came up to the latest",
                )),
        }
    }
}

fn found(folder: &Path, from: &FleetRelease, to: &FleetRelease) -> Result<ReleaseNotes, Problem> {
    let between = match commits_between(folder, Some(commit_of(from)?), commit_of(to)?) {
        Err(SourceError::NotARepository(place)) => {
            let what =
                format!("`{}` is in no git repository, so there are no commits to tell of", place.display());
            return Err(Problem::new(Exit::Environment, what)
                .with_remedy("name the project's directory in its repository with `--project-dir`"));
        }
        between => between?,
    };
    let side =
        |release: &FleetRelease| Side::of(&release.package.name, &release.package.version, &release.source);
    Ok(ReleaseNotes::of(&side(from), &side(to), as_told(between)))
}

fn commit_of(release: &FleetRelease) -> Result<&str, Problem> {
    release.source.commit.as_deref().ok_or_else(|| {
        let what = format!("it is not known from which commit release {} was made", release.digest().short());
        Problem::new(Exit::Environment, what)
            .with_why("its package was made outside of a repository, or by another machine's run")
            .with_remedy("choose releases that `staith release list` shows with a commit")
    })
}
