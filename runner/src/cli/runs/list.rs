//! `staith runs list`.

use clap::{Args, builder::PossibleValuesParser, builder::TypedValueParser as _};
use staith_model::{
    Exit, Name, RunId,
    service::{RunPage, RunStanding},
};

use crate::{
    client::people::Server,
    output::{self, OutputMode, Problem},
};

/// How many runs are shown if nothing is said.
const SHOWN: u32 = 20;

/// List runs, the newest first
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this project
    #[arg(long, value_name = "NAME")]
    project: Option<Name>,
    /// Only those that stand so
    #[arg(long, value_name = "STATE", value_parser = state())]
    state: Option<RunStanding>,
    /// How many at most, up to 200; 20 if not given
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: Option<u32>,
    /// Only those that are older than this one: where the list before ended
    #[arg(long, value_name = "ID")]
    after: Option<RunId>,
}

fn state() -> impl clap::builder::TypedValueParser<Value = RunStanding> {
    let words = RunStanding::ALL.iter().map(|state| state.as_str());
    PossibleValuesParser::new(words).try_map(|word| word.parse::<RunStanding>())
}

impl List {
    /// Whether nothing is said of what is wanted.
    pub(super) const fn is_bare(&self) -> bool {
        self.project.is_none() && self.state.is_none() && self.limit.is_none() && self.after.is_none()
    }

    pub(super) async fn obey(self, server: &Server, mode: OutputMode) -> Result<Exit, Problem> {
        let page: RunPage = server.open()?.get(&self.path()).await?;
        output::server_runs(&page, self.project.as_ref(), &self.none(), mode)
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }

    /// What an empty list means, and what to do about it.
    fn none(&self) -> String {
        if self.after.is_some() {
            return "no older ones".to_owned();
        }
        let of = self.project.as_ref().map(|name| format!(" of project {name}")).unwrap_or_default();
        match self.state {
            Some(state) => format!("no run{of} is {state}"),
            None => {
                format!(
                    "no runs{of} yet: a push to a repository that `staith project add` has added makes one, or `staith project run`"
                )
            }
        }
    }

    fn path(&self) -> String {
        let mut path = format!("/api/v1/runs?limit={}", self.limit.unwrap_or(SHOWN));
        // None of these has a character that means something in an address.
        let filters = [
            self.project.as_ref().map(|project| format!("&project={project}")),
            self.state.map(|state| format!("&state={state}")),
            self.after.as_ref().map(|after| format!("&after={after}")),
        ];
        path.extend(filters.into_iter().flatten());
        path
    }
}
