//! The source of a run goes to its attempts: first the list of its files, then the contents that the runner has not.
//!
//! Runners need no way to the repository and no credentials for it; what an attempt gets is the source of its own run and nothing
//! else. Who can read repositories is outside of this crate: [`SourceSupply`].

use std::{
    collections::BTreeSet,
    fmt,
    io::{self, Write},
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::Body as HttpBody,
    extract::{Path, State},
    http::header,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use staith_model::{AttemptId, Name};
use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{Body, Caller, Problem},
    site::Site,
    store::StoreError,
};

/// Bytes that are handed over at once, and how many such pieces wait for a slow runner.
const PIECE: usize = 64 << 10;
const WAITING: usize = 4;

/// A git id as bytes.
pub type ContentId = [u8; 20];

/// Gives sources to attempts. All calls block.
pub trait SourceSupply: fmt::Debug + Send + Sync {
    /// The list of a source's files, as the builder on the other side reads it. A source is known by its project and its tree: it was
    /// kept when the run was planned.
    ///
    /// # Errors
    /// It is not known, or what belongs to it can't be had.
    fn list(&self, project: &Name, tree: &str) -> Result<Vec<u8>, SupplyError>;

    /// Writes exactly these contents, in frames that carry their ids.
    ///
    /// # Errors
    /// [`SupplyError::NotOfTheSource`] before anything is written; the others may come in the middle.
    fn contents(
        &self,
        project: &Name,
        tree: &str,
        ids: &[ContentId],
        to: &mut dyn Write,
    ) -> Result<(), SupplyError>;

    /// Takes away what nobody needs any more; never what is in use: projects and trees of runs in flight. Asked again and again, with
    /// pauses; a source is gone only when it was to go the time before already.
    ///
    /// # Errors
    /// The disk refuses; what is there stays.
    fn collect(&self, _in_use: &BTreeSet<(Name, String)>, _now: SystemTime) -> io::Result<()> {
        Ok(())
    }
}

/// How often sources are collected.
const ROUND: Duration = Duration::from_secs(10 * 60);

/// Collects sources now and then, until `stop`.
pub(crate) async fn run(site: Site, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ROUND) => {}
        }
        if let Err(error) = collect(&site).await {
            tracing::error!(%error, "sources of runs that are over can't be collected; they stay");
        }
    }
}

/// Lets what no run in flight builds be collected.
///
/// # Errors
/// The store failed; nothing was collected.
pub async fn collect(site: &Site) -> Result<(), StoreError> {
    let Some(supply) = site.sources.clone() else { return Ok(()) };
    let in_use = site.store.sources_in_use().await?.into_iter().collect();
    let collecting = spawn_blocking(move || supply.collect(&in_use, SystemTime::now())).await;
    let done = collecting.map_err(|panicked| panicked.to_string());
    if let Err(why) = done.and_then(|done| done.map_err(|refused| refused.to_string())) {
        tracing::warn!(why, "not all sources of runs that are over could be collected");
    }
    Ok(())
}

/// Why a source is not given.
#[derive(Debug, thiserror::Error)]
pub enum SupplyError {
    /// Nothing was kept for this project and tree.
    #[error("the source {tree} of {project} is not known here")]
    Unknown {
        /// The project.
        project: Name,
        /// The tree.
        tree: String,
    },
    /// Something was asked for that is none of its contents.
    #[error("the source has no content {0}")]
    NotOfTheSource(String),
    /// It can't be had now.
    #[error("{what}")]
    Unavailable {
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: Option<String>,
    },
    /// The runner takes no more.
    #[error("the runner is gone: {0}")]
    Gone(#[from] io::Error),
}

/// Which contents an attempt has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentsAsked {
    /// Their ids in git, 40 hexadecimal digits each.
    pub ids: Vec<String>,
}

/// The requests about sources.
pub fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/attempts/{attempt}/source", get(list))
        .route("/api/v1/attempts/{attempt}/source/contents", post(contents))
}

/// `GET …/source`.
async fn list(
    State(site): State<Site>,
    caller: Caller,
    Path(attempt): Path<String>,
) -> Result<Response, Problem> {
    let (supply, project, tree) = of_attempt(&site, &caller, &attempt).await?;
    let listing = spawn_blocking(move || supply.list(&project, &tree));
    let list = listing.await.map_err(panicked)??;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], list).into_response())
}

