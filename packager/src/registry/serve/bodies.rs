//! Bodies in pieces: never more of one in memory than a piece or two, and never a thread that waits for a client.

use std::{io, io::Read as _, sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use futures_util::{StreamExt as _, stream};
use staith_model::Name;
use tokio::{task::spawn_blocking, time::timeout};

use super::{Code, Refusal, StatusCode};
use crate::registry::{
    names::UploadId,
    shelf::{OpenBlob, Shelf},
};

/// Bytes that are read or written at once.
const PIECE: usize = 256 << 10;

/// `length` bytes of a blob as the body of an answer. If they can't be read, the connection ends before the last of them.
pub(super) fn sent(blob: OpenBlob, length: u64) -> Body {
    let begin = (blob.bytes, length);
    Body::from_stream(stream::try_unfold(begin, |(mut bytes, left)| async move {
        if left == 0 {
            return Ok::<_, io::Error>(None);
        }
        let piece = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let read = spawn_blocking(move || {
            let mut buffer = vec![0; piece];
            bytes.read_exact(&mut buffer).map(|()| (buffer, bytes))
        });
        let (buffer, bytes) = read.await.map_err(io::Error::other)??;
        let left = left - buffer.len() as u64;
        Ok(Some((Bytes::from(buffer), (bytes, left))))
    }))
}

/// A body that must fit into memory.
pub(super) async fn whole(body: Body, most: usize, patience: Duration) -> Result<Vec<u8>, Refusal> {
    let mut pieces = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(piece) = next(&mut pieces, patience).await? {
        if bytes.len() + piece.len() > most {
            let message = format!("a manifest may have {most} bytes at most");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid, message));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

async fn next(pieces: &mut axum::body::BodyDataStream, patience: Duration) -> Result<Option<Bytes>, Refusal> {
    match timeout(patience, pieces.next()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(piece))) => Ok(Some(piece)),
        Ok(Some(Err(error))) => {
            Err(Refusal::bad(Code::SizeInvalid, format!("the body did not come in full: {error}")))
        }
        Err(_) => {
            let message = format!("nothing came for {} seconds", patience.as_secs());
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, Code::BlobUploadInvalid, message))
        }
    }
}

/// What is taken into an upload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The most bytes that the whole upload may have.
    pub(super) largest: u64,
    /// How many come now, where that was said.
    pub(super) said: Option<u64>,
    pub(super) patience: Duration,
}

/// Where an upload stands that something was to be added to.
#[derive(Debug)]
pub(super) enum Taken {
    /// All came; so many bytes are here now.
    All(u64),
    /// It was to begin at another place than the end, which is this.
    Elsewhere(u64),
}

/// Adds a body to an upload, beginning `at` where that is said. What came before the connection broke, or before the client fell
/// silent, is kept, so that it need not be sent again.
pub(super) async fn taken(
    shelf: &Arc<dyn Shelf>,
    (name, upload): (&Name, &UploadId),
    at: Option<u64>,
    body: Body,
    bounds: Bounds,
) -> Result<Taken, Refusal> {
    let (its_shelf, its_name, its_upload) = (Arc::clone(shelf), name.clone(), upload.clone());
    let open = blocking(move || Ok(its_shelf.append(&its_name, &its_upload)?));
    let mut open = open.await?;
    let begin = open.offset();
    if at.is_some_and(|at| at != begin) {
        return Ok(Taken::Elsewhere(begin));
    }
    let mut pieces = body.into_data_stream();
    let mut come = 0_u64;
    let (mut waiting, mut ended) = (Vec::new(), Ok(()));
    loop {
        match next(&mut pieces, bounds.patience).await {
            Ok(None) => break,
            Err(refusal) => {
                ended = Err(refusal);
                break;
            }
            Ok(Some(piece)) => {
                come += piece.len() as u64;
                if let Err(refusal) = within(begin, come, bounds) {
                    ended = Err(refusal);
                    break;
                }
                waiting.extend_from_slice(&piece);
            }
        }
        if waiting.len() >= PIECE {
            let piece = std::mem::take(&mut waiting);
            open = blocking(move || {
                open.append(&piece)?;
                Ok(open)
            })
            .await?;
        }
    }
    let kept = blocking(move || {
        open.append(&waiting)?;
        Ok(open.keep()?)
    });
    let here = kept.await?;
    ended?;
    if bounds.said.is_some_and(|said| said != come) {
        let message =
            format!("{come} bytes came, where {} were said to come", bounds.said.unwrap_or_default());
        return Err(Refusal::bad(Code::SizeInvalid, message));
    }
    Ok(Taken::All(here))
}

fn within(begin: u64, come: u64, bounds: Bounds) -> Result<(), Refusal> {
    if bounds.said.is_some_and(|said| come > said) {
        return Err(Refusal::bad(Code::SizeInvalid, "more bytes came than were said to come"));
    }
    if begin.saturating_add(come) > bounds.largest {
        let message = format!("a blob may have {} bytes at most", bounds.largest);
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid, message));
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    spawn_blocking(work).await.map_err(|error| Refusal::broken(&error))?
}
