//! The requests by which attempts send their streams.

use std::time::Duration;

use axum::{
    body::Body as HttpBody,
    extract::{Path, Query, State},
};
use futures_util::StreamExt as _;
use serde::Deserialize;
use staith_model::{
    AttemptId,
    service::{CloseAsked, StreamState},
};

use super::{Reached, StreamName};
use crate::{
    api::{Answer, Body, Caller, Problem},
    site::Site,
};

/// So much is written at once; more of a body is not kept in memory.
const PIECE: usize = 128 << 10;
/// How long the next bytes of a body may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where bytes belong.
#[derive(Debug, Deserialize)]
pub(super) struct At {
    offset: u64,
    fence: u64,
}

/// `PUT …/streams/{name}?offset=…&fence=…`: the bytes from that offset on. Answered when all of them are durable.
pub(super) async fn put(
    State(site): State<Site>,
    caller: Caller,
    Path((attempt, name)): Path<(String, String)>,
    Query(At { offset, fence }): Query<At>,
    body: HttpBody,
) -> Result<Answer<StreamState>, Problem> {
    let (attempt, name) = own(&caller, &attempt, &name)?;
    let mut pieces = body.into_data_stream();
    let (mut gathered, mut end) = (Vec::new(), offset);
    loop {
        let piece = tokio::time::timeout(PATIENCE, pieces.next()).await.map_err(|_| stalled())?;
        let is_last = piece.is_none();
        if let Some(piece) = piece {
            gathered.extend_from_slice(&piece.map_err(|broken| broken_off(&broken))?);
        }
        // Once more for nothing at all: that says whether the offset is right.
        if gathered.len() >= PIECE || is_last {
            let bytes = std::mem::take(&mut gathered);
            end = site.streams.put(&attempt, &name, fence, end, bytes, site.clock.unix_millis()).await?;
        }
        if is_last {
            return Ok(answer(site.streams.durable(&attempt, &name, fence, end).await?));
        }
    }
}

/// `POST …/streams/{name}/close`.
pub(super) async fn close(
    State(site): State<Site>,
    caller: Caller,
    Path((attempt, name)): Path<(String, String)>,
    Body(CloseAsked { fence, length, digest }): Body<CloseAsked>,
) -> Result<Answer<StreamState>, Problem> {
    let (attempt, name) = own(&caller, &attempt, &name)?;
    let now = site.clock.unix_millis();
    Ok(answer(site.streams.close(&attempt, &name, fence, (length, digest), now).await?))
}

fn answer(Reached { next, closed }: Reached) -> Answer<StreamState> {
    Answer(StreamState { next, closed })
}

/// The attempt and the stream, if it is the attempt that asks.
fn own(caller: &Caller, attempt: &str, name: &str) -> Result<(AttemptId, StreamName), Problem> {
    let (attempt, name) = named(attempt, name)?;
    caller.must_be(&attempt)?;
    Ok((attempt, name))
}

/// What the parts of an address mean.
pub(super) fn named(attempt: &str, name: &str) -> Result<(AttemptId, StreamName), Problem> {
    let attempt =
        attempt.parse().map_err(|bad: staith_model::NotAnId| Problem::new(400, "bad-id", bad.to_string()))?;
    let name =
        name.parse().map_err(|bad: super::NotAStream| Problem::new(400, "bad-stream", bad.to_string()))?;
    Ok((attempt, name))
}

fn stalled() -> Problem {
    Problem::new(408, "stalled", format!("nothing came for {} seconds", PATIENCE.as_secs()))
        .with_remedy("ask for the stream's state and send what follows")
}

fn broken_off(why: &axum::Error) -> Problem {
    Problem::new(400, "broken-off", "the body was not sent whole").with_why(why.to_string())
}
