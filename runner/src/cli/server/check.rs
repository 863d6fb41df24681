//! `staith server check`.

use clap::Args;
use staith_model::Exit;
use staith_server::upkeep;

use super::{
    backup::refused,
    place::{self, Place},
};
use crate::output::{self, OutputMode, Problem};

/// Check all that the server knows, whether it runs or not; ends with 30 if something is lost
///
/// The pages of the database and what its rows name, the chain of the audit log, and the bytes of every stream. Rows that make no sense
/// are named; the server leaves them alone and works without them.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let data = self.place.known()?;
        let reading = tokio::task::spawn_blocking(move || upkeep::check(&place::database(&data), &data));
        let checked = reading.await.map_err(|panicked| Problem::bug(panicked.to_string()))?;
        let checked = checked.map_err(|error| refused(&error, "the server's data can't be checked"))?;
        output::server_checked(&checked, mode).map_err(|lost| Problem::unwritable(&lost))?;
        let lost = checked.findings.iter().any(|found| found.lost);
        Ok(if lost { Exit::Environment } else { Exit::Passed })
    }
}
