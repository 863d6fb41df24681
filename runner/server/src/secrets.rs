//! Secrets of projects: set by administrators, given to attempts that may have them, or, those of an environment, to the process that
//! deploys ([`ReleaseSecrets`]); shown to nobody.
//!
//! The database has them sealed. What seals them comes in through [`Sealing`]: its key lies beside the database and not in it, so that
//! who reads a backup reads no secret, and each value is bound to its place, so that who can write to the database can't move one to
//! where it would be given to somebody else.

mod released;

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::{Path, Query, State},
    http::StatusCode,
    routing::{get, post, put},
};
use serde::{Deserialize, Serialize};
use staith_model::{AttemptId, Name, Secret};
use tokio::sync::{RwLock, RwLockReadGuard};

use crate::{
    api::{Answer, Asked, Body, Caller, Part, Permission, Problem, Scope},
    site::Site,
    store::{Actor, SealedSecret, SecretPlace, SecretSeen, page},
};

pub use self::released::{GivenSecret, ReleaseSecrets};

/// The longest value, in bytes.
const LONGEST: usize = 64 << 10;
/// What stands in the place of an environment for secrets by which the server and a forge know each other. As with all environments,
/// no build gets them.
pub const FORGE: &str = "staith.forge";

/// `GET /api/v1/projects/{project}/secrets`: those of builds first, then by environment; each by their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretPage {
    /// At most as many as were asked for; never their values.
    pub secrets: Vec<SecretSeen>,
    /// What to send as `after` for the next ones; none if there are no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<SecretAt>,
}

/// A place in such a list: `NAME`, or `ENVIRONMENT/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct SecretAt(Option<String>, String);

impl SecretAt {
    fn of(seen: &SecretSeen) -> Self {
        Self(seen.place.environment.as_ref().map(ToString::to_string), seen.place.name.to_string())
    }
}

impl From<String> for SecretAt {
    fn from(text: String) -> Self {
        match text.split_once('/') {
            Some((environment, name)) => Self(Some(environment.to_owned()), name.to_owned()),
            None => Self(None, text),
        }
    }
}

impl From<SecretAt> for String {
    fn from(SecretAt(environment, name): SecretAt) -> Self {
        environment.map_or_else(|| name.clone(), |environment| format!("{environment}/{name}"))
    }
}

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

    /// The same with a new key, which is kept beside this one's from now on, so that either is there whatever happens.
    ///
    /// # Errors
    /// Why there is none.
    fn successor(&self) -> Result<Arc<dyn Sealing>, String>;

    /// Of a successor: all is sealed with its key, and the key before it goes.
    ///
    /// # Errors
    /// Why not. Both keys are then there, and whoever opens the vault next has to find out which counts.
    fn succeed(&self) -> Result<(), String>;
}

/// What seals and opens the secrets of a server, if anything does. Cheap to clone.
///
/// Whoever seals or opens one holds it from before it reads the database until after it has written there, so that all of that is by
/// one key; whoever brings another key has it alone.
#[derive(Debug, Clone, Default)]
pub struct Vault(Arc<RwLock<Option<Arc<dyn Sealing>>>>);

/// A vault that is held.
pub(crate) struct Held<'a>(RwLockReadGuard<'a, Option<Arc<dyn Sealing>>>);

impl Vault {
    /// A vault that seals by this.
    pub fn new(sealing: Arc<dyn Sealing>) -> Self {
        Self(Arc::new(RwLock::new(Some(sealing))))
    }

    /// Holds it, for one secret or more.
    pub(crate) async fn hold(&self) -> Held<'_> {
        Held(self.0.read().await)
    }
}

impl Held<'_> {
    /// What seals, for who needs no answer for the API.
    pub(crate) fn seals(&self) -> Option<&dyn Sealing> {
        self.0.as_deref()
    }

    fn sealing(&self) -> Result<&dyn Sealing, Problem> {
        self.0.as_deref().ok_or_else(no_vault)
    }

    fn seal(&self, place: &SecretPlace, value: &Secret) -> Result<Vec<u8>, Problem> {
        self.sealing()?.seal(&place.about(), value).map_err(|why| {
            tracing::error!(why, "a secret can't be sealed");
            Problem::new(500, "not-sealed", "the server can't encrypt the secret")
        })
    }
}

fn no_vault() -> Problem {
    Problem::new(501, "no-vault", "the server has no key for secrets")
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

staith_model::masked!(SecretAsked, value, protected, environment);

/// `POST /api/v1/projects/{project}/secrets/{name}/rotate`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationAsked {
    /// The new value.
    pub value: String,
    /// The environment that the secret is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Name>,
}

staith_model::masked!(RotationAsked, value, environment);

/// The answer to [`RotationAsked`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotated {
    /// The secret's version from now on.
    pub version: u64,
}

/// The answer to `POST /api/v1/secrets/rotate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resealed {
    /// How many secrets were sealed with the new key.
    pub secrets: u64,
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
struct Of {
    environment: Option<Name>,
}

