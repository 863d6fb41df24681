//! A stream of an attempt, byte for byte, over as many connections as it takes. What has come is never asked for again: each question
//! says from which byte on.

mod events;

use std::time::Duration;

use base64::Engine as _;
use reqwest::header::{HeaderName, RANGE};
use serde::Deserialize;
use staith_model::{AttemptId, Digest, DigestStream};
use tokio::time::{Instant, sleep};

use self::events::{Events, SentEvent};
use super::{Ask, Flow, Patience, Refused, people::People};
use crate::output::Problem;

/// Bytes that are asked for at once; a connection that breaks costs no more.
const AT_ONCE: u64 = 1 << 20;
/// How long the server may be away.
const AWAY: Duration = Duration::from_secs(120);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Reads a stream: what there is of it by now, or also what comes.
pub(crate) struct Stream {
    path: String,
    at: u64,
    seen: DigestStream,
    patience: Patience,
    away: Option<Instant>,
    following: Option<(Flow, Events)>,
}

/// What a stream gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The next bytes.
    Bytes(Vec<u8>),
    /// There are no more.
    End(End),
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct End {
    /// How many bytes are kept of it.
    pub(crate) length: u64,
    /// The digest of all of them; without, nobody closed it.
    pub(crate) digest: Option<Digest>,
    /// Whether there were more than are kept.
    pub(crate) cut: bool,
}

impl Stream {
    /// A stream from its first byte on.
    pub(crate) fn of(attempt: &AttemptId, name: &str) -> Self {
        Self {
            path: format!("/api/v1/attempts/{attempt}/streams/{name}"),
            at: 0,
            seen: DigestStream::new(),
            patience: Patience::default(),
            away: None,
            following: None,
        }
    }

    /// How many bytes have come.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// The digest of what has come.
    pub(crate) fn digest(&self) -> Digest {
        self.seen.clone().finish()
    }

    /// The next bytes before byte `until`; `None` where that is reached.
    ///
    /// # Errors
    /// The server refuses, or is away for too long.
    pub(crate) async fn piece(&mut self, people: &People, until: u64) -> Result<Option<Vec<u8>>, Problem> {
        while self.at < until {
            let last = until.min(self.at + AT_ONCE) - 1;
            let ask = Ask::get(self.path.as_str()).having(RANGE, format!("bytes={}-{last}", self.at));
            match people.bytes(ask).await {
                Ok(bytes) if !bytes.is_empty() => {
                    self.took(&bytes);
                    return Ok(Some(bytes));
                }
                Ok(_) => return Ok(None),
                Err(refused) => self.failed(people, refused).await?,
            }
        }
        Ok(None)
    }

    /// The next bytes or the end, when they come. Not cancel-safe.
    ///
    /// # Errors
    /// As [`piece`](Self::piece).
    pub(crate) async fn next(&mut self, people: &People) -> Result<Piece, Problem> {
        loop {
            let event = match self.event(people).await {
                Ok(event) => event,
                Err(refused) => {
                    self.following = None;
                    self.failed(people, refused).await?;
                    continue;
                }
            };
            let piece = match event.kind.as_str() {
                "bytes" => bytes(&event.data).map(Piece::Bytes),
                "end" => serde_json::from_str(&event.data).ok().map(Piece::End),
                // A later version may say more.
                _ => continue,
            };
            if let Some(piece) = piece {
                if let Piece::Bytes(bytes) = &piece {
                    self.took(bytes);
                }
                return Ok(piece);
            }
            self.garbled(people).await?;
        }
    }

    /// Something on the way changed what was sent: it is asked for again.
    async fn garbled(&mut self, people: &People) -> Result<(), Problem> {
        match self.following.take() {
            Some((flow, _)) => self.failed(people, flow.broke_off()).await,
            None => Ok(()),
        }
    }

    async fn event(&mut self, people: &People) -> Result<SentEvent, Refused> {
        let (flow, events) = match &mut self.following {
            Some(following) => following,
            none => {
                let ask = Ask::get(self.path.as_str()).accepting("text/event-stream");
                let flow = people.flow(ask.having(LAST_EVENT_ID, self.at.to_string())).await?;
                none.insert((flow, Events::default()))
            }
        };
        loop {
            if let Some(event) = events.next() {
                return Ok(event);
            }
            match flow.piece().await? {
                Some(piece) => events.take(&piece),
                // The server stops, or what is between has had enough.
                None => return Err(flow.broke_off()),
            }
        }
    }

    fn took(&mut self, bytes: &[u8]) {
        self.at += bytes.len() as u64;
        self.seen.update(bytes);
        self.patience.worked();
        self.away = None;
    }

    async fn failed(&mut self, people: &People, refused: Refused) -> Result<(), Problem> {
        let since = *self.away.get_or_insert_with(Instant::now);
        if !refused.may_pass() || since.elapsed() > AWAY {
            return Err(people.told(refused));
        }
        sleep(self.patience.failed()).await;
        Ok(())
    }
}

/// What an event of bytes has.
fn bytes(data: &str) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Data {
        text: Option<String>,
        base64: Option<String>,
    }
    let data: Data = serde_json::from_str(data).ok()?;
    match data {
        Data { text: Some(text), .. } => Some(text.into_bytes()),
        Data { base64: Some(coded), .. } => base64::engine::general_purpose::STANDARD.decode(coded).ok(),
        Data { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_or_base_64() {
        assert_eq!(bytes(r#"{"text":"a\n"}"#).unwrap(), b"a\n");
        assert_eq!(bytes(r#"{"base64":"/wA="}"#).unwrap(), [255, 0]);
        for bad in ["", "{}", r#"{"base64":"!"}"#, "[]"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
