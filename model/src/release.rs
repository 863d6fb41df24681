//! A release: packages and configuration frozen together. Never edited; any change is another release.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Name, Package};

/// What is deployed: everything by value, so that nothing deleted or edited later can change what a release means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The package.
    pub package: Package,
    /// Where it may go.
    pub environment: Name,
    /// How its process is run there.
    pub process: Process,
    /// How to see that it works.
    pub health: HealthCheck,
}

impl Release {
    /// The identity of the release.
    pub fn digest(&self) -> Digest {
        Digest::of_value("staith.release.v1", self)
    }
}

/// How an application is started and stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments; a program with a `/` in it is looked up in the release's folder, any other in `PATH`.
    pub command: Vec<String>,
    /// Environment, beside what Staith sets: `PORT`, `STAITH_RELEASE` and `STAITH_PACKAGE`.
    pub env: BTreeMap<String, String>,
    /// Seconds between asking it to end and ending it.
    pub stop_seconds: u64,
}

/// How a release proves that it is the one that answers, and well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Path that must answer with a status of 200 to 299.
    pub path: String,
    /// Response header that must hold the release's digest, where the application sends one. Without it, the proof is
    /// that the process which listens is the one that was started from the release's folder.
    pub release_header: Option<String>,
    /// Path whose answer must name the release's digest and no other, where the application's files do that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_file: Option<String>,
    /// Seconds within which it must answer for the first time.
    pub deadline_seconds: u64,
    /// Consecutive good answers that count as healthy.
    pub successes: u32,
}