/// The routes of secrets.
pub fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/projects/{project}/secrets", get(list))
        .route("/api/v1/projects/{project}/secrets/{secret}", put(set).delete(remove))
        .route("/api/v1/projects/{project}/secrets/{secret}/rotate", post(rotate))
        .route("/api/v1/secrets/rotate", post(reseal))
        .route("/api/v1/attempts/{attempt}/secrets", get(give))
        .route("/api/v1/deployer/secrets", post(released::give))
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
    let value = a_value(asked.value)?;
    let vault = site.vault.hold().await;
    let sealed = vault.seal(&place, &value)?;
    let now = site.clock.unix_millis();
    site.store.set_secret(SealedSecret { place, sealed }, asked.protected, caller.actor(), now).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn a_value(text: String) -> Result<Secret, Problem> {
    let value = Secret::new(text);
    let length = value.expose_to(str::len);
    if length == 0 || length > LONGEST {
        return Err(Problem::new(400, "bad-secret", "the secret can't be kept")
            .with_why(format!("it has {length} bytes; from 1 to {LONGEST} are kept")));
    }
    Ok(value)
}

async fn rotate(
    State(site): State<Site>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    Body(asked): Body<RotationAsked>,
) -> Result<Answer<Rotated>, Problem> {
    let project = a_name(&project)?;
    caller.must(Permission::Administer, Scope::Project(&project))?;
    let place = SecretPlace { project, environment: asked.environment, name: a_name(&name)? };
    let value = a_value(asked.value)?;
    let vault = site.vault.hold().await;
    let sealed = vault.seal(&place, &value)?;
    let (by, now) = (caller.actor(), site.clock.unix_millis());
    let version = site.store.rotate_secret(SealedSecret { place, sealed }, by, now).await?;
    Ok(Answer(Rotated { version }))
}

async fn reseal(State(site): State<Site>, caller: Caller) -> Result<Answer<Resealed>, Problem> {
    caller.must(Permission::Administer, Scope::Server)?;
    // A caller that goes away must not leave the vault with a key that opens nothing any more.
    let resealing = tokio::spawn(reseal_all(site, caller.actor()));
    let secrets = resealing.await.map_err(|_| Problem::new(500, "bug", "the server has a bug"))??;
    Ok(Answer(Resealed { secrets }))
}

/// Seals all secrets with a new key. The new key is on the disk before anything is sealed with it, and the old one until nothing is
/// sealed with that, so a server that is killed anywhere finds what it needs.
async fn reseal_all(site: Site, by: Actor) -> Result<u64, Problem> {
    let mut held = site.vault.0.write().await;
    let old = held.clone().ok_or_else(no_vault)?;
    let no_key = |why: String| {
        tracing::error!(why, "there is no new key for secrets");
        Problem::new(500, "no-key", "the server can't make a new key for secrets").with_why(why)
    };
    let new = old.successor().map_err(no_key)?;
    let to = Arc::clone(&new);
    let anew = move |secret: &SealedSecret| {
        let about = secret.place.about();
        to.seal(&about, &old.open(&about, &secret.sealed)?)
    };
    let secrets = site.store.reseal_secrets(Box::new(anew), by, site.clock.unix_millis()).await?;
    *held = Some(Arc::clone(&new));
    new.succeed().map_err(|why| {
        tracing::error!(why, "the old key for secrets can't be replaced by the new one");
        Problem::new(500, "key-beside", "the secrets have a new key, which lies beside the old one")
            .with_why(why)
            .with_remedy(
                "see to the server's directory and start the server again: it finds out which key counts",
            )
    })?;
    Ok(secrets)
}

async fn list(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
    Asked(part): Asked<Part<SecretAt>>,
) -> Result<Answer<SecretPage>, Problem> {
    let project = a_name(&project)?;
    caller.must(Permission::Administer, Scope::Project(&project))?;
    let rest = site.store.secrets(&project).await?;
    let rest =
        rest.into_iter().filter(|seen| part.after.as_ref().is_none_or(|after| SecretAt::of(seen) > *after));
    let (secrets, next) = page::cut(rest, part.most(), SecretAt::of);
    Ok(Answer(SecretPage { secrets, next }))
}

async fn remove(
    State(site): State<Site>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    Query(part): Query<Of>,
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
    let vault = site.vault.hold().await;
    let sealed = site.store.secrets_of_attempt(&attempt, caller.actor(), now).await?;
    let mut secrets = std::collections::BTreeMap::new();
    for secret in sealed {
        let value = opened(&vault, &secret)?;
        secrets.insert(secret.place.name, value.expose_to(str::to_owned));
    }
    Ok(Answer(SecretsGiven { secrets }))
}

fn opened(vault: &Held<'_>, secret: &SealedSecret) -> Result<Secret, Problem> {
    vault.sealing()?.open(&secret.place.about(), &secret.sealed).map_err(|why| {
        tracing::error!(secret = secret.place.about(), why, "a secret can't be opened");
        Problem::new(500, "not-opened", format!("the secret {} can't be decrypted", secret.place.name))
            .with_remedy("set it again; the server's log says why")
    })
}
