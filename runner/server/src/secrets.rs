//! Secrets of projects: set by administrators, given to attempts that may have them, shown to nobody.
//!
//! The database has them sealed. What seals them comes in through [`Sealing`]: its key lies beside the database and not in it, so that
//! who reads a backup reads no secret, and each value is bound to its place, so that who can write to the database can't move one to
//! where it would be given to somebody else.

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::{Path, Query, State},
    http::StatusCode,
    routing::{get, put},
};
use serde::{Deserialize, Serialize};
use staith_model::{AttemptId, Name, Secret};

use crate::{
    api::{Answer, Body, Caller, Permission, Problem, Scope},
    site::Site,
    store::{SealedSecret, SecretPlace, SecretSeen},
};

/// The longest value, in bytes.
const LONGEST: usize = 64 << 10;
/// What stands in the place of an environment for secrets by which the server and a forge know each other. As with all environments,
/// no build gets them.
pub const FORGE: &str = "staith.forge";

/// Encrypts and decrypts values, each bound to what it is about.
pub trait Sealing: fmt::Debug + Send + Sync + 'static {
    /// Encrypts.
    ///
    /// # Errors
    /// Why not, without the value.
    fn seal(&self, about: &str, secret: &Secret) -> Result<Vec<u8>, String>;

    /// Decrypts what was sealed about the same thing.
    ///
    /// # Errors
    /// Why not, without the value.
    fn open(&self, about: &str, sealed: &[u8]) -> Result<Secret, String>;
}

/// What seals and opens the secrets of a server, if anything does.
#[derive(Debug, Clone, Default)]
pub struct Vault(Option<Arc<dyn Sealing>>);

impl Vault {
    /// A vault that seals by this.
    pub fn new(sealing: Arc<dyn Sealing>) -> Self {
        Self(Some(sealing))
    }

    /// What seals, for who needs no answer for the API.
    pub(crate) fn seals(&self) -> Option<&dyn Sealing> {
        self.0.as_deref()
    }

    fn sealing(&self) -> Result<&dyn Sealing, Problem> {
        self.0.as_deref().ok_or_else(|| Problem::new(501, "no-vault", "the server has no key for secrets"))
    }
}

/// `PUT /api/v1/projects/{project}/secrets/{name}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretAsked {
    /// The value.
    pub value: String,
    /// Whether only runs of protected branches and tags get it.
    #[serde(default)]
    pub protected: bool,
    /// Only for releases to this environment; [`FORGE`] is for the project's forge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Name>,
}

impl fmt::Debug for SecretAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretAsked")
            .field("value", &"***")
            .field("protected", &self.protected)
            .field("environment", &self.environment)
            .finish()
    }
}

/// The answer to `GET /api/v1/attempts/{attempt}/secrets`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretsGiven {
    /// Values by names.
    pub secrets: std::collections::BTreeMap<Name, String>,
}

impl fmt::Debug for SecretsGiven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretsGiven").field("secrets", &self.secrets.keys()).finish()
    }
}

/// Which environment.
#[derive(Debug, Deserialize)]
struct Part {
    environment: Option<Name>,
}

/// The routes of secrets.
pub fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/projects/{project}/secrets", get(list))
        .route("/api/v1/projects/{project}/secrets/{secret}", put(set).delete(remove))
        .route("/api/v1/attempts/{attempt}/secrets", get(give))
}

fn a_name(text: &str) -> Result<Name, Problem> {
    text.parse().map_err(|bad: staith_model::NotAName| {
        Problem::new(400, "bad-name", "the address has a name that is none").with_why(bad.to_string())
    })
}

async fn set(
    State(site): State<Site>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    Body(asked): Body<SecretAsked>,
) -> Result<StatusCode, Problem> {
    let project = a_name(&project)?;
    caller.must(Permission::Administer, Scope::Project(&project))?;
    let place = SecretPlace { project, environment: asked.environment, name: a_name(&name)? };
    let value = Secret::new(asked.value);
    let length = value.expose_to(str::len);
    if length == 0 || length > LONGEST {
        return Err(Problem::new(400, "bad-secret", "the secret can't be kept")
            .with_why(format!("it has {length} bytes; from 1 to {LONGEST} are kept")));
    }
    let sealed = site.vault.sealing()?.seal(&place.about(), &value).map_err(|why| {
        tracing::error!(why, "a secret can't be sealed");
        Problem::new(500, "not-sealed", "the server can't encrypt the secret")
    })?;
    let now = site.clock.unix_millis();
    site.store.set_secret(SealedSecret { place, sealed }, asked.protected, caller.actor(), now).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
) -> Result<Answer<Vec<SecretSeen>>, Problem> {
    let project = a_name(&project)?;
    caller.must(Permission::Administer, Scope::Project(&project))?;
    Ok(Answer(site.store.secrets(&project).await?))
}

async fn remove(
    State(site): State<Site>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    Query(part): Query<Part>,
) -> Result<StatusCode, Problem> {
    let project = a_name(&project)?;
    caller.must(Permission::Administer, Scope::Project(&project))?;
    let place = SecretPlace { project, environment: part.environment, name: a_name(&name)? };
    site.store.remove_secret(&place, caller.actor(), site.clock.unix_millis()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn give(
    State(site): State<Site>,
    caller: Caller,
    Path(attempt): Path<String>,
) -> Result<Answer<SecretsGiven>, Problem> {
    let attempt: AttemptId = attempt.parse().map_err(|bad: staith_model::NotAnId| {
        Problem::new(404, "unknown", "there is no such attempt").with_why(bad.to_string())
    })?;
    caller.must_be(&attempt)?;
    let now = site.clock.unix_millis();
    let sealed = site.store.secrets_of_attempt(&attempt, caller.actor(), now).await?;
    let mut secrets = std::collections::BTreeMap::new();
    for secret in sealed {
        let opened = site.vault.sealing()?.open(&secret.place.about(), &secret.sealed).map_err(|why| {
            tracing::error!(secret = secret.place.about(), why, "a secret can't be opened");
            Problem::new(500, "not-opened", format!("the secret {} can't be decrypted", secret.place.name))
                .with_remedy("set it again; the server's log says why")
        })?;
        secrets.insert(secret.place.name, opened.expose_to(str::to_owned));
    }
    Ok(Answer(SecretsGiven { secrets }))
}
