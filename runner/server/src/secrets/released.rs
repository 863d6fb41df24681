//! Secrets of environments: for releases there, and for nobody but the process that deploys.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use axum::extract::State;
use serde::{Deserialize, Serialize};
use staith_model::Name;

use super::opened;
use crate::{
    api::{Answer, Body, Caller, Problem},
    site::Site,
    store::ReleaseSecretsAsked,
};

/// The answer to [`ReleaseSecretsAsked`]. What is named and in none of these is not set for the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseSecrets {
    /// What the deployer did not have yet.
    pub given: BTreeMap<Name, GivenSecret>,
    /// What it has as it is now.
    pub same: BTreeSet<Name>,
    /// What is set, and not for this release.
    pub withheld: BTreeSet<Name>,
}

/// A secret on its way to the deployer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenSecret {
    /// By which it is told from other values at its place.
    pub version: String,
    /// The value.
    pub value: String,
}

impl fmt::Debug for GivenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GivenSecret").field("version", &self.version).field("value", &"***").finish()
    }
}

pub(super) async fn give(
    State(site): State<Site>,
    caller: Caller,
    Body(asked): Body<ReleaseSecretsAsked>,
) -> Result<Answer<ReleaseSecrets>, Problem> {
    caller.must_be_the_deployer()?;
    // What stands in the place of an environment is none.
    if asked.environment.is_reserved() {
        let what = format!("no environment is called `{}`", asked.environment);
        return Err(Problem::new(422, "bad-environment", what));
    }
    let now = site.clock.unix_millis();
    let vault = site.vault.hold().await;
    let found = site.store.secrets_of_release(asked, caller.actor(), now).await?;
    let mut given = BTreeMap::new();
    for secret in found.given {
        let value = opened(&vault, &secret.sealed)?.expose_to(str::to_owned);
        given.insert(secret.sealed.place.name, GivenSecret { version: secret.version, value });
    }
    Ok(Answer(ReleaseSecrets { given, same: found.same, withheld: found.withheld }))
}
