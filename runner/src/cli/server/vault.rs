//! What seals the server's secrets: `age`, with a key beside the database.

use std::{path::Path, sync::Arc};

use staith_builder::secrets::Sealer;
use staith_model::{Exit, Secret};
use staith_server::{
    secrets::{Sealing, Vault},
    store::{Secrets as _, Sqlite},
};

use super::place;
use crate::output::Problem;

#[derive(Debug)]
struct ByAge(Sealer);

impl Sealing for ByAge {
    fn seal(&self, about: &str, secret: &Secret) -> Result<Vec<u8>, String> {
        self.0.seal(about, secret).map_err(|error| error.to_string())
    }

    fn open(&self, about: &str, sealed: &[u8]) -> Result<Secret, String> {
        self.0.open(about, sealed).map_err(|error| error.to_string())
    }
}

/// The vault of a server, whose key is made with the first of its databases.
///
/// # Errors
/// The key is not there although there are secrets, or it can't be read.
pub(super) async fn open(store: &Sqlite, data: &Path) -> Result<Vault, Problem> {
    let kept = store.secrets_kept().await.map_err(|error| place::refused(&error, data))?;
    let sealer = Sealer::in_directory(data, kept > 0).map_err(|error| {
        Problem::new(Exit::Environment, "the server's secrets can't be read")
            .with_why(error.to_string())
            .with_remedy("put secrets.key back, which is in no backup; or start with --data elsewhere")
    })?;
    Ok(Vault::new(Arc::new(ByAge(sealer))))
}
