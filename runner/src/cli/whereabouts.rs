//! From a commit to the machines that run it, and back: `staith where` and `staith trace`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use clap::Args;
use staith_model::{Exit, Name};
use staith_releaser::fleet::record::{DeploymentFact, whereabouts};

use crate::{
    fleet::{facts_of_all, sites_in},
    home::Home,
    output::{self, OutputMode, Problem},
};

/// Show the machines that run a commit, as the ledgers of the project's environments have it
///
/// No machine is asked. That no machine runs it is an answer, too.
#[derive(Debug, Args)]
pub(crate) struct Where {
    /// The commit, or its beginning: 4 characters or more
    commit: String,
    /// The project's directory, with runner.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    project_dir: PathBuf,
}

/// Show what a machine runs, as the ledgers have it: release, package, run and commit
///
/// No machine is asked. Machines of several environments may have the same name; all of them are shown.
#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// The machine, as runner.toml or the inventory calls it
    #[arg(value_name = "MACHINE")]
    target: Name,
    /// The project's directory, with runner.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    project_dir: PathBuf,
}

impl Where {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let is_commit = self.commit.len() >= 4 && self.commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_commit {
            return Err(Problem::new(Exit::Usage, format!("`{}` is no commit", self.commit.escape_debug()))
                .with_remedy("give 4 or more of its hexadecimal digits, as `git log` shows them"));
        }
        let facts = facts_in(self.project_dir).await?;
        let found = whereabouts::serving_commit(&facts, &self.commit);
        let none = format!("no machine runs commit {}", self.commit);
        output::whereabouts(&found, &none, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

impl Trace {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let facts = facts_in(self.project_dir).await?;
        let machines: BTreeSet<&Name> =
            facts.iter().flat_map(|fact| &fact.targets).map(|target| &target.name).collect();
        if !machines.contains(&self.target) {
            return Err(unknown(&self.target, &machines));
        }
        let found = whereabouts::trace(&facts, &self.target);
        let none = format!("{} runs nothing", self.target);
        output::whereabouts(&found, &none, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

fn unknown(target: &Name, machines: &BTreeSet<&Name>) -> Problem {
    let known: Vec<&str> = machines.iter().map(|name| name.as_str()).collect();
    let why = match known.is_empty() {
        true => "nothing was deployed to machines of this project yet".to_owned(),
        false => format!("the machines that were deployed to are {}", known.join(", ")),
    };
    Problem::new(Exit::Usage, format!("no machine `{target}` was deployed to")).with_why(why)
}

async fn facts_in(folder: PathBuf) -> Result<Vec<DeploymentFact>, Problem> {
    let read = |folder: &Path| {
        let home = Home::find()?;
        facts_of_all(&home, &sites_in(&home, folder)?)
    };
    let work = tokio::task::spawn_blocking(move || read(&folder));
    work.await.map_err(|panicked| Problem::bug(panicked.to_string()))?
}
