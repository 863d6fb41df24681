//! `staith gc`.

use clap::Args;
use staith_model::Exit;

use crate::{
    home::Home,
    output::{self, OutputMode, Problem},
    upkeep::{Household, Removed, Upkeep, size},
};

/// Remove what was used longest ago, until the rest is within the budget
///
/// Runs do this by themselves before they would keep more than the budget. That is `budget` in [caches] of config.toml in
/// Staith's home, or else half of what others leave on the disk, but not more than a fifth of all of it or 20 GiB, whichever is
/// more. What a live run uses stays, and so do the packages of every release that an environment serves or could be rolled back
/// to. Everything that goes can be made or fetched again.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Keep at most this much, such as 20GiB, this time
    #[arg(long, value_name = "SIZE", value_parser = size)]
    budget: Option<u64>,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// First read all that is kept, and remove what was changed since: by a failing disk, or by hand
    #[arg(long)]
    verify: bool,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let home = Home::find()?;
        home.make().map_err(|refused| {
            Problem::new(Exit::Environment, format!("{} can't be made", home.path().display()))
                .with_why(refused.to_string())
                .with_remedy("set STAITH_HOME to a directory of your own")
        })?;
        let upkeep = Upkeep::open(&home)?;
        let budget = self.budget.unwrap_or(upkeep.budget());
        let work = move || -> Result<Removed, Problem> {
            let unreadable = |why: String| Problem::new(Exit::Environment, why);
            let mut unsound = Vec::new();
            if self.verify {
                let verified = Household::open(&home).and_then(|household| household.verify(self.dry_run));
                unsound = verified.map_err(unreadable)?;
            }
            if !self.dry_run {
                return Ok(Removed { unsound, ..upkeep.collect(budget, None)? });
            }
            let plan = Household::open(&home).and_then(|household| household.plan(budget));
            Ok(Removed { unsound, ..Removed::planned(&plan.map_err(unreadable)?) })
        };
        let removed = tokio::task::spawn_blocking(work)
            .await
            .map_err(|panicked| Problem::bug(panicked.to_string()))??;
        output::collected(&removed, budget, !self.dry_run, mode.is_json())
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
