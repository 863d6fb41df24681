//! `staith triggers`.

use clap::{Args, Subcommand};
use staith_model::{
    Exit, Name,
    service::{ExplainAsked, Explanation},
};

use crate::{
    client::people::Server,
    output::{self, OutputMode, Problem},
};

/// Ask a server what would start runs
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Explain(Explain),
}

/// Show what an event would run, and why
///
/// Asked of the repository as it is now: a push is taken for one of what the branch has. Nothing is run.
#[derive(Debug, Args)]
struct Explain {
    /// The project
    project: Name,
    /// What would happen
    #[arg(long, value_parser = ["push", "tag", "pull-request", "schedule"])]
    event: String,
    /// The branch that is pushed to, or that a pull request comes from
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// The tag
    #[arg(long, value_name = "NAME")]
    tag: Option<String>,
    /// The branch that a pull request asks to go to
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// The pull request comes from a fork
    #[arg(long)]
    fork: bool,
    /// The schedule
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// A path that counts as changed; may be repeated. Everything does if none is given and the event says nothing of it
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<String>,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let What::Explain(asked) = self.what;
        let path = format!("/api/v1/projects/{}/explain", asked.project);
        let asked = ExplainAsked {
            event: asked.event,
            branch: asked.branch,
            tag: asked.tag,
            target: asked.target,
            fork: asked.fork,
            schedule: asked.schedule,
            paths: asked.paths,
        };
        let explained: Explanation = self.server.open()?.post(&path, &asked).await?;
        output::explanation(&explained, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
