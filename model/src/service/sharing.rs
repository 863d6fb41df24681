//! What steps came to, on its way from one runner to another.

use serde::{Deserialize, Serialize};

use crate::{Digest, RunId, StepResults};

/// The largest layer that a server keeps, in bytes as it travels: what is larger is made again where it is needed.
pub const LARGEST_LAYER: u64 = 2 << 30;
/// The most bytes of a layer that are sent at once.
pub const LAYER_PIECE: u64 = 4 << 20;

/// A step that passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepCame {
    /// What it left; none where it declares no outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<SentLayer>,
    /// What its reports said.
    #[serde(default)]
    pub results: StepResults,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// The run in which it was run.
    pub run: RunId,
    /// When it ended, in milliseconds since 1970.
    pub at: u64,
}

/// A layer as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentLayer {
    /// What it is, by content: whoever takes it compares.
    pub layer: Digest,
    /// The digest of the bytes in which it travels, by which the server keeps it.
    pub blob: Digest,
    /// How many bytes that are.
    pub length: u64,
}

/// `PUT /api/v1/attempts/{attempt}/steps/{step}`. The bytes of a layer that the server has not were sent before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepGiven {
    /// The attempt's.
    pub fence: u64,
    /// The digest of all that the step saw, by which later runs find it. None where it is for other jobs of its run only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// What it came to.
    pub came: StepCame,
}
