//! Whose code made the packages that were pushed.

use async_trait::async_trait;
use staith_model::{AttemptId, Digest, Name, RunId, Version, service::Trust};

use super::{Actor, StoreError};

/// A manifest that is about to be published.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// The project in whose store it is.
    pub project: Name,
    /// The package.
    pub name: Name,
    /// The manifest.
    pub manifest: Digest,
    /// The attempt that pushes it; a person if there is none.
    pub attempt: Option<AttemptId>,
    /// How far it may be believed.
    pub trust: Trust,
    /// On whose behalf.
    pub by: Actor,
}

/// What is known of where a manifest came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageOrigin {
    /// How far it may be believed: the highest of those that pushed these same bytes.
    pub trust: Trust,
    /// The run whose attempt pushed it; none if a person did.
    pub run: Option<RunId>,
}

/// A version that is about to make way.
#[derive(Debug, Clone)]
pub struct Yielded {
    /// The project in whose store it is.
    pub project: Name,
    /// The package.
    pub name: Name,
    /// The version.
    pub version: Version,
    /// The manifest that it means.
    pub had: Digest,
    /// How far the maker of that is trusted.
    pub trust: Trust,
    /// The manifest that it is to mean.
    pub to: Digest,
    /// On whose behalf.
    pub by: Actor,
}

/// Origins of packages.
#[async_trait]
pub trait Packages {
    /// Whether there is such a project.
    async fn knows_project(&self, project: &Name) -> Result<bool, StoreError>;

    /// Writes down who pushes a manifest, before it is published. The same bytes pushed again by more trusted code are trusted more
    /// from then on; pushed again by less trusted code, nothing changes.
    ///
    /// # Errors
    /// [`StoreError::StaleFence`] if the attempt does not count any more.
    async fn note_push(&self, pushed: Pushed, now: u64) -> Result<(), StoreError>;

    /// Writes into the audit log that a version makes way for what more trusted code has made.
    async fn note_yield(&self, yielded: Yielded, now: u64) -> Result<(), StoreError>;

    /// Where a manifest of a project's package came from; `None` if nobody pushed it here, which is to be trusted like a fork's.
    async fn package_origin(
        &self,
        project: &Name,
        name: &Name,
        manifest: &Digest,
    ) -> Result<Option<PackageOrigin>, StoreError>;
}
