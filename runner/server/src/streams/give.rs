//! What people read of streams.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::PathBuf, sync::Arc};

use axum::{
    body::Body as HttpBody,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use staith_model::{AttemptId, Digest, Name, RunId, service::StreamState};
use tokio::task::spawn_blocking;

use super::{Desk, StreamName, follow, syncing::Key, take::named};
use crate::{
    api::{Answer, Caller, Permission, Problem, Scope},
    site::Site,
};

/// The most that is in memory for a reader.
pub(super) const PIECE: u64 = 64 << 10;

/// A stream of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The attempt whose stream it is.
    pub attempt: AttemptId,
    /// The attempt's job.
    pub job: Name,
    /// Which try of the job it is, from one on.
    pub number: u32,
    /// Whether the attempt still runs.
    pub live: bool,
    /// `events`, `log.STEP` or `log.STEP+SERVICE`.
    pub name: String,
    /// How many bytes can be read.
    pub length: u64,
    /// The digest of all of them, once there will be no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Whether there were more bytes than are kept.
    pub cut: bool,
    /// Whether the attempt sent it again with other bytes; the first ones are kept.
    pub divergent: bool,
}

/// `GET /api/v1/runs/{run}/streams`.
pub(super) async fn list(
    State(site): State<Site>,
    caller: Caller,
    Path(run): Path<String>,
) -> Result<Answer<Vec<Listed>>, Problem> {
    let run: RunId =
        run.parse().map_err(|bad: staith_model::NotAnId| Problem::new(400, "bad-id", bad.to_string()))?;
    caller.must_be_somebody()?;
    let (project, streams) = site.store.streams_of(&run).await?;
    caller.must(Permission::See, Scope::Project(&project))?;
    let listed = streams.into_iter().map(|it| Listed {
        attempt: it.attempt,
        job: it.job,
        number: it.number,
        live: it.live,
        name: it.name.to_string(),
        length: it.row.length,
        digest: it.row.digest,
        cut: it.row.cut,
        divergent: it.row.divergent,
    });
    Ok(Answer(listed.collect()))
}

/// Where a reader begins.
#[derive(Debug, Deserialize)]
pub(super) struct From {
    #[serde(default)]
    offset: u64,
}

/// A stream as a reader finds it.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) path: PathBuf,
    pub(super) project: Name,
    pub(super) length: u64,
    pub(super) closed: Option<Digest>,
    pub(super) cut: bool,
    /// Whether more may come.
    pub(super) live: bool,
}

impl Desk {
    /// What there is of a stream to be read; nothing, where the attempt has not begun it.
    pub(super) async fn standing(&self, attempt: &AttemptId, name: &StreamName) -> Result<Standing, Problem> {
        let place = self.0.store.stream_place(attempt, name).await?;
        let key = Key { run: place.run, attempt: attempt.clone(), name: name.clone() };
        let row = place.stream.unwrap_or_default();
        let live = place.live && row.digest.is_none();
        let path = key.path(&self.0.dir);
        Ok(Standing {
            path,
            project: place.project,
            length: row.length,
            closed: row.digest,
            cut: row.cut,
            live,
        })
    }

    /// All of a stream that is durable now, up to `most` bytes.
    ///
    /// # Errors
    /// It is not there, or longer.
    pub(crate) async fn whole(
        &self,
        attempt: &AttemptId,
        name: &StreamName,
        most: u64,
    ) -> Result<Vec<u8>, Problem> {
        let standing = self.standing(attempt, name).await?;
        if standing.length > most {
            let what = format!("the stream {name} is longer than {most} bytes");
            return Err(Problem::new(422, "too-long", what));
        }
        let length = usize::try_from(standing.length).unwrap_or_default();
        let reading = spawn_blocking(move || {
            let mut bytes = vec![0; length];
            if length > 0 {
                File::open(&standing.path)?.read_exact_at(&mut bytes, 0)?;
            }
            Ok::<_, io::Error>(bytes)
        });
        reading.await.map_err(unreadable)?.map_err(unreadable)
    }

    /// Reads at most a piece of what is durable.
    pub(super) async fn piece(&self, file: &Arc<File>, from: u64, until: u64) -> io::Result<Vec<u8>> {
        let length = usize::try_from(PIECE.min(until.saturating_sub(from))).unwrap_or_default();
        let file = Arc::clone(file);
        let reading = spawn_blocking(move || {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, from).map(|()| bytes)
        });
        let bytes = reading.await.map_err(io::Error::other)??;
        self.0.given.fetch_add(bytes.len() as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(bytes)
    }
}

