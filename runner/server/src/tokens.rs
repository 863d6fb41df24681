//! Tokens of people: made, listed, revoked.
//!
//! 1. [`Word`]: the token itself, told once. 2. [`TokenAsked`]: what somebody asks for. `make`: how it becomes a token.

mod words;

use axum::{
    Extension, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{delete, get},
};
use serde::{Deserialize, Serialize};
use staith_model::TokenId;

pub use self::words::{Kind, Word, chance};
use crate::{
    api::{Answer, Asked, Body, Caller, Grant, Made, Part, Permission, Problem, Role, Scope, ShownOnce},
    site::Site,
    store::{Actor, NewToken, StoreError, TokenSeen, page},
};

/// How long a token is valid if nobody says, in days.
pub const DAYS: u32 = 90;
/// The longest that a token may be valid, in days.
pub const MOST_DAYS: u32 = 366;
const DAY: u64 = 86_400_000;
/// The longest name of a token, in characters.
const LONGEST_NAME: usize = 80;

/// `POST /api/v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenAsked {
    /// What people call it; it is in the audit log with all that is done by it.
    pub name: String,
    /// What its bearer may; at least one.
    pub grants: Vec<Grant>,
    /// How long it is valid: 90 days if not said, 366 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_days: Option<u32>,
}

/// `GET /api/v1/tokens`: the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPage {
    /// At most as many as were asked for.
    pub tokens: Vec<TokenSeen>,
    /// What to send as `after` for the next ones; none if there are no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<TokenId>,
}

/// The answer to [`TokenAsked`]. The token is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenMade {
    /// By which it is listed and revoked.
    pub id: TokenId,
    /// To be sent as `Authorization: Bearer …`.
    pub token: String,
    /// From when on it counts for nothing, in milliseconds since 1970.
    pub expires: u64,
}

staith_model::masked!(TokenMade, token, id, expires);

impl TokenAsked {
    /// An administrator of everything, for the first token of a server.
    pub fn administrator() -> Self {
        let all = Grant { role: Role::Admin, project: None, environment: None };
        Self { name: "administrator".to_owned(), grants: vec![all], valid_days: Some(MOST_DAYS) }
    }

    fn check(&self) -> Result<(), Problem> {
        let bad = |why: &str| Err(Problem::new(400, "bad-token", "the token can't be made").with_why(why));
        let printable = self.name.chars().all(|c| !c.is_control());
        if self.name.trim().is_empty() || !printable || self.name.chars().count() > LONGEST_NAME {
            return bad("its name is empty, longer than 80 characters, or has control characters");
        }
        if self.grants.is_empty() {
            return bad("it grants nothing");
        }
        if self.grants.iter().any(|grant| grant.project.is_none() && grant.environment.is_some()) {
            return bad("a grant in an environment needs the project that the environment is in");
        }
        match self.valid_days {
            Some(0) => bad("it would be valid for no time"),
            Some(days) if days > MOST_DAYS => bad("a token is valid for 366 days at most"),
            _ => Ok(()),
        }
    }
}

/// Makes a token and keeps its digest.
///
/// # Errors
/// What is asked for is no token, or the store refuses.
pub async fn make(site: &Site, asked: TokenAsked, by: Actor) -> Result<TokenMade, Problem> {
    let (made, token) = prepare(site, asked)?;
    site.store.add_token(token, by, site.clock.unix_millis()).await?;
    Ok(made)
}

/// Makes a token that counts for nothing until the second half of the answer is kept.
///
/// # Errors
/// What is asked for is no token.
pub fn prepare(site: &Site, asked: TokenAsked) -> Result<(TokenMade, NewToken), Problem> {
    asked.check()?;
    let now = site.clock.unix_millis();
    let (id, word) = (TokenId::new(now, chance()?), Word::new(Kind::Person)?);
    let expires = now + u64::from(asked.valid_days.unwrap_or(DAYS)) * DAY;
    let token =
        NewToken { id: id.clone(), digest: word.digest(), name: asked.name, grants: asked.grants, expires };
    Ok((TokenMade { id, token: word.tell(), expires }, token))
}

/// The routes of tokens.
pub fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/tokens", get(list).post(create))
        .route("/api/v1/tokens/{token}", delete(revoke))
}

async fn create(
    State(site): State<Site>,
    caller: Caller,
    Body(asked): Body<TokenAsked>,
) -> Result<(Extension<ShownOnce>, Made<TokenMade>), Problem> {
    caller.must(Permission::Administer, Scope::Server)?;
    let made = make(&site, asked, caller.actor()).await?;
    Ok((Extension(ShownOnce), Made(made)))
}

async fn list(
    State(site): State<Site>,
    caller: Caller,
    Asked(part): Asked<Part<TokenId>>,
) -> Result<Answer<TokenPage>, Problem> {
    caller.must(Permission::Administer, Scope::Server)?;
    let rest = site.store.tokens().await?;
    let rest = rest.into_iter().filter(|token| part.after.as_ref().is_none_or(|after| token.id < *after));
    let (tokens, next) = page::cut(rest, part.most(), |token| token.id.clone());
    Ok(Answer(TokenPage { tokens, next }))
}

async fn revoke(
    State(site): State<Site>,
    caller: Caller,
    Path(token): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.must(Permission::Administer, Scope::Server)?;
    let unknown = || Problem::from(StoreError::Unknown { what: "token", name: token.clone() });
    let id: TokenId = token.parse().map_err(|_| unknown())?;
    site.store.revoke_token(&id, caller.actor(), site.clock.unix_millis()).await?;
    Ok(StatusCode::NO_CONTENT)
}
