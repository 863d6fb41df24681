//! `staith env status`.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use futures_util::future::join_all;
use staith_model::{Exit, Name};
use staith_releaser::fleet::{machine::Inspection, survey::Survey};

use crate::{
    cli::{hidden::apart, offered},
    fleet::{EnvironmentLook, Site, sites_in},
    home::Home,
    interrupt,
    output::{self, OutputMode, Problem},
};

/// Hashing every byte of a large release takes a while, even on a machine that answers at once.
const EVERY_BYTE: Duration = Duration::from_secs(15 * 60);

/// Ask the machines of environments what they serve, and tell where that is not what they should
///
/// All machines are asked at once, and so is whoever balances. What a machine should serve is what the environment's ledger says.
/// Files of the release that were changed by hand since they were brought there are told, too; what applications wrote beside
/// them is not. Nothing is changed anywhere.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The environment; all of runner.toml if not given
    #[arg(add = offered::fleets())]
    environment: Option<Name>,
    /// End with 41 if a machine is not as it should be, else with 30 if one could not be asked; machines in quarantine do not count
    #[arg(long)]
    check: bool,
    /// Read every byte of the files, rather than of those that were touched since they were verified
    #[arg(long)]
    every_byte: bool,
    /// Seconds that a machine is given to answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    within: u64,
    /// The project's directory, with runner.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    project_dir: PathBuf,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let stop = interrupt::listen()?;
        let home = Home::find()?;
        let sites = match &self.environment {
            Some(name) => vec![Site::open(&home, &self.project_dir, name)?],
            None => sites_in(&home, &self.project_dir)?,
        };
        let survey = self.survey();
        let looking = join_all(sites.iter().map(|site| site.look(&survey, &stop.cancel)));
        let looks = tokio::select! {
            looks = looking => looks,
            () = stop.cancel.cancelled() => return Ok(Exit::Interrupted),
        };
        let (looks, hidden) = apart(sites.iter().map(|site| &site.environment.name).zip(looks));
        if !hidden.is_all(sites.len()) {
            output::fleet_look(&looks, mode).map_err(|lost| Problem::unwritable(&lost))?;
        }
        // One that can't be looked at does not hide the others.
        Ok(match hidden.told(mode)? {
            Some(exit) => exit,
            None if self.check => verdict(&looks),
            None => Exit::Passed,
        })
    }

    const fn survey(&self) -> Survey {
        let patience = Duration::from_secs(self.within);
        match self.every_byte {
            true => Survey { files: Inspection::EveryByte, patience, patience_for_files: EVERY_BYTE },
            false => Survey { files: Inspection::Touched, patience, patience_for_files: patience },
        }
    }
}

/// What differs needs a person's decision; what can't be told may be well or not.
fn verdict(looks: &[EnvironmentLook]) -> Exit {
    let mut in_use =
        looks.iter().flat_map(|look| &look.targets).filter(|target| target.quarantined.is_none());
    if in_use.clone().any(|target| target.is_wrong()) {
        Exit::NeedsDecision
    } else if in_use.any(|target| target.is_unknown())
        || looks.iter().any(|look| matches!(look.traffic, Some(Err(_))))
    {
        Exit::Environment
    } else {
        Exit::Passed
    }
}
