//! Secrets, sealed. The store never has a value.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use staith_model::{AttemptId, Name};

use super::{Actor, StoreError};

/// Where a secret is, and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretPlace {
    /// The project that it belongs to.
    pub project: Name,
    /// Only for releases to this environment; for builds if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Name>,
    /// What it is called.
    pub name: Name,
}

impl SecretPlace {
    /// What it is sealed about.
    pub fn about(&self) -> String {
        let environment = self.environment.as_ref().map_or("", Name::as_str);
        // A name has no `/`.
        format!("{}/{environment}/{}", self.project, self.name)
    }
}

/// A secret as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretSeen {
    /// Where it is.
    #[serde(flatten)]
    pub place: SecretPlace,
    /// Whether only runs of protected branches and tags get it.
    pub protected: bool,
    /// When it was set, in milliseconds since 1970.
    pub changed: u64,
}

/// A secret as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Where it is.
    pub place: SecretPlace,
    /// Its value, sealed.
    pub sealed: Vec<u8>,
}

/// Secrets of projects.
#[async_trait]
pub trait Secrets {
    /// Keeps a secret; it replaces the one at its place.
    ///
    /// # Errors
    /// `Unknown` if there is no such project.
    async fn set_secret(
        &self,
        secret: SealedSecret,
        protected: bool,
        by: Actor,
        now: u64,
    ) -> Result<(), StoreError>;

    /// The secrets of a project, by name.
    async fn secrets(&self, project: &Name) -> Result<Vec<SecretSeen>, StoreError>;

    /// Forgets a secret.
    ///
    /// # Errors
    /// `Unknown`.
    async fn remove_secret(&self, place: &SecretPlace, by: Actor, now: u64) -> Result<(), StoreError>;

    /// What a live attempt may have of the secrets that its job names: nothing if it runs the code of a fork, nothing protected if its
    /// branch is not, and nothing of an environment. What is given is in the audit log, in the same transaction, with the attempt and
    /// the names.
    ///
    /// # Errors
    /// `Unknown` if no such attempt is live.
    async fn secrets_of_attempt(
        &self,
        attempt: &AttemptId,
        by: Actor,
        now: u64,
    ) -> Result<Vec<SealedSecret>, StoreError>;

    /// A secret as it is kept; `None` if there is none at this place.
    async fn sealed_secret(&self, place: &SecretPlace) -> Result<Option<SealedSecret>, StoreError>;

    /// How many secrets there are.
    async fn secrets_kept(&self) -> Result<u64, StoreError>;
}
