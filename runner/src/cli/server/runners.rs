//! `staith server runners`.

use clap::{Args, Subcommand};
use staith_model::{Exit, RunnerId, service::RunnerSeen};

use crate::{
    client::people::{People, Server},
    output::{self, OutputMode, Problem},
};

/// List the runners of a server, and say which of them get jobs
///
/// Lists them if nothing else is said. A runner is named by its id, or by its name where no other has it.
#[derive(Debug, Args)]
pub(crate) struct Runners {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the runners, the newest first
    List,
    /// Let a runner end what it has, and give it nothing more
    Drain {
        /// The runner
        runner: String,
    },
    /// Give a runner jobs again
    Resume {
        /// The runner
        runner: String,
    },
    /// Let a runner's key count for nothing, for good
    Revoke {
        /// The runner
        runner: String,
    },
}

impl Runners {
    pub(super) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let people = self.server.open()?;
        let (runner, verb) = match self.what {
            None | Some(What::List) => {
                let runners: Vec<RunnerSeen> = people.all("/api/v1/runners", "runners").await?;
                output::server_runners(&runners, mode).map_err(|lost| Problem::unwritable(&lost))?;
                return Ok(Exit::Passed);
            }
            Some(What::Drain { runner }) => (runner, "drain"),
            Some(What::Resume { runner }) => (runner, "resume"),
            Some(What::Revoke { runner }) => (runner, "revoke"),
        };
        let known = known(&people, &runner).await?;
        people.tell(&format!("/api/v1/runners/{}/{verb}", known.id), &serde_json::json!({})).await?;
        let now: Vec<RunnerSeen> = people.all("/api/v1/runners", "runners").await?;
        let now: Vec<RunnerSeen> = now.into_iter().filter(|it| it.id == known.id).collect();
        output::server_runners(&now, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

async fn known(people: &People, named: &str) -> Result<RunnerSeen, Problem> {
    let all: Vec<RunnerSeen> = people.all("/api/v1/runners", "runners").await?;
    let id: Option<RunnerId> = named.parse().ok();
    let is_meant = |runner: &RunnerSeen| Some(&runner.id) == id.as_ref() || runner.name.as_str() == named;
    let mut meant = all.into_iter().filter(is_meant);
    let named = named.escape_debug();
    match (meant.next(), meant.next()) {
        (Some(runner), None) => Ok(runner),
        (None, _) => Err(Problem::new(Exit::Usage, format!("there is no runner `{named}`"))
            .with_remedy("`staith server runners` shows those that there are")),
        (Some(_), Some(_)) => Err(Problem::new(Exit::Usage, format!("several runners are called `{named}`"))
            .with_remedy("say which by its id, as `staith server runners` shows it")),
    }
}
