//! Proofs that a host has the private half of a key.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::signature::{ED25519, UnparsedPublicKey};
use staith_model::{
    RunnerId,
    service::{EnrolAsked, SessionAsked},
};

use crate::api::Problem;

/// The public half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key([u8; 32]);

/// What is signed to become a runner.
pub(super) fn of_enrolment(asked: &EnrolAsked) -> String {
    format!("staith-enrol\n{}\n{}", asked.code, asked.name)
}

/// What is signed for a session.
pub(super) fn of_session(runner: &RunnerId, asked: &SessionAsked) -> String {
    format!("staith-session\n{runner}\n{}", asked.nonce)
}

impl Key {
    pub(super) fn read(text: &str) -> Result<Self, Problem> {
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| {
            Problem::new(400, "bad-key", "the public key is none")
                .with_why("an ed25519 key is 32 bytes, in base 64 with padding")
        })
    }

    /// In the one form that the encoding has.
    pub(super) fn text(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Goes on only if `said` was signed with the private half.
    pub(super) fn check(&self, said: &str, proof: &str) -> Result<(), Problem> {
        let proved = STANDARD.decode(proof).is_ok_and(|signature| {
            UnparsedPublicKey::new(&ED25519, self.0).verify(said.as_bytes(), &signature).is_ok()
        });
        let refused = || {
            Problem::new(403, "bad-proof", "the signature is not by the runner's key, or of something else")
        };
        proved.then_some(()).ok_or_else(refused)
    }
}
