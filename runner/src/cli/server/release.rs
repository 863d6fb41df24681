//! `staith server release`.

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
mod past_gates;
mod plan;
mod promote;
mod quarantine;
mod rollback;
mod status;
mod swap;
mod vote;
mod whereabouts;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use staith_model::{
    Exit, Name,
    service::{EnvironmentView, OrderAnswer, OrderSeen},
};

use crate::{
    client::people::{People, Server},
    output::{OutputMode, Problem},
};

/// How often it is asked what the deployer made of it, where the server did not wait.
const LOOK: Duration = Duration::from_millis(300);

/// Releases on a server: make them of runs, deploy them, say yes or no, go back
///
/// The words are those of `staith release`. What is wanted is written down by the server; its deployer, a process of its own that has the
/// keys of machines, does it. Whoever may release in an environment may ask; what protects it is said by `staith project protect`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: Server,
    /// The project, as the server calls it
    #[arg(long, global = true, value_name = "NAME", env = "STAITH_PROJECT")]
    project: Option<Name>,
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
    Override(past_gates::Arguments),
    Swap(swap::Arguments),
    Rollback(rollback::Arguments),
    Lift(lift::Arguments),
    Quarantine(quarantine::Quarantine),
    Reinstate(quarantine::Reinstate),
    Abort(ask::Abort),
    Pause(ask::Pause),
    Resume(ask::Resume),
    Retry(ask::Retry),
    Skip(ask::Skip),
    Accept(ask::Accept),
    Status(status::Arguments),
    History(history::Arguments),
    Where(whereabouts::Where),
    Trace(whereabouts::Trace),
    Diff(diff::Arguments),
    Docs(docs::Arguments),
    Notes(notes::Arguments),
    Metrics(metrics::Arguments),
}

impl Arguments {
    pub(super) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let people = self.server.open()?;
        let project = match (self.project, &self.what) {
            (Some(project), _) => project,
            (None, What::Create(arguments)) => arguments.project(&people).await?,
            (None, _) => {
                return Err(Problem::new(Exit::Usage, "nobody says which project is meant")
                    .with_remedy("name it: --project NAME, or the variable STAITH_PROJECT"));
            }
        };
        let there = There { people, project };
        match self.what {
            What::Create(arguments) => arguments.obey(&there, mode).await,
            What::List(arguments) => arguments.obey(&there, mode).await,
            What::Plan(arguments) => arguments.obey(&there, mode).await,
            What::Deploy(arguments) => arguments.obey(&there, mode).await,
            What::Promote(arguments) => arguments.obey(&there, mode).await,
            What::Approve(arguments) => arguments.obey(&there, mode).await,
            What::Reject(arguments) => arguments.obey(&there, mode).await,
            What::Override(arguments) => arguments.obey(&there, mode).await,
            What::Swap(arguments) => arguments.obey(&there, mode).await,
            What::Rollback(arguments) => arguments.obey(&there, mode).await,
            What::Lift(arguments) => arguments.obey(&there, mode).await,
            What::Quarantine(arguments) => arguments.obey(&there, mode).await,
            What::Reinstate(arguments) => arguments.obey(&there, mode).await,
            What::Abort(arguments) => arguments.obey(&there, mode).await,
            What::Pause(arguments) => arguments.obey(&there, mode).await,
            What::Resume(arguments) => arguments.obey(&there, mode).await,
            What::Retry(arguments) => arguments.obey(&there, mode).await,
            What::Skip(arguments) => arguments.obey(&there, mode).await,
            What::Accept(arguments) => arguments.obey(&there, mode).await,
            What::Status(arguments) => arguments.obey(&there, mode).await,
            What::History(arguments) => arguments.obey(&there, mode).await,
            What::Where(arguments) => arguments.obey(&there, mode).await,
            What::Trace(arguments) => arguments.obey(&there, mode).await,
            What::Diff(arguments) => arguments.obey(&there, mode).await,
            What::Docs(arguments) => arguments.obey(&there, mode).await,
            What::Notes(arguments) => arguments.obey(&there, mode).await,
            What::Metrics(arguments) => arguments.obey(&there, mode).await,
        }
    }
}

/// A path with what is asked about, whatever characters that has.
fn query(path: &str, about: &[(&str, &str)]) -> String {
    let about: Vec<String> = about.iter().map(|(key, value)| format!("{key}={}", escaped(value))).collect();
    if about.is_empty() { path.to_owned() } else { format!("{path}?{}", about.join("&")) }
}

fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

/// A project of a server.
struct There {
    people: People,
    project: Name,
}

impl There {
    fn path(&self, rest: &str) -> String {
        format!("/api/v1/projects/{}/{rest}", self.project)
    }

    fn path_in(&self, environment: &Name, rest: &str) -> String {
        let slash = if rest.is_empty() { "" } else { "/" };
        self.path(&format!("environments/{environment}{slash}{rest}"))
    }

    async fn environment(&self, environment: &Name) -> Result<EnvironmentView, Problem> {
        self.people.get(&self.path_in(environment, "")).await
    }

    /// Asks for something in an environment, and waits until the deployer has said what it makes of it. Whoever does not want to wait
    /// interrupts; what was asked is kept.
    async fn order(
        &self,
        environment: &Name,
        what: &str,
        body: &impl Serialize,
    ) -> Result<OrderAnswer, Problem> {
        let mut seen: OrderSeen = self.people.post(&self.path_in(environment, what), body).await?;
        loop {
            match seen.answer {
                Some(OrderAnswer::Refused { what, why, remedy }) => {
                    return Err(Problem { why, remedy, ..Problem::new(Exit::Configuration, what) });
                }
                Some(answer) => return Ok(answer),
                None => tokio::time::sleep(LOOK).await,
            }
            seen = self.people.get(&self.path(&format!("orders/{}", seen.order))).await?;
        }
    }
}