/// `POST …/source/contents`. An answer that breaks off in the middle failed; what came of it is whole, frame by frame.
async fn contents(
    State(site): State<Site>,
    caller: Caller,
    Path(attempt): Path<String>,
    Body(asked): Body<ContentsAsked>,
) -> Result<Response, Problem> {
    let (supply, project, tree) = of_attempt(&site, &caller, &attempt).await?;
    let ids = asked.ids.iter().map(|id| parsed(id)).collect::<Result<Vec<_>, _>>()?;
    let (to, mut pieces) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let failed = to.clone();
        let writing = spawn_blocking(move || {
            let mut writer = Pieces { to, gathered: Vec::with_capacity(PIECE) };
            supply.contents(&project, &tree, &ids, &mut writer).and_then(|()| Ok(writer.flush()?))
        });
        let ended = match writing.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(panicked) => SupplyError::Unavailable { what: panicked.to_string(), remedy: None },
        };
        // Told as the answer if nothing was sent before; or else the connection ends in the middle.
        let _ = failed.send(Err(ended)).await;
    });
    // What goes wrong before the first byte has an answer of its own.
    let first = match pieces.recv().await {
        Some(Err(error)) => return Err(error.into()),
        first => first,
    };
    let rest = futures_util::stream::unfold((first, pieces), |(first, mut pieces)| async move {
        let next = match first {
            Some(first) => Some(first),
            None => pieces.recv().await,
        };
        next.map(|piece| (piece.map_err(broken), (None, pieces)))
    });
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, HttpBody::from_stream(rest)).into_response())
}

fn broken(error: SupplyError) -> io::Error {
    tracing::warn!(%error, "a source was not given whole");
    io::Error::other(error.to_string())
}

/// A channel as something to write to. Waits while the other side is slow; ends when it is gone.
struct Pieces {
    to: mpsc::Sender<Result<Vec<u8>, SupplyError>>,
    gathered: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = &bytes[..bytes.len().min(PIECE - self.gathered.len())];
        self.gathered.extend_from_slice(taken);
        if self.gathered.len() == PIECE {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.gathered, Vec::with_capacity(PIECE));
        self.to.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

type OfAttempt = (Arc<dyn SourceSupply>, Name, String);

async fn of_attempt(site: &Site, caller: &Caller, attempt: &str) -> Result<OfAttempt, Problem> {
    let attempt: AttemptId =
        attempt.parse().map_err(|bad: staith_model::NotAnId| Problem::new(400, "bad-id", bad.to_string()))?;
    caller.must_be(&attempt)?;
    let supply = site.sources.clone().ok_or_else(|| {
        Problem::new(503, "no-sources", "this server can't read repositories")
            .with_remedy("start it with `staith server start`")
    })?;
    let (project, tree) = site.store.source_of(&attempt).await?;
    Ok((supply, project, tree))
}

fn parsed(text: &str) -> Result<ContentId, Problem> {
    let bad = || {
        let text: String = text.chars().take(60).collect();
        Problem::new(400, "bad-content", format!("`{}` is no id of a content", text.escape_debug()))
    };
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .filter_map(|digit| digit.try_into().ok())
        .collect();
    let mut id = [0; 20];
    if text.len() != 40 || digits.len() != 40 {
        return Err(bad());
    }
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (pair[0] << 4) | pair[1];
    }
    Ok(id)
}

fn panicked(error: tokio::task::JoinError) -> Problem {
    tracing::error!(%error, "a source can't be given");
    Problem::new(500, "bug", "the server has a bug").with_remedy("its log says where")
}

impl From<SupplyError> for Problem {
    fn from(error: SupplyError) -> Self {
        let text = error.to_string();
        match error {
            SupplyError::Unknown { project, tree } => {
                StoreError::Unknown { what: "source", name: format!("{project} {tree}") }.into()
            }
            SupplyError::NotOfTheSource(_) => Self::new(403, "not-of-the-source", text),
            SupplyError::Unavailable { remedy, .. } => {
                let problem = Self::new(503, "source-unavailable", text);
                match remedy {
                    Some(remedy) => problem.with_remedy(remedy),
                    None => problem,
                }
            }
            SupplyError::Gone(_) => Self::new(500, "broken-off", text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_forty_digits() {
        assert_eq!(parsed("0123456789abcdef0123456789abcdef01234567").unwrap()[..3], [1, 0x23, 0x45]);
        for bad in ["", "0123", "é123456789abcdef0123456789abcdef0123456", &"g".repeat(40), &"0".repeat(41)]
        {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
