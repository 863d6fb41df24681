//! Sessions: how a runner proves who it is, every ten minutes.

use axum::extract::{Path, State};
use staith_model::{
    RunnerId,
    service::{RunnerState, Session, SessionAsked},
};

use super::{a_version, proof, runner_id};
use crate::{
    api::{Body, Made, Problem},
    site::Site,
    store::NewSession,
    tokens::{Kind, Word},
};

/// How long a session's token is valid, in milliseconds.
const VALID: u64 = 600_000;
/// How far a runner's clock may be off, in milliseconds: a nonce says when it was made, and is remembered for longer than this.
const CLOCKS_DIFFER: u64 = 24 * 3_600_000;

pub(super) async fn open(
    State(site): State<Site>,
    Path(runner): Path<String>,
    Body(asked): Body<SessionAsked>,
) -> Result<Made<Session>, Problem> {
    let runner = runner_id(&runner)?;
    a_version(&asked.version)?;
    let now = site.clock.unix_millis();
    let nonce = a_nonce(&asked.nonce, now)?;
    // Whether there is such a runner is told only to who has its key.
    let known = site.store.known_runner(&runner).await?.ok_or_else(no_such)?;
    let key = proof::Key::read(&known.public_key)?;
    key.check(&proof::of_session(&runner, &asked), &asked.proof).map_err(|_| no_such())?;
    if known.state == RunnerState::Revoked {
        return Err(revoked());
    }
    let word = Word::new(Kind::Session)?;
    let session =
        NewSession { runner, nonce, digest: word.digest(), expires: now + VALID, version: asked.version };
    if !site.store.add_session(session, now).await? {
        return Err(Problem::new(409, "nonce-used", "the nonce was used before")
            .with_remedy("ask again with another one"));
    }
    Ok(Made(Session { token: word.tell(), valid_millis: VALID }))
}

/// A nonce is an id, which says when it was made.
fn a_nonce(text: &str, now: u64) -> Result<String, Problem> {
    let id: RunnerId = text.parse().map_err(|bad: staith_model::NotAnId| {
        Problem::new(400, "bad-nonce", "the nonce is none").with_why(bad.to_string())
    })?;
    if made(&id).abs_diff(now) > CLOCKS_DIFFER {
        return Err(Problem::new(
            400,
            "clocks-differ",
            "the clocks of the runner and of the server differ by more than a day",
        )
        .with_why("a nonce says when it was made, so that one that was recorded can't be used again later")
        .with_remedy("set the clock of the runner's host, or of the server"));
    }
    Ok(text.to_owned())
}

/// When an id was made, in milliseconds since 1970: its first ten characters.
fn made(id: &RunnerId) -> u64 {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let value = |c: u8| ALPHABET.iter().position(|known| *known == c).unwrap_or_default() as u64;
    id.as_str().bytes().take(10).fold(0, |millis, c| millis << 5 | value(c))
}

fn no_such() -> Problem {
    Problem::new(403, "bad-proof", "the server knows no runner with this id and key")
        .with_remedy("enrol the host again: `staith runner register`")
}

fn revoked() -> Problem {
    Problem::new(403, "runner-revoked", "the runner was revoked")
        .with_why("an administrator did that, or it was enrolled for one job, which it had")
        .with_remedy("enrol the host again: `staith runner register`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_when_it_was_made() {
        for millis in [0, 1, 1_795_000_000_123, (1 << 48) - 1] {
            assert_eq!(made(&RunnerId::new(millis, [255; 10])), millis);
        }
    }
}
