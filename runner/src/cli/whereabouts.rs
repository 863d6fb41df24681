//! From a commit to the machines that run it, and back: `staith where` and `staith trace`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use clap::Args;
use staith_builder::source::commit_called;
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
    /// The commit: its id or the beginning of it, 4 characters or more; or a branch, a tag or HEAD of the repository at hand
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
        let commit = commit_of(self.commit, self.project_dir.clone()).await?;
        let (facts, there) = facts_in(self.project_dir).await?;
        let mut found = whereabouts::serving_commit(&facts, &commit);
        found.retain(|trace| there.contains(&trace.environment));
        let none = format!("no machine runs commit {commit}");
        output::whereabouts(&found, &none, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

impl Trace {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let (facts, there) = facts_in(self.project_dir).await?;
        let machines = whereabouts::machines(&facts);
        if !machines.contains(&self.target) {
            return Err(unknown(&self.target, &machines));
        }
        let mut found = whereabouts::trace(&facts, &self.target);
        let was_there = !found.is_empty();
        found.retain(|trace| there.contains(&trace.environment));
        let none = match was_there {
            true => format!("{} runs nothing any more: its environment was taken down", self.target),
            false => format!("{} runs nothing", self.target),
        };
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

/// The commit that is meant. Digits are taken as they are: machines may run what this repository does not have.
pub(super) async fn commit_of(text: String, folder: PathBuf) -> Result<String, Problem> {
    if text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text);
    }
    let (name, shown) = (text.clone(), text.escape_debug().to_string());
    let asked = tokio::task::spawn_blocking(move || commit_called(&folder, &name)).await;
    let found = asked.map_err(|panicked| Problem::bug(panicked.to_string()))?;
    let why = match found {
        Ok(Some(commit)) => return Ok(commit),
        Ok(None) => "nothing in the repository is called so".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Problem::new(Exit::Usage, format!("`{shown}` is no commit")).with_why(why).with_remedy(
        "give 4 or more of its hexadecimal digits, as `git log` shows them, or a branch, a tag or HEAD",
    ))
}

/// What the ledgers say, and the environments whose machines are there: of those that were taken down, nothing runs any more.
async fn facts_in(folder: PathBuf) -> Result<(Vec<DeploymentFact>, BTreeSet<Name>), Problem> {
    let read = |folder: &Path| {
        let home = Home::find()?;
        let sites = sites_in(&home, folder)?;
        let facts = facts_of_all(&home, &sites)?;
        let there = sites.into_iter().filter(|site| site.has_machines).map(|site| site.environment.name);
        Ok((facts, there.collect()))
    };
    let work = tokio::task::spawn_blocking(move || read(&folder));
    work.await.map_err(|panicked| Problem::bug(panicked.to_string()))?
}
