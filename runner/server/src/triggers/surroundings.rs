//! What triggers need of the world outside.

use std::{collections::BTreeSet, fmt, sync::Arc};

use async_trait::async_trait;
use staith_model::{Name, Secret};

use super::{
    clocks::Clocks,
    planner::{NoPlanner, Planner},
};

/// Secrets by which a forge and the server prove to each other who they are.
#[async_trait]
pub trait ForgeSecrets: fmt::Debug + Send + Sync {
    /// The value of a secret of a project; `None` if there is none of this name.
    ///
    /// # Errors
    /// Why it can't be had now, without anything of its value.
    async fn value(&self, project: &Name, secret: &str) -> Result<Option<Secret>, String>;
}

/// No secrets at all.
#[derive(Debug, Clone, Copy)]
struct NoSecrets;

#[async_trait]
impl ForgeSecrets for NoSecrets {
    async fn value(&self, _: &Name, _: &str) -> Result<Option<Secret>, String> {
        Ok(None)
    }
}

/// What triggers need of the world outside. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Who reads repositories and makes plans.
    pub planner: Arc<dyn Planner>,
    /// Secrets of webhooks, and tokens for statuses.
    pub secrets: Arc<dyn ForgeSecrets>,
    /// Hosts of forges that may be spoken to though they are on this machine or beside it, and without TLS. The administrator of the
    /// server names them, not that of a project.
    pub allowed_hosts: Arc<BTreeSet<String>>,
    /// What the projects' own pipelines say of clocks.
    pub clocks: Clocks,
}

impl Default for Surroundings {
    /// A server that reaches nothing: what arrives is written down and waits.
    fn default() -> Self {
        Self {
            planner: Arc::new(NoPlanner),
            secrets: Arc::new(NoSecrets),
            allowed_hosts: Arc::default(),
            clocks: Clocks::default(),
        }
    }
}
