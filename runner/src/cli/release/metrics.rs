//! `staith release metrics`.

use std::path::Path;

use clap::Args;
use staith_model::{Exit, Name};
use staith_releaser::fleet::record::{DeploymentFact, figures::Measured};

use super::Project;
use crate::{
    cli::offered,
    clock,
    fleet::{Site, facts_of_all, sites_in, with_commit_times},
    home::Home,
    output::{self, OutputMode, Problem},
};

/// Show how often, how fast and how well an environment is released to
///
/// A change is a deployment of a release that touched a machine and has ended; going back is none. It failed if it went back, could
/// not go back, needs a decision, or was undone by hand afterwards. Lead time is from the commit to the end of the deployment; time
/// to restore from the beginning of a failed change to the end of what undid it. Both are medians.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The environment; all of runner.toml if not given
    #[arg(add = offered::fleets())]
    environment: Option<Name>,
    /// Days until now that are looked at
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: u64,
    /// As a table of Markdown
    #[arg(long)]
    markdown: bool,
    #[command(flatten)]
    project: Project,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let (folder, environment) = (self.project.project_dir, self.environment);
        let work = tokio::task::spawn_blocking(move || facts_in(&folder, environment.as_ref()));
        let facts = work.await.map_err(|panicked| Problem::bug(panicked.to_string()))??;
        let now = clock::unix_millis();
        let measured: Vec<Measured> = facts
            .into_iter()
            .map(|(environment, facts)| Measured::of(environment, &facts, self.days, now))
            .collect();
        let none = "runner.toml has no environment of machines";
        output::metrics(&measured, self.days, none, self.markdown, mode)
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

fn facts_in(folder: &Path, environment: Option<&Name>) -> Result<Vec<(Name, Vec<DeploymentFact>)>, Problem> {
    let home = Home::find()?;
    let sites = match environment {
        Some(name) => vec![Site::open(&home, folder, name)?],
        None => sites_in(&home, folder)?,
    };
    let all = with_commit_times(facts_of_all(&home, &sites)?, folder);
    let of = |name: &Name| all.iter().filter(|fact| fact.environment == *name).cloned().collect();
    Ok(sites.iter().map(|site| (site.environment.name.clone(), of(&site.environment.name))).collect())
}
