//! `staith server release metrics`.

use clap::Args;
use staith_model::{Exit, Name};
use staith_releaser::fleet::record::figures::Measured;

use super::{There, query};
use crate::output::{self, OutputMode, Problem};

/// Show how often, how fast and how well an environment is released to
///
/// A change is a deployment of a release that touched a machine and has ended; going back is none. It failed if it went back, could
/// not go back, needs a decision, or was undone by hand afterwards. Lead time is from the commit to the end of the deployment; time
/// to restore from the beginning of a failed change to the end of what undid it. Both are medians.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The environment; all of the project if not given
    environment: Option<Name>,
    /// Days until now that are looked at
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: u64,
    /// As a table of Markdown
    #[arg(long)]
    markdown: bool,
}

impl Arguments {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        let days = self.days.to_string();
        let environment = self.environment.as_ref().map(|name| ("environment", name.as_str()));
        let wanted: Vec<(&str, &str)> = environment.into_iter().chain([("days", days.as_str())]).collect();
        let measured: Vec<Measured> = there.people.get(&query(&there.path("metrics"), &wanted)).await?;
        let none = "the server knows of no environment of this project";
        output::metrics(&measured, self.days, none, self.markdown, mode)
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
