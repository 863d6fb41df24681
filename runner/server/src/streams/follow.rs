//! A stream as it comes, as server-sent events.
//!
//! | event | id | data |
//! |---|---|---|
//! | `bytes` | the offset after these bytes | `{"text": …}`, or `{"base64": …}` where they are no UTF-8 |
//! | `end` | the length | `{"length": …, "digest": …, "cut": …}`; without `digest` the attempt ended before it closed the stream |
//!
//! A reader that was cut off sends the last id that it saw as `Last-Event-ID` and gets exactly what follows. Nothing is kept for
//! readers: each reads the file at its own pace, a piece at a time, so a slow one costs a piece of memory and harms nobody.

use std::{convert::Infallible, fs::File, io, sync::Arc, time::Duration};

use axum::response::{
    IntoResponse as _, Response,
    sse::{Event, KeepAlive, Sse},
};
use base64::Engine as _;
use serde_json::json;
use staith_model::AttemptId;
use tokio::{task::spawn_blocking, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Desk, StreamName,
    give::{Standing, describe, past_the_end},
};
use crate::{
    api::Problem,
    bells::{Bells, Listener},
    site::Site,
};

/// So often a reader hears something, so that what is between does not take the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// So often it is looked whether the attempt has ended, should no bell say so.
const LOOK: Duration = Duration::from_secs(5);
/// Readers of a stream that nobody writes ask the database no more often.
const REST: Duration = Duration::from_millis(200);
/// Jobs begin and end all the time; a reader asks for its own no more often.
const PAUSE: Duration = Duration::from_secs(1);

struct Reader {
    desk: Desk,
    bells: Bells,
    attempt: AttemptId,
    name: StreamName,
    at: u64,
    standing: Standing,
    file: Option<Arc<File>>,
    ended: bool,
    asked: Instant,
    stop: CancellationToken,
}

pub(super) fn follow(
    site: Site,
    (attempt, name): (AttemptId, StreamName),
    standing: Standing,
    from: u64,
) -> Result<Response, Problem> {
    if from > standing.length {
        return Err(past_the_end(from, standing.length));
    }
    let (desk, bells) = (site.streams.clone(), site.bells.clone());
    let told = standing.clone();
    let (file, ended, asked) = (None, false, Instant::now());
    let reader = Reader {
        desk,
        bells,
        attempt,
        name,
        at: from,
        standing,
        file,
        ended,
        asked,
        stop: site.stop.clone(),
    };
    let events = futures_util::stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    let alive = KeepAlive::new().interval(HEARTBEAT).text("still here");
    let mut response = Sse::new(events).keep_alive(alive).into_response();
    describe(response.headers_mut(), "text/event-stream", &told);
    Ok(response)
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let stop = self.stop.clone();
        let looked = tokio::select! {
            // The reader goes on with the next server where it was.
            () = stop.cancelled() => return None,
            looked = self.look() => looked,
        };
        match looked {
            Ok(event) => Some(event),
            Err(failed) => {
                // The connection ends without `end`, so the reader comes back.
                tracing::error!(%failed, "a stream can't be read");
                None
            }
        }
    }

    /// The next event; waits for it.
    async fn look(&mut self) -> io::Result<Event> {
        let mut ask = false;
        loop {
            // Listen before looking, so that no ring is missed.
            let (mut streams, mut jobs) = (self.bells.streams.listen(), self.bells.jobs.listen());
            self.refresh(ask).await?;
            if self.at < self.standing.length {
                return self.bytes().await;
            }
            if !self.standing.live {
                return Ok(self.end());
            }
            ask = self.wait(&mut streams, &mut jobs).await;
        }
    }

    /// Finds out how far the stream is: from the desk while somebody writes it, or else from the database.
    async fn refresh(&mut self, ask: bool) -> io::Result<()> {
        if self.at < self.standing.length {
            return Ok(());
        }
        if let Some(length) = self.desk.grown(&self.attempt, &self.name) {
            self.standing.length = self.standing.length.max(length);
            if !ask || length > self.at {
                return Ok(());
            }
        } else if !ask && self.asked.elapsed() < REST {
            // Nobody writes it, and a bell rang for others; the database is not asked for each of their rings.
            tokio::time::sleep_until(self.asked + REST).await;
        }
        self.asked = Instant::now();
        let found = self.desk.standing(&self.attempt, &self.name).await;
        self.standing = found.map_err(|problem| io::Error::other(problem.details().title.clone()))?;
        Ok(())
    }

    /// Waits until there may be more. Whether the database is to be asked if the attempt still counts.
    async fn wait(&self, streams: &mut Listener, jobs: &mut Listener) -> bool {
        let jobs_after_a_rest = async {
            tokio::time::sleep_until(self.asked + PAUSE).await;
            jobs.heard().await;
        };
        tokio::select! {
            () = streams.heard() => false,
            () = jobs_after_a_rest => true,
            () = tokio::time::sleep(LOOK) => true,
        }
    }

    async fn bytes(&mut self) -> io::Result<Event> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => {
                let path = self.standing.path.clone();
                let file = spawn_blocking(move || File::open(path)).await.map_err(io::Error::other)??;
                Arc::clone(self.file.insert(Arc::new(file)))
            }
        };
        let mut bytes = self.desk.piece(&file, self.at, self.standing.length).await?;
        bytes.truncate(whole_characters(&bytes));
        self.at += bytes.len() as u64;
        let data = match String::from_utf8(bytes) {
            Ok(text) => json!({ "text": text }),
            Err(other) => {
                json!({ "base64": base64::engine::general_purpose::STANDARD.encode(other.into_bytes()) })
            }
        };
        Ok(event("bytes", self.at, &data))
    }

    fn end(&mut self) -> Event {
        self.ended = true;
        let Standing { length, closed, cut, .. } = &self.standing;
        let data = json!({ "length": length, "digest": closed, "cut": cut });
        event("end", self.at, &data)
    }
}

fn event(kind: &str, id: u64, data: &serde_json::Value) -> Event {
    // JSON has no line breaks of its own, so this is one line.
    Event::default().event(kind).id(id.to_string()).data(data.to_string())
}

/// How many bytes to give: without the beginning of a character whose rest is in the next piece, if anything is left then.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(cut) if cut.error_len().is_none() && cut.valid_up_to() > 0 => cut.valid_up_to(),
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_stay_whole_where_that_is_possible() {
        assert_eq!(whole_characters("aé".as_bytes()), 3);
        assert_eq!(whole_characters(&"aé".as_bytes()[..2]), 1);
        assert_eq!(whole_characters(&"é".as_bytes()[..1]), 1, "a stream may end within a character");
        assert_eq!(whole_characters(b"a\xff"), 2);
    }
}
