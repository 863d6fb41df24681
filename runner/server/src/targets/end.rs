//! What both ends of a tunnel ask alike.

use std::time::Duration;

use axum::{
    body::{Body as HttpBody, to_bytes},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use staith_model::{
    TunnelId,
    service::{TUNNEL_PIECE, TunnelNext},
};
use tokio::time::{Instant, sleep, timeout};

use super::{
    relay::{At, Refusal},
    tunnel::{Came, End, Event},
};
use crate::{
    api::{Answer, Problem},
    site::Site,
};

/// How long an answer waits for something to tell. A connection that carries nothing any more is noticed soon after.
pub(super) const WAIT: Duration = Duration::from_secs(10);
/// How often who waits looks whether the other side is still there.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// How long the bytes of a body may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where in a tunnel.
#[derive(Debug, Deserialize)]
pub(super) struct Place {
    /// Of the first byte.
    #[serde(default)]
    pub(super) offset: u64,
    /// Which of a machine's runners asks.
    #[serde(default)]
    pub(super) turn: u64,
    /// Whether the answer is to wait until there is something.
    #[serde(default)]
    pub(super) wait: bool,
}

pub(super) fn id(text: &str) -> Result<TunnelId, Problem> {
    text.parse().map_err(|_| Refusal::Unknown.into())
}

/// Takes bytes; waits while there is no room. Fewer may be taken than were said: the answer tells where it goes on.
pub(super) async fn say(
    site: &Site,
    tunnel: &TunnelId,
    at: At<'_>,
    offset: u64,
    body: HttpBody,
) -> Result<Answer<TunnelNext>, Problem> {
    let read = timeout(PATIENCE, to_bytes(body, TUNNEL_PIECE)).await;
    let bytes = read.ok().and_then(Result::ok).ok_or_else(|| {
        Problem::new(
            413,
            "body-refused",
            format!("a piece is longer than {TUNNEL_PIECE} bytes, or was not sent whole"),
        )
    })?;
    let (until, mut bell) = (Instant::now() + WAIT, site.relay.listen(tunnel, at)?);
    loop {
        let said = Event::Said { by: at.side(), offset, bytes: &bytes };
        let Came::Next(next) = site.relay.step(tunnel, at, said, site.clock.steady())? else {
            return Err(Problem::new(500, "bug", "the server has a bug"));
        };
        let waits = next == offset && !bytes.is_empty() && site.relay.is_full(tunnel, at);
        if !waits || Instant::now() >= until || site.stop.is_cancelled() {
            return Ok(Answer(TunnelNext { next }));
        }
        tokio::select! {
            () = bell.heard() => {}
            () = sleep(LOOK) => {}
            () = site.stop.cancelled() => {}
        }
    }
}

/// Tells what was said from an offset on; 204 where that is nothing yet.
pub(super) async fn hear(
    site: &Site,
    tunnel: &TunnelId,
    at: At<'_>,
    place: &Place,
) -> Result<Response, Problem> {
    let (until, mut bell) = (Instant::now() + WAIT, site.relay.listen(tunnel, at)?);
    loop {
        let asked = Event::Asked { by: at.side(), offset: place.offset };
        let Came::Bytes(bytes) = site.relay.step(tunnel, at, asked, site.clock.steady())? else {
            return Err(Problem::new(500, "bug", "the server has a bug"));
        };
        if !bytes.is_empty() {
            let kind =
                [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "no-store")];
            return Ok((kind, bytes).into_response());
        }
        if !place.wait || Instant::now() >= until || site.stop.is_cancelled() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        tokio::select! {
            () = bell.heard() => {}
            () = sleep(LOOK) => {}
            () = site.stop.cancelled() => {}
        }
    }
}

/// The most that a machine may say of why it is over, in characters: it is told to people, and kept in the environment's ledger.
const LONGEST: usize = 500;

/// How it ended, in the words of a machine.
pub(super) fn in_words(why: String) -> End {
    if why.chars().nth(LONGEST).is_none() {
        return End::Broken(why);
    }
    End::Broken(why.chars().take(LONGEST).chain("…".chars()).collect())
}

/// It is over, for this side.
pub(super) fn over(site: &Site, tunnel: &TunnelId, at: At<'_>, how: End) -> Result<StatusCode, Problem> {
    site.relay.step(tunnel, at, Event::End(how), site.clock.steady())?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_says_of_its_end_is_no_book() {
        assert_eq!(in_words("no such folder".to_owned()), End::Broken("no such folder".to_owned()));
        let End::Broken(short) = in_words("ä".repeat(1 << 20)) else { panic!() };
        assert_eq!((short.chars().count(), short.ends_with("ä…")), (LONGEST + 1, true));
    }
}
