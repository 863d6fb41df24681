//! `staith server audit`.

use clap::{Args, Subcommand};
use staith_model::Exit;
use staith_server::store::verify_audit;

use super::place::{self, Place};
use crate::output::{self, OutputMode, Problem};

/// Check that nothing in the record of what was done was altered
///
/// Each entry carries the hash of the one before. This computes all of them anew, whether the server runs or not.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check all entries; ends with 30 if one is not as it was written
    Verify {
        /// The hash of an entry that was kept elsewhere, and has to be there
        ///
        /// Without one, nobody can see that the end was cut off, or that all of it was written anew.
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let data = self.place.known()?;
        let What::Verify { head } = self.what;
        let read = {
            let database = place::database(&data);
            tokio::task::spawn_blocking(move || verify_audit(&database, head.as_deref()))
        };
        let verdict = read.await.map_err(|panicked| Problem::bug(panicked.to_string()))?;
        let verdict = verdict.map_err(|error| place::refused(&error, &data))?;
        output::server_audit(&verdict, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(if verdict.broken.is_some() { Exit::Environment } else { Exit::Passed })
    }
}
