//! What steps came to, for other runners.

use std::collections::BTreeSet;

use async_trait::async_trait;
use staith_model::{
    AttemptId, Digest, Name,
    service::{StepCame, StepGiven},
};

use super::StoreError;

/// The bytes of a layer, by the project that they are of and their digest.
pub type BlobOf = (Name, Digest);

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepCaps {
    /// Bytes of layers of all projects.
    pub bytes: u64,
    /// Records.
    pub records: u64,
}

/// What steps came to.
///
/// Whose word counts is decided here, by the trust of the runs that attempts are of, and never by what somebody says of themselves.
#[async_trait]
pub trait Steps {
    /// Notes what a step came to: for the other jobs of the attempt's run, and, with a key, for later runs of the project at the trust of
    /// this one. What was noted before under the same name, or under the same key at the same trust, is forgotten; what was noted at
    /// other levels of trust stays as it is.
    ///
    /// # Errors
    /// [`StoreError::StaleFence`] if the attempt does not count any more; [`StoreError::Conflict`] if the step is none of its job's.
    async fn note_step(
        &self,
        attempt: &AttemptId,
        step: &Name,
        given: StepGiven,
        now: u64,
    ) -> Result<(), StoreError>;

    /// What a step of the attempt's own run came to, as another of its attempts noted.
    async fn step_of_run(&self, attempt: &AttemptId, step: &Name) -> Result<Option<StepCame>, StoreError>;

    /// What a step with this key came to, in runs of the attempt's project that are trusted as much as the attempt's or more: of these
    /// the most trusted one. Counts as a use.
    async fn step_known(
        &self,
        attempt: &AttemptId,
        key: &Digest,
        now: u64,
    ) -> Result<Option<StepCame>, StoreError>;

    /// The project of a layer's bytes and their length, if the attempt may read a record that names them.
    async fn layer_for(&self, attempt: &AttemptId, blob: &Digest) -> Result<Option<(Name, u64)>, StoreError>;

    /// Forgets what was longest of no use, until what is left is within the bounds; nothing of runs that are not over. Gives the layers
    /// that no record names any more.
    async fn forget_steps(&self, caps: StepCaps) -> Result<Vec<BlobOf>, StoreError>;

    /// The layers that records name.
    async fn layers_named(&self) -> Result<BTreeSet<BlobOf>, StoreError>;
}
