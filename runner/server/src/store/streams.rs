//! What is known of the bytes that attempts send. The bytes themselves are in files.

use async_trait::async_trait;
use staith_model::{AttemptId, Digest, Name, RunId};

use super::StoreError;
use crate::streams::StreamName;

/// An attempt, as far as its streams are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPlace {
    /// The attempt's run.
    pub run: RunId,
    /// The project that the run is of.
    pub project: Name,
    /// The attempt's fence.
    pub fence: u64,
    /// Whether the attempt still counts. If not, nothing more is taken of it.
    pub live: bool,
    /// How many streams it has.
    pub streams: u64,
    /// How many bytes are in all of them.
    pub bytes: u64,
    /// The stream that was asked for, if there is one.
    pub stream: Option<StreamRow>,
}

/// What is known of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamRow {
    /// All bytes before this are kept, and on the disk.
    pub length: u64,
    /// The digest of all its bytes, once it is closed.
    pub digest: Option<Digest>,
    /// Whether it was sent again with other bytes than before. The first ones stay.
    pub divergent: bool,
    /// Whether it had more bytes than are kept. The first ones stay.
    pub cut: bool,
}

/// A stream of a run, for a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamListed {
    /// The attempt whose stream it is.
    pub attempt: AttemptId,
    /// The attempt's job.
    pub job: Name,
    /// Which try of the job it is, from one on.
    pub number: u32,
    /// Whether the attempt still runs.
    pub live: bool,
    /// What the stream is called.
    pub name: StreamName,
    /// What is known of it.
    pub row: StreamRow,
}

/// Bytes of a stream that are on the disk and are to be counted.
#[derive(Debug, Clone)]
pub struct Growth {
    /// Whose stream.
    pub attempt: AttemptId,
    /// Which.
    pub name: StreamName,
    /// The attempt's fence.
    pub fence: u64,
    /// All bytes before this are on the disk.
    pub length: u64,
}

/// A stream that is complete.
#[derive(Debug, Clone)]
pub struct Closing {
    /// Whose stream.
    pub attempt: AttemptId,
    /// Which.
    pub name: StreamName,
    /// The attempt's fence.
    pub fence: u64,
    /// How many bytes are kept of it.
    pub length: u64,
    /// Their digest.
    pub digest: Digest,
}

/// A mark on a stream that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamMark {
    /// [`StreamRow::divergent`].
    Divergent,
    /// [`StreamRow::cut`].
    Cut,
}

/// Streams of attempts.
#[async_trait]
pub trait Streams {
    /// What is known of an attempt, and of one of its streams.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]: there is no such attempt.
    async fn stream_place(&self, attempt: &AttemptId, name: &StreamName) -> Result<StreamPlace, StoreError>;

    /// Counts bytes that are on the disk, of many streams at once, each with an answer of its own. A stream that is not known
    /// yet begins with this. A length never goes back.
    ///
    /// The answer to one is [`StoreError::StaleFence`] if its attempt does not count any more, and [`StoreError::Conflict`] if the
    /// stream is closed with another length; nothing of it was changed then.
    async fn grow_streams(&self, all: Vec<Growth>) -> Result<Vec<Result<(), StoreError>>, StoreError>;

    /// Closes a stream. The same again changes nothing, also after the attempt has ended.
    ///
    /// # Errors
    /// [`StoreError::StaleFence`]; [`StoreError::Conflict`] if it is closed with something else, or has another length.
    async fn close_stream(&self, closing: Closing) -> Result<(), StoreError>;

    /// Puts a mark on a stream that is known or not, once; the audit log says when.
    async fn mark_stream(
        &self,
        attempt: &AttemptId,
        name: &StreamName,
        mark: StreamMark,
        now: u64,
    ) -> Result<(), StoreError>;

    /// All streams of a run, in the order of its attempts and their names; with the run's project.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]: there is no such run.
    async fn streams_of(&self, run: &RunId) -> Result<(Name, Vec<StreamListed>), StoreError>;

    /// The project and the tree of the source that an attempt builds.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]: there is no such attempt.
    async fn source_of(&self, attempt: &AttemptId) -> Result<(Name, String), StoreError>;

    /// The sources that runs build which have not ended: of each its project and its tree. A run whose plan makes no sense builds none.
    async fn sources_in_use(&self) -> Result<Vec<(Name, String)>, StoreError>;

    /// Those of these streams of an attempt that are not closed: what is still to come before the attempt can be finished.
    async fn unclosed_streams(
        &self,
        attempt: &AttemptId,
        names: Vec<String>,
    ) -> Result<Vec<String>, StoreError>;
}
