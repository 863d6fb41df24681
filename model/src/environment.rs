//! Where releases go, as a project's pipeline describes it.

use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{HealthCheck, Name, Process};

/// An environment on this machine: two pools behind a proxy. Other kinds of environment will be other types beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalEnvironment {
    /// What people call it.
    pub name: Name,
    /// Where its proxy listens.
    pub listen: SocketAddr,
    /// How the application is run.
    pub process: Process,
    /// How to see that it works.
    pub health: HealthCheck,
    /// Seconds that requests in flight are given when traffic has moved away from them.
    pub drain_seconds: u64,
    /// Releases kept on disk beside those in the pools; going back to one of them moves no bytes.
    pub keep_releases: u32,
}
