//! Who has a token.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use staith_model::{Digest, TokenId};

use super::{Actor, StoreError};
use crate::api::{Grant, Who};

/// A token that is to be.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its id.
    pub id: TokenId,
    /// Of the token itself, which is not kept.
    pub digest: Digest,
    /// What people call it.
    pub name: String,
    /// What its bearer may.
    pub grants: Vec<Grant>,
    /// From when on it counts for nothing, in milliseconds since 1970.
    pub expires: u64,
}

/// A token of a person, as far as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSeen {
    /// Its id.
    pub id: TokenId,
    /// What people call it.
    pub name: String,
    /// What its bearer may.
    pub grants: Vec<Grant>,
    /// When it was made, in milliseconds since 1970.
    pub created: u64,
    /// From when on it counts for nothing.
    pub expires: u64,
    /// When it was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<u64>,
}

/// Tokens are known by their digests only.
#[async_trait]
pub trait Access {
    /// Who may use the token with this digest at this time (milliseconds since 1970): a person with what it grants, a runner in a
    /// session, or a live attempt. `None` if it is unknown, expired, revoked or its attempt ended.
    async fn who_has(&self, token: &Digest, now: u64) -> Result<Option<Who>, StoreError>;

    /// Keeps a token of a person.
    async fn add_token(&self, token: NewToken, by: Actor, now: u64) -> Result<(), StoreError>;

    /// All tokens of people, the newest first, also those that count for nothing any more.
    async fn tokens(&self) -> Result<Vec<TokenSeen>, StoreError>;

    /// From now on the token counts for nothing. Again is the same as once.
    ///
    /// # Errors
    /// `Unknown`.
    async fn revoke_token(&self, id: &TokenId, by: Actor, now: u64) -> Result<(), StoreError>;
}