/// `GET …/streams/{name}`: for the attempt itself its state; for people what there is now; with `Accept: text/event-stream`, also what comes.
pub(super) async fn get(
    State(site): State<Site>,
    caller: Caller,
    Path((attempt, name)): Path<(String, String)>,
    Query(From { offset }): Query<From>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (attempt, name) = named(&attempt, &name)?;
    caller.must_be_somebody()?;
    let standing = site.streams.standing(&attempt, &name).await?;
    if caller.must_be(&attempt).is_ok() {
        // The attempt has the bytes; it asks how far they came.
        let state = StreamState { next: standing.length, closed: standing.closed };
        return Ok(Answer(state).into_response());
    }
    caller.must(Permission::See, Scope::Project(&standing.project))?;
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepts.contains("text/event-stream") {
        let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
        let from = match last {
            Some(last) => last.parse().map_err(|_| bad_offset(last))?,
            None => offset,
        };
        return follow::follow(site, (attempt, name), standing, from);
    }
    plain(&site, &name, standing, offset, headers.get(header::RANGE)).await
}

async fn plain(
    site: &Site,
    name: &StreamName,
    standing: Standing,
    offset: u64,
    range: Option<&HeaderValue>,
) -> Result<Response, Problem> {
    let length = standing.length;
    let asked = range.and_then(|range| asked_range(range.to_str().ok()?, length));
    let (from, until) = asked.unwrap_or((offset, length));
    if from > length || (asked.is_some() && from >= until) {
        return Err(past_the_end(from, length));
    }
    let desk = site.streams.clone();
    let body = if from == until {
        HttpBody::empty()
    } else {
        let path = standing.path.clone();
        let file = spawn_blocking(move || File::open(path)).await.map_err(unreadable)?.map_err(unreadable)?;
        let pieces = futures_util::stream::try_unfold((from, Arc::new(file)), move |(at, file)| {
            let desk = desk.clone();
            async move {
                if at >= until {
                    return Ok::<_, io::Error>(None);
                }
                let piece = desk.piece(&file, at, until).await?;
                let next = at + piece.len() as u64;
                Ok(Some((piece, (next, file))))
            }
        });
        HttpBody::from_stream(pieces)
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    describe(headers, content_type(name), &standing);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(until - from));
    if asked.is_some() {
        let shown = format!("bytes {from}-{}/{length}", until - 1);
        if let Ok(shown) = HeaderValue::from_str(&shown) {
            headers.insert(header::CONTENT_RANGE, shown);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// What a reader is told of a stream, however it is given. What is in it was written by steps: no browser is to take it for a page.
pub(super) fn describe(headers: &mut HeaderMap, kind: &'static str, standing: &Standing) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox; frame-ancestors 'none'"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let word = |text: &'static str| HeaderValue::from_static(text);
    let state = if standing.closed.is_some() { "closed" } else { "open" };
    headers.insert(HeaderName::from_static("staith-stream"), word(state));
    if standing.cut {
        headers.insert(HeaderName::from_static("staith-stream-cut"), word("true"));
    }
}

const fn content_type(name: &StreamName) -> &'static str {
    match name {
        StreamName::Events => "application/jsonl",
        StreamName::Log(_) | StreamName::ServiceLog(..) => "text/plain; charset=utf-8",
    }
}

/// One range of bytes as `Range` has it; several, or another unit, is no range, and all is given.
fn asked_range(text: &str, length: u64) -> Option<(u64, u64)> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    match (first, last) {
        ("", last) => Some((length.saturating_sub(last.parse().ok()?), length)),
        (first, "") => Some((first.parse().ok()?, length)),
        (first, last) => {
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then(|| (first, length.min(last.saturating_add(1))))
        }
    }
}

pub(super) fn past_the_end(from: u64, length: u64) -> Problem {
    Problem::new(416, "wrong-offset", format!("the stream has {length} bytes, and byte {from} was asked for"))
        .with_next(length)
}

fn bad_offset(text: &str) -> Problem {
    let text: String = text.chars().take(40).collect();
    Problem::new(400, "bad-offset", format!("`{}` is no offset in bytes", text.escape_debug()))
}

pub(super) fn unreadable(failed: impl std::fmt::Display) -> Problem {
    tracing::error!(%failed, "a stream can't be read");
    Problem::new(500, "unreadable", "the server can't read the stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_within_the_stream() {
        for (text, expected) in [
            ("bytes=0-", Some((0, 10))),
            ("bytes=3-4", Some((3, 5))),
            ("bytes=3-400", Some((3, 10))),
            ("bytes=-4", Some((6, 10))),
            ("bytes=-400", Some((0, 10))),
            ("bytes=12-", Some((12, 10))),
            ("bytes=4-3", None),
            ("bytes=0-18446744073709551615", Some((0, 10))),
            ("bytes=0-1,3-4", None),
            ("lines=0-1", None),
            ("bytes=-", None),
        ] {
            assert_eq!(asked_range(text, 10), expected, "{text}");
        }
    }
}
