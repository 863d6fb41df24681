//! Requests and answers between runners and their server, version 1. All times are lengths in milliseconds, so that no clocks are
//! compared.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{AttemptOutcome, JobSpec, TargetOf};
use crate::{AttemptId, Digest, Name, RunnerId, masked};

/// `POST /api/v1/runners`: a host asks to become a runner.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolAsked {
    /// The code that an operator was given; it is used up by this.
    pub code: String,
    /// What people call the host.
    pub name: Name,
    /// The host's ed25519 key, 32 bytes in base 64. The private half never leaves the host.
    pub public_key: String,
    /// The signature of `staith-enrol\n` + code + `\n` + name, in base 64: that the host has the private half.
    pub proof: String,
    /// What it offers, beside what the code gives.
    pub labels: BTreeSet<Name>,
    /// The version of its program.
    pub version: String,
}

/// The answer to [`EnrolAsked`]. The same question with the same key gets the same answer again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Who the host is from now on.
    pub runner: RunnerId,
    /// All its labels.
    pub labels: BTreeSet<Name>,
    /// Jobs go to pools.
    pub pool: Name,
    /// Whether it gets one job only.
    pub ephemeral: bool,
    /// The machine of an environment that it is there for; `None` where it builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetOf>,
}

/// `POST /api/v1/runners/{runner}/sessions`: a runner proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionAsked {
    /// Used once: 26 characters, an id.
    pub nonce: String,
    /// The signature of `staith-session\n` + runner + `\n` + nonce, in base 64.
    pub proof: String,
    /// The version of its program.
    pub version: String,
}

/// The answer to [`SessionAsked`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// To be sent as `Authorization: Bearer …` with what a runner asks.
    pub token: String,
    /// How long it is valid.
    pub valid_millis: u64,
}

/// `POST /api/v1/claims`: a runner asks for a job. The answer may wait; 204 means that there was none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimAsked {
    /// An id of this question. Asked again with it, the server gives the same attempt: an answer may be lost.
    pub nonce: String,
    /// How long the answer may wait for a job; the server may wait less.
    pub wait_millis: u64,
}

/// The answer to [`ClaimAsked`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// The attempt that begins with this.
    pub attempt: AttemptId,
    /// Which try it is, from one on.
    pub number: u32,
    /// The number that every effect of the attempt carries. A later attempt has a higher one.
    pub fence: u64,
    /// How long the runner has the job without renewing, from when it sent the question.
    pub lease_millis: u64,
    /// What the attempt proves itself by. It ends with the attempt.
    pub token: String,
    /// What to do.
    pub job: JobSpec,
}

/// `POST /api/v1/attempts/{attempt}/renew`, and with the attempt's token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewAsked {
    /// The attempt's.
    pub fence: u64,
}

/// The answer to [`RenewAsked`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// How long the runner has the job from when it sent the question.
    pub lease_millis: u64,
    /// What the server wants.
    pub wanted: Wanted,
}

/// What a server wants of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Wanted {
    /// Go on.
    GoOn,
    /// End it, say so by [`FinishAsked`].
    Cancel {
        /// For people.
        why: String,
    },
}

/// `PUT /api/v1/attempts/{attempt}/streams/{name}?offset=…&fence=…` takes bytes and answers this, and so does asking for its state.
///
/// The stream `events` is the run's `events.jsonl`; `log.STEP` is what the step wrote, whole and masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// Where it goes on: all bytes before are kept.
    pub next: u64,
    /// Its digest, once it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Digest>,
}

/// `POST /api/v1/attempts/{attempt}/streams/{name}/close`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseAsked {
    /// The attempt's.
    pub fence: u64,
    /// Its length in bytes.
    pub length: u64,
    /// The digest of all its bytes.
    pub digest: Digest,
}

/// `POST /api/v1/attempts/{attempt}/finish`. Saying it again with the same outcome changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishAsked {
    /// The attempt's.
    pub fence: u64,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The names of all streams that the attempt has. What of them has not come yet is waited for.
    pub streams: Vec<String>,
}

masked!(EnrolAsked, code, name, public_key, labels, version);
masked!(Session, token, valid_millis);
masked!(Claimed, token, attempt, number, fence, lease_millis, job);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_not_shown() {
        let session = Session { token: "hunter2".into(), valid_millis: 1 };
        assert_eq!(format!("{session:?}"), "Session { valid_millis: 1, token: \"***\" }");
    }
}
