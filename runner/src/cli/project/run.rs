//! `staith project run`.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use staith_model::{
    ArrivalId, Exit, Name,
    service::{Arrival, ArrivalState, Arrived, Priority, RunAsked},
};

use crate::{
    client::people::{People, Server},
    output::{self, OutputMode, Problem},
};

/// How often it is asked whether the run is there.
const PATIENCE: Duration = Duration::from_millis(100);

/// Start a run on the server
///
/// Ends as soon as the run is in the queue, and says its number; `staith runs watch` follows it.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The project
    project: Name,
    /// The branch, tag or commit
    #[arg(long = "ref", value_name = "NAME", default_value = "HEAD")]
    reference: String,
    /// Give a parameter of the pipeline a value; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// How soon it has its turn among the project's runs: -100 to 100; above 0 for releasers and administrators only
    #[arg(long, value_name = "N", default_value_t, allow_hyphen_values = true)]
    priority: Priority,
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a setting is NAME=VALUE".to_owned()),
    }
}

impl Run {
    pub(super) async fn obey(self, server: &Server, mode: OutputMode) -> Result<Exit, Problem> {
        let people = server.open()?;
        let settings: BTreeMap<String, String> = self.settings.into_iter().collect();
        let asked = RunAsked { reference: self.reference, settings, priority: self.priority };
        let path = format!("/api/v1/projects/{}", self.project);
        let arrived: Arrived = people.post(&format!("{path}/runs"), &asked).await?;
        let arrival =
            arrived.arrivals.first().ok_or_else(|| Problem::bug("the server wrote nothing down"))?;
        let ended = wait(&people, &path, arrival).await?;
        if ended.state != ArrivalState::Done {
            let why = ended.why.unwrap_or_else(|| "the server does not say why".to_owned());
            let problem = Problem::new(Exit::Configuration, "there is no run").with_why(why);
            return Err(Problem { remedy: ended.remedy, ..problem });
        }
        output::run_begun(&ended, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// Waits until the arrival was looked into. A repository may have to be fetched; whoever does not want to wait interrupts, and the
/// server goes on.
async fn wait(people: &People, path: &str, arrival: &ArrivalId) -> Result<Arrival, Problem> {
    loop {
        let now: Arrival = people.get(&format!("{path}/arrivals/{arrival}")).await?;
        if now.state != ArrivalState::Waiting {
            return Ok(now);
        }
        tokio::time::sleep(PATIENCE).await;
    }
}
