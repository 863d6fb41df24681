//! What others know of steps that passed: a cache that is not on this machine. The seam to whoever can ask others.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use staith_model::{Digest, Name};

use super::StepRecord;
use crate::layers::LayerStore;

/// A step that passed here.
#[derive(Debug, Clone, Copy)]
pub struct StepPassed<'a> {
    /// The step.
    pub step: &'a Name,
    /// Its key. None where what it came to is nothing that others may be told under a key: it had secrets, or was run because of what
    /// became of others.
    pub key: Option<&'a Digest>,
    /// What it came to.
    pub record: &'a StepRecord,
    /// Whether it was run; otherwise it was known here.
    pub ran: bool,
}

/// Others who know of steps. Nothing that goes wrong there may fail a step: what can't be had is unknown.
#[async_trait]
pub trait Elsewhere: fmt::Debug + Send + Sync {
    /// The record of a step under a key. What it left has been put into the store, and is what the record says, byte by byte. Whoever
    /// implements this decides whose word counts. Cancel-safe.
    async fn find(&self, key: &Digest, layers: &Arc<LayerStore>) -> Option<StepRecord>;

    /// Hears that a step passed here. Must return at once.
    fn passed(&self, passed: StepPassed<'_>, layers: &Arc<LayerStore>);
}
