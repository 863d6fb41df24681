//! `staith server release where` and `staith server release trace`.

use std::path::PathBuf;

use clap::Args;
use staith_model::{Exit, Name};
use staith_releaser::fleet::record::whereabouts::Trace as Found;

use super::{There, query};
use crate::{
    cli::whereabouts::commit_of,
    output::{self, OutputMode, Problem},
};

/// Show the machines that run a commit, as the ledgers of the project's environments have it
///
/// No machine is asked. That no machine runs it is an answer, too.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// The commit: its id or the beginning of it, 4 characters or more; or a branch, a tag or HEAD of the repository at hand
    commit: String,
    #[command(flatten)]
    within: Within,
}

/// Show what a machine runs, as the ledgers have it: release, package, run and commit
///
/// No machine is asked. Machines of several environments may have the same name; all of them are shown.
#[derive(Debug, Args)]
pub(super) struct Trace {
    /// The machine, as runner.toml or the inventory calls it
    #[arg(value_name = "MACHINE")]
    target: Name,
    #[command(flatten)]
    within: Within,
}

/// How far it is looked.
#[derive(Debug, Args)]
struct Within {
    /// In this environment; in all of the project if not given, for which one has to see all of them
    #[arg(long, short, value_name = "ENVIRONMENT")]
    environment: Option<Name>,
}

impl Where {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        let commit = commit_of(self.commit, PathBuf::from(".")).await?;
        let found = self.within.find(there, ("commit", &commit)).await?;
        let none = format!("no machine runs commit {commit}");
        output::whereabouts(&found, &none, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

impl Trace {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        let found = self.within.find(there, ("target", self.target.as_str())).await?;
        let none = format!("{} runs nothing", self.target);
        output::whereabouts(&found, &none, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

impl Within {
    async fn find(&self, there: &There, about: (&str, &str)) -> Result<Vec<Found>, Problem> {
        let environment = self.environment.as_ref().map(|name| ("environment", name.as_str()));
        let about: Vec<(&str, &str)> = environment.into_iter().chain([about]).collect();
        there.people.get(&query(&there.path("whereabouts"), &about)).await
    }
}
