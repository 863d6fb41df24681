//! `staith server backup` and `staith server restore`.

use std::path::PathBuf;

use clap::Args;
use staith_model::Exit;
use staith_server::{
    clock::Clock,
    upkeep::{self, UpkeepError},
};

use super::{
    place::{self, Place},
    token::operator,
};
use crate::output::{self, OutputMode, Problem};

const NOT_RESTORED: &str = "nothing was restored";

/// Copy all that the server knows, while it runs
///
/// The database of one moment, the streams as they were then, and the packages, with the digest of each file. Keys are not in it: keep
/// `secrets.key` somewhere else, since without it nobody can read the secrets in the backup.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    place: Place,
    /// A directory that is empty or not there
    directory: PathBuf,
}

impl Backup {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let data = self.place.known()?;
        let (to, now) = (self.directory.clone(), Clock::of_this_machine().unix_millis());
        let copying =
            tokio::task::spawn_blocking(move || upkeep::back_up(&place::database(&data), &data, &to, now));
        let manifest = copying.await.map_err(|panicked| Problem::bug(panicked.to_string()))?;
        let manifest = manifest.map_err(|error| refused(&error, "there is no backup"))?;
        output::server_backup(&manifest, "backed up to", &self.directory, mode)
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// Make a server's directory of a backup
///
/// Each byte is checked on the way. What attempts the lost server gave out after the backup was made counts for nothing: whatever the
/// restored one gives out is newer.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    place: Place,
    /// The backup
    directory: PathBuf,
}

impl Restore {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let data = self.place.find()?;
        let now = Clock::of_this_machine().unix_millis();
        let restored = upkeep::restore(&self.directory, &data, operator(), now).await;
        let manifest = restored.map_err(|error| refused(&error, NOT_RESTORED))?;
        output::server_backup(&manifest, "restored to", &data, mode)
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

pub(super) fn refused(error: &UpkeepError, what: &str) -> Problem {
    let problem = Problem::new(Exit::Environment, what).with_why(error.to_string());
    match error {
        UpkeepError::NotEmpty(_) if what == NOT_RESTORED => {
            problem.with_remedy("name one that is empty or not there: `--data DIRECTORY`")
        }
        UpkeepError::NotEmpty(_) => problem.with_remedy("say a directory that is empty or not there"),
        UpkeepError::NotWhole { .. } => problem.with_remedy(
            "`staith server check` tells all that is wrong with a server; of a backup, take another",
        ),
        UpkeepError::Store(_) | UpkeepError::System { .. } => problem,
    }
}
