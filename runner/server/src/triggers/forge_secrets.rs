//! Secrets of forges as the server keeps them: sealed, beside those of builds, and given to none.

use std::sync::Arc;

use async_trait::async_trait;
use staith_model::{Name, Secret};

use super::ForgeSecrets;
use crate::{
    clock::Clock,
    secrets::{FORGE, Vault},
    store::{Actor, SealedSecret, SecretPlace, Store, StoreError},
};

/// Those that are sealed in the database. What was kept elsewhere before is sealed when it is first asked for, and from then on that is
/// what counts.
#[derive(Debug)]
pub struct Sealed {
    store: Arc<dyn Store>,
    vault: Vault,
    clock: Clock,
    before: Arc<dyn ForgeSecrets>,
}

impl Sealed {
    /// `before` is where they were kept before there was a vault.
    pub fn new(store: Arc<dyn Store>, vault: Vault, clock: Clock, before: Arc<dyn ForgeSecrets>) -> Self {
        Self { store, vault, clock, before }
    }

    async fn opened(&self, place: &SecretPlace) -> Result<Option<Secret>, String> {
        let vault = self.vault.hold().await;
        let sealed = self.store.sealed_secret(place).await.map_err(|error| error.to_string())?;
        let (Some(sealed), Some(sealing)) = (sealed, vault.seals()) else { return Ok(None) };
        sealing.open(&place.about(), &sealed.sealed).map(Some)
    }

    async fn take_over(&self, place: &SecretPlace, value: &Secret) -> Result<(), String> {
        let vault = self.vault.hold().await;
        let Some(sealing) = vault.seals() else { return Ok(()) };
        let sealed = SealedSecret { place: place.clone(), sealed: sealing.seal(&place.about(), value)? };
        let now = self.clock.unix_millis();
        match self.store.set_secret(sealed, false, Actor::server(), now).await {
            Ok(()) => {
                tracing::info!(
                    secret = place.about(),
                    "a forge's secret is kept in the server's database from now on"
                );
                Ok(())
            }
            // The project was removed meanwhile: there is nobody to keep it for.
            Err(StoreError::Unknown { .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[async_trait]
impl ForgeSecrets for Sealed {
    async fn value(&self, project: &Name, secret: &str) -> Result<Option<Secret>, String> {
        // Names that were allowed elsewhere and are not here stay where they are.
        let (Ok(name), Ok(environment)) = (secret.parse::<Name>(), FORGE.parse::<Name>()) else {
            return self.before.value(project, secret).await;
        };
        let place = SecretPlace { project: project.clone(), environment: Some(environment), name };
        if let Some(value) = self.opened(&place).await? {
            return Ok(Some(value));
        }
        let found = self.before.value(project, secret).await?;
        if let Some(value) = &found {
            self.take_over(&place, value).await?;
        }
        Ok(found)
    }
}
