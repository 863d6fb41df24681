//! What seals the server's secrets: `age`, with a key beside the database.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use staith_builder::secrets::{Sealer, SecretsError};
use staith_model::{Exit, Secret};
use staith_server::{
    secrets::{Sealing, Vault},
    store::{SealedSecret, Secrets as _, Sqlite},
};

use super::place;
use crate::output::Problem;

#[derive(Debug)]
struct ByAge {
    sealer: Sealer,
    /// Where its key is.
    data: PathBuf,
}

impl Sealing for ByAge {
    fn seal(&self, about: &str, secret: &Secret) -> Result<Vec<u8>, String> {
        self.sealer.seal(about, secret).map_err(|error| error.to_string())
    }

    fn open(&self, about: &str, sealed: &[u8]) -> Result<Secret, String> {
        self.sealer.open(about, sealed).map_err(|error| error.to_string())
    }

    fn successor(&self) -> Result<Arc<dyn Sealing>, String> {
        let sealer = Sealer::successor(&self.data).map_err(|error| error.to_string())?;
        Ok(Arc::new(Self { sealer, data: self.data.clone() }))
    }

    fn succeed(&self) -> Result<(), String> {
        Sealer::succeed(&self.data).map_err(|error| error.to_string())
    }
}

/// The vault of a server, whose key is made with the first of its databases.
///
/// # Errors
/// The key is not there although there are secrets, or it can't be read.
pub(super) async fn open(store: &Sqlite, data: &Path) -> Result<Vault, Problem> {
    let kept = store.sealed_secrets().await.map_err(|error| place::refused(&error, data))?;
    let unreadable = |error: SecretsError| {
        Problem::new(Exit::Environment, "the server's secrets can't be read")
            .with_why(error.to_string())
            .with_remedy("put secrets.key back, which is in no backup; or start with --data elsewhere")
    };
    settle(&kept, data).map_err(unreadable)?;
    let sealer = Sealer::in_directory(data, !kept.is_empty()).map_err(unreadable)?;
    Ok(Vault::new(Arc::new(ByAge { sealer, data: data.to_owned() })))
}

/// A server that was killed while it brought a new key has left two. All secrets were sealed anew at once, so the ones that a key opens
/// say whether it counts.
fn settle(kept: &[SealedSecret], data: &Path) -> Result<(), SecretsError> {
    let Some(next) = Sealer::unsettled(data)? else { return Ok(()) };
    let opens = |sealer: &Sealer| kept.iter().any(|it| sealer.open(&it.place.about(), &it.sealed).is_ok());
    if opens(&next) {
        return Sealer::succeed(data);
    }
    if kept.is_empty() || opens(&Sealer::in_directory(data, true)?) {
        return Sealer::give_up_successor(data);
    }
    // Nothing is thrown away that somebody may still need.
    tracing::error!("neither secrets.key nor secrets.key.next opens any of the server's secrets");
    Ok(())
}

#[cfg(test)]
mod tests {
    use staith_server::store::SecretPlace;

    use super::*;

    fn sealed_by(sealer: &Sealer) -> SealedSecret {
        let place = SecretPlace {
            project: "shop".parse().unwrap(),
            environment: None,
            name: "npm-token".parse().unwrap(),
        };
        let sealed = sealer.seal(&place.about(), &Secret::new("hunter2")).unwrap();
        SealedSecret { place, sealed }
    }

    #[test]
    fn of_two_keys_the_one_that_opens_secrets_counts() {
        let data = tempfile::tempdir().unwrap();
        let at = data.path();
        let old = Sealer::in_directory(at, false).unwrap();
        // Killed before the database had anything by the new key.
        Sealer::successor(at).unwrap();
        let secret = sealed_by(&old);
        settle(std::slice::from_ref(&secret), at).unwrap();
        let now = Sealer::in_directory(at, true).unwrap();
        assert!(now.open("shop//npm-token", &secret.sealed).is_ok());
        assert!(Sealer::unsettled(at).unwrap().is_none());
        // Killed after it had all by the new key.
        let secret = sealed_by(&Sealer::successor(at).unwrap());
        settle(std::slice::from_ref(&secret), at).unwrap();
        let now = Sealer::in_directory(at, true).unwrap();
        assert!(now.open("shop//npm-token", &secret.sealed).is_ok());
        assert!(Sealer::unsettled(at).unwrap().is_none());
        // Neither is it: both stay.
        Sealer::successor(at).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let foreign = sealed_by(&Sealer::in_directory(elsewhere.path(), false).unwrap());
        settle(&[foreign], at).unwrap();
        assert!(Sealer::unsettled(at).unwrap().is_some());
    }
}
