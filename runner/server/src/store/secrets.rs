//! Secrets, sealed. The store never has a value.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use staith_model::{AttemptId, Digest, Name};

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
    /// Which value it has, from one on: each time that it is set or rotated, it has the next.
    pub version: u64,
}

/// A secret as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Where it is.
    pub place: SecretPlace,
    /// Its value, sealed.
    pub sealed: Vec<u8>,
}

/// `POST /api/v1/deployer/secrets`: secrets of an environment that a release there needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseSecretsAsked {
    /// The project.
    pub project: Name,
    /// Where the release goes.
    pub environment: Name,
    /// Which release: whose code it is says which secrets it may have.
    pub of: SecretsOf,
    /// Which secrets.
    pub names: BTreeSet<Name>,
    /// What the deployer has of them already, by its version: it is not given again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub known: BTreeMap<Name, String>,
}

/// What secrets are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretsOf {
    /// A release.
    Release(Digest),
    /// One that is being made: its number in the project.
    Making(u64),
}

/// A secret that a release may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseSecret {
    /// As it is kept.
    pub sealed: SealedSecret,
    /// By which it is told from other values at its place.
    pub version: String,
}

/// What there is of what [`ReleaseSecretsAsked`] names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReleaseSecretsFound {
    /// What is given.
    pub given: Vec<ReleaseSecret>,
    /// What the deployer has.
    pub same: BTreeSet<Name>,
    /// What it may not have for this release.
    pub withheld: BTreeSet<Name>,
}

/// Seals a secret anew. The text says why it can't, without the value.
pub type Reseal = Box<dyn FnMut(&SealedSecret) -> Result<Vec<u8>, String> + Send>;

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

    /// Gives a secret that is there another value; whom it is for stays. Its new version.
    ///
    /// # Errors
    /// `Unknown`.
    async fn rotate_secret(&self, secret: SealedSecret, by: Actor, now: u64) -> Result<u64, StoreError>;

    /// Seals all secrets anew, or none. How many there are.
    ///
    /// # Errors
    /// `Damaged` if one can't be.
    async fn reseal_secrets(&self, reseal: Reseal, by: Actor, now: u64) -> Result<u64, StoreError>;

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

    /// What a release may have of an environment's secrets: nothing protected if no protected code has made it, and nothing at all if
    /// there is no such release that goes there. Each that is given is in the audit log, in the same transaction, with the release and
    /// its version.
    async fn secrets_of_release(
        &self,
        asked: ReleaseSecretsAsked,
        by: Actor,
        now: u64,
    ) -> Result<ReleaseSecretsFound, StoreError>;

    /// A secret as it is kept; `None` if there is none at this place.
    async fn sealed_secret(&self, place: &SecretPlace) -> Result<Option<SealedSecret>, StoreError>;

    /// All secrets, to see which key opens them.
    async fn sealed_secrets(&self) -> Result<Vec<SealedSecret>, StoreError>;
}
