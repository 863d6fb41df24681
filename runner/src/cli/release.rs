//! `staith release`.

mod ask;
mod create;
mod deploy;
mod diff;
mod docs;
mod history;
mod lift;
mod list;
mod metrics;
mod notes;
mod plan;
mod promote;
mod rollback;
mod status;
mod swap;
mod vote;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use staith_model::{Exit, Name};

use crate::{
    fleet::Site,
    home::Home,
    output::{OutputMode, Problem},
};

pub(crate) use create::{Material, all_takers, freeze_for, freeze_package};
pub(super) use deploy::{How, deploy_found};
pub(super) use notes::Range;

/// Release packages to machines: plan, approve, deploy, watch, go back
///
/// A release freezes a package with what the environments in runner.toml say about running it. It moves from environment to
/// environment as it is. Every command that changes something writes it into the environment's ledger first; any of them may be
/// killed and given again.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Create(create::Arguments),
    List(list::Arguments),
    Plan(plan::Arguments),
    Deploy(deploy::Arguments),
    Promote(promote::Arguments),
    Approve(vote::Approve),
    Reject(vote::Reject),
    Override(vote::Override),
    Swap(swap::Arguments),
    Rollback(rollback::Arguments),
    Lift(lift::Arguments),
    Abort(ask::Abort),
    Pause(ask::Pause),
    Resume(ask::Resume),
    Retry(ask::Retry),
    Skip(ask::Skip),
    Accept(ask::Accept),
    Status(status::Arguments),
    History(history::Arguments),
    Diff(diff::Arguments),
    Docs(docs::Arguments),
    Notes(notes::Arguments),
    Metrics(metrics::Arguments),
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        match self.what {
            What::Create(arguments) => arguments.obey(mode).await,
            What::List(arguments) => arguments.obey(mode),
            What::Plan(arguments) => arguments.obey(mode).await,
            What::Deploy(arguments) => arguments.obey(mode).await,
            What::Promote(arguments) => arguments.obey(mode).await,
            What::Approve(arguments) => arguments.obey(mode).await,
            What::Reject(arguments) => arguments.obey(mode).await,
            What::Override(arguments) => arguments.obey(mode).await,
            What::Swap(arguments) => arguments.obey(mode).await,
            What::Rollback(arguments) => arguments.obey(mode).await,
            What::Lift(arguments) => arguments.obey(mode).await,
            What::Abort(arguments) => arguments.obey(mode).await,
            What::Pause(arguments) => arguments.obey(mode).await,
            What::Resume(arguments) => arguments.obey(mode).await,
            What::Retry(arguments) => arguments.obey(mode).await,
            What::Skip(arguments) => arguments.obey(mode).await,
            What::Accept(arguments) => arguments.obey(mode).await,
            What::Status(arguments) => arguments.obey(mode),
            What::History(arguments) => arguments.obey(mode),
            What::Diff(arguments) => arguments.obey(mode).await,
            What::Docs(arguments) => arguments.obey(mode),
            What::Notes(arguments) => arguments.obey(mode).await,
            What::Metrics(arguments) => arguments.obey(mode).await,
        }
    }
}

/// The project's directory, as most of these commands take it.
#[derive(Debug, Clone, Args)]
struct Project {
    /// The project's directory, with runner.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    project_dir: PathBuf,
}

/// An environment of machines, where it is the first thing that is named.
#[derive(Debug, Clone, Args)]
struct Environment {
    /// The environment
    environment: Name,
    #[command(flatten)]
    project: Project,
}

impl Environment {
    fn site(&self) -> Result<Site, Problem> {
        Site::open(&Home::find()?, &self.project.project_dir, &self.environment)
    }
}
