//! `staith audit`.

use clap::{Args, Subcommand};
use serde_json::value::RawValue;
use staith_model::{Digest, Exit};
use staith_packager::seal::key::Keys;
use staith_releaser::ledger::{self, Ledger, Verification};

use super::place::{self, Known, Place};
use crate::{
    home::Home,
    output::{self, OutputMode, Problem},
};

/// Show what happened in environments, and check that the record of it is whole
///
/// Each environment has a ledger, ledger.jsonl in its directory, of all that was done there, by whom and when. Each entry carries
/// the hash of the one before. Whoever keeps a head somewhere else finds out whether anything was changed or cut off since.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show the entries of a ledger, the oldest first
    Show {
        #[command(flatten)]
        place: Place,
        /// Only the last so many
        #[arg(long, value_name = "COUNT")]
        last: Option<usize>,
    },
    /// Check that nothing was altered, removed, moved or cut off; ends with 30 if something was
    ///
    /// Signed heads are checked against the keys that are trusted here. All ledgers are checked where none is named.
    Verify {
        #[command(flatten)]
        place: Place,
        /// A head that was noted down before, as this command showed it; finds what was cut off at the end
        #[arg(long, value_name = "HASH")]
        head: Option<Digest>,
    },
    /// Sign the head of a ledger with this machine's key
    Sign {
        #[command(flatten)]
        place: Place,
    },
}

/// A ledger that was looked at.
#[derive(Debug)]
pub(crate) struct Audited {
    /// Whose it is: `shop (production)`.
    pub(crate) place: String,
    /// What the look came to.
    pub(crate) verification: Verification,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let work = tokio::task::spawn_blocking(move || self.what.obey(mode));
        work.await.map_err(|panicked| Problem::bug(panicked.to_string()))?
    }
}

impl What {
    fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let home = Home::find()?;
        match self {
            Self::Show { place, last } => show(&home, &place, last, mode),
            Self::Verify { place, head } => verify(&home, &place, head.as_ref(), mode),
            Self::Sign { place } => {
                let known = one(&home, &place)?;
                let key = Keys::in_directory(&home.keys()).own()?;
                let signed = ledger_of(&known).checkpoint(&key)?;
                output::head_signed(&in_words(&known), signed.as_ref(), mode.is_json())
                    .map_err(|lost| Problem::unwritable(&lost))?;
                Ok(Exit::Passed)
            }
        }
    }
}

fn show(home: &Home, place: &Place, last: Option<usize>, mode: OutputMode) -> Result<Exit, Problem> {
    let entries = ledger_of(&one(home, place)?).read()?;
    let from = last.map_or(0, |last| entries.len().saturating_sub(last));
    output::audit_entries(&entries[from..], mode.is_json()).map_err(|lost| Problem::unwritable(&lost))?;
    Ok(Exit::Passed)
}

fn verify(home: &Home, place: &Place, head: Option<&Digest>, mode: OutputMode) -> Result<Exit, Problem> {
    let meant = match head {
        // A head is one of one ledger.
        Some(_) => vec![one(home, place)?],
        None => place.some_among(place::all_with(home, ledger::FILE))?,
    };
    let keys = Keys::in_directory(&home.keys()).trusted()?;
    let mut audited = Vec::new();
    for known in &meant {
        audited.push(Audited { place: in_words(known), verification: ledger_of(known).verify(&keys, head)? });
    }
    output::audit_verified(&audited, mode.is_json()).map_err(|lost| Problem::unwritable(&lost))?;
    let all_whole = audited.iter().all(|audited| audited.verification.is_whole());
    Ok(if all_whole { Exit::Passed } else { Exit::Environment })
}

fn ledger_of(known: &Known) -> Ledger<Box<RawValue>> {
    Ledger::of_environment(&known.directory, &known.project, &known.environment)
}

fn in_words(known: &Known) -> String {
    format!("{} ({})", known.project, known.environment)
}

/// The one environment that is meant. One that is named in full needs no ledger: that it is gone may be what is to be found out.
fn one(home: &Home, place: &Place) -> Result<Known, Problem> {
    if let (Some(project), Some(environment)) = (&place.project, &place.environment) {
        let directory = home.environment(project, environment);
        if directory.is_dir() {
            return Ok(Known { project: project.clone(), environment: environment.clone(), directory });
        }
    }
    place.one_among(place::all_with(home, ledger::FILE))
}
