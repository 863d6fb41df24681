//! `staith targets`.

mod check;
mod quarantine;

use std::{collections::BTreeSet, path::PathBuf};

use clap::{Args, Subcommand};
use staith_model::{Exit, FleetState, Name, Target};
use staith_releaser::fleet::{drive::FleetDriveError, record::whereabouts};

use super::{hidden::Hidden, offered};
use crate::{
    fleet::{Site, contacts, facts_of_all, sites_in},
    home::Home,
    interrupt,
    output::{self, KnownTarget, OutputMode, Problem},
};

/// List the machines of environments: how they are reached, what they are, what they serve, and which are in quarantine
///
/// Inventories are asked, machines are not: what they serve, and when they were last heard of, is what the ledgers say.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    tagged: Tagged,
}

#[derive(Debug, Subcommand)]
enum What {
    Check(check::Arguments),
    Quarantine(quarantine::Quarantine),
    #[command(alias = "release")]
    Reinstate(quarantine::Reinstate),
}

/// Environments of a project.
#[derive(Debug, Clone, Args)]
struct Which {
    /// The environment; all of runner.toml if not given
    #[arg(add = offered::fleets())]
    environment: Option<Name>,
    /// The project's directory, with runner.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    project_dir: PathBuf,
}

/// Machines with tags.
#[derive(Debug, Clone, Default, Args)]
struct Tagged {
    /// Only machines that have this tag; given several times, only those that have all of them
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<Name>,
}

impl Tagged {
    fn takes(&self, target: &Target) -> bool {
        self.tags.iter().all(|tag| target.tags.contains(tag))
    }

    /// Goes on if some machine has the tags: whoever asks for machines that nobody has is told so.
    fn must_choose_some<'a>(&self, all: impl Iterator<Item = &'a Target> + Clone) -> Result<(), Problem> {
        if self.tags.is_empty() || all.clone().any(|target| self.takes(target)) {
            return Ok(());
        }
        let wanted = |tags: &mut dyn Iterator<Item = &str>| {
            tags.map(|tag| format!("`{tag}`")).collect::<Vec<_>>().join(", ")
        };
        let what = format!("no machine has the tag {}", wanted(&mut self.tags.iter().map(Name::as_str)));
        let known: BTreeSet<&str> = all.flat_map(|target| &target.tags).map(Name::as_str).collect();
        let why = match known.is_empty() {
            true => "no machine has any tags".to_owned(),
            false => format!("there are {}", wanted(&mut known.into_iter())),
        };
        Err(Problem::new(Exit::Usage, what).with_why(why))
    }
}

impl Which {
    fn sites(&self, home: &Home) -> Result<Vec<Site>, Problem> {
        match &self.environment {
            Some(name) => Ok(vec![Site::open(home, &self.project_dir, name)?]),
            None => sites_in(home, &self.project_dir),
        }
    }
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        match self.what {
            None => listed(&self.which, &self.tagged, mode).await,
            Some(What::Check(arguments)) => arguments.obey(mode).await,
            Some(What::Quarantine(arguments)) => arguments.obey(mode).await,
            Some(What::Reinstate(arguments)) => arguments.obey(mode).await,
        }
    }
}

async fn listed(which: &Which, tagged: &Tagged, mode: OutputMode) -> Result<Exit, Problem> {
    let stop = interrupt::listen()?;
    let home = Home::find()?;
    let sites = which.sites(&home)?;
    let serving = whereabouts::serving(&facts_of_all(&home, &sites)?);
    let (mut known, mut hidden) = (Vec::new(), Hidden::default());
    for site in &sites {
        let environment = &site.environment.name;
        let entries = site.log().since(0).map_err(FleetDriveError::from)?;
        let state = FleetState::of(entries.iter().map(|entry| (entry.at, &entry.event)));
        let heard = contacts(&entries);
        let targets = match site.targets_there(&stop.cancel).await {
            Ok(targets) => targets,
            Err(problem) => {
                hidden.hides(environment, problem);
                continue;
            }
        };
        for target in targets {
            let serves =
                serving.iter().find(|trace| trace.environment == *environment && trace.target == target.name);
            known.push(KnownTarget {
                environment: environment.clone(),
                serves: serves.cloned(),
                heard_at: heard.get(&target.name).copied(),
                quarantined: state.quarantined.get(&target.name).cloned(),
                target,
            });
        }
    }
    // What can't be told may hide the machine that is meant.
    if hidden.is_none() {
        tagged.must_choose_some(known.iter().map(|one| &one.target))?;
    }
    known.retain(|one| tagged.takes(&one.target));
    if !hidden.is_all(sites.len()) {
        output::targets(&known, mode).map_err(|lost| Problem::unwritable(&lost))?;
    }
    Ok(hidden.told(mode)?.unwrap_or(Exit::Passed))
}
