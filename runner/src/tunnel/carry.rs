//! Bytes on their way between the server and whoever is at an end of a tunnel.

use std::{io, time::Duration};

use bytes::Bytes;
use staith_model::service::TUNNEL_PIECE;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::mpsc,
    time::{Instant, sleep},
};

use super::end::End;
use crate::client::{Patience, Refused};

/// A server that does not answer for so long has given the tunnel up.
const GIVEN_UP: Duration = Duration::from_secs(15);
/// How often the server is told that somebody is there who has no time to hear more.
const ALIVE: Duration = Duration::from_secs(5);
/// How often at most the server is asked, though it says at once that there is nothing.
const LEAST: Duration = Duration::from_millis(20);

/// How it came that no more bytes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Over {
    /// The other side has said all that it had to say.
    Finished,
    /// The tunnel ended otherwise.
    Ended(String),
    /// Nobody on this side wants more.
    Unheard,
}

/// Questions that were not answered, one after the other.
#[derive(Debug, Default)]
struct Trouble {
    since: Option<Instant>,
    patience: Patience,
}

impl Trouble {
    fn passed(&mut self) {
        *self = Self::default();
    }

    /// How long to wait before it is asked again; or how it is over.
    fn after(&mut self, refused: &Refused) -> Result<Duration, Over> {
        if refused.is("tunnel-finished") || refused.is("tunnel-left") {
            return Err(Over::Finished);
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        // A session that has just ended is followed by another.
        let may_pass = refused.may_pass() || refused.status() == Some(401);
        if !may_pass || since.elapsed() > GIVEN_UP {
            return Err(Over::Ended(refused.to_string()));
        }
        Ok(self.patience.failed())
    }
}

/// Brings here what the other side says.
pub(super) async fn hear_all(end: &End, to: &mpsc::Sender<io::Result<Bytes>>) -> Over {
    let (mut offset, mut trouble) = (0, Trouble::default());
    loop {
        match end.hear(offset, true).await {
            Ok(bytes) if bytes.is_empty() => {
                trouble.passed();
                sleep(LEAST).await;
            }
            Ok(bytes) => {
                trouble.passed();
                offset += bytes.len() as u64;
                if !deliver(end, to, bytes, offset).await {
                    return Over::Unheard;
                }
            }
            Err(refused) => match trouble.after(&refused) {
                Ok(pause) => sleep(pause).await,
                Err(over) => return over,
            },
        }
    }
}

/// Hands bytes over, and lets the server know meanwhile that somebody is there. Whether they were taken.
async fn deliver(end: &End, to: &mpsc::Sender<io::Result<Bytes>>, bytes: Vec<u8>, next: u64) -> bool {
    let mut handing = std::pin::pin!(to.send(Ok(Bytes::from(bytes))));
    loop {
        tokio::select! {
            handed = &mut handing => return handed.is_ok(),
            () = sleep(ALIVE) => drop(end.hear(next, false).await),
        }
    }
}

/// Says all that comes from here, up to its end.
///
/// # Errors
/// How it came that not all of it was taken.
pub(super) async fn say_all(end: &End, mut from: impl AsyncRead + Unpin) -> Result<(), Over> {
    let (mut buffer, mut offset) = (vec![0; TUNNEL_PIECE], 0_u64);
    loop {
        // A stream that breaks has ended: what it was to say is not known to anybody.
        let length = from.read(&mut buffer).await.unwrap_or(0);
        if length == 0 {
            return Ok(());
        }
        let (mut left, mut trouble) = (&buffer[..length], Trouble::default());
        while !left.is_empty() {
            match end.say(offset, left).await {
                Ok(next) => {
                    trouble.passed();
                    let taken = next.checked_sub(offset).and_then(|taken| usize::try_from(taken).ok());
                    let rest = taken.and_then(|taken| left.get(taken..));
                    left = rest.ok_or_else(|| Over::Ended("the server counts otherwise".to_owned()))?;
                    offset = next;
                }
                Err(refused) => sleep(trouble.after(&refused)?).await,
            }
        }
    }
}
