//! Why bytes are not taken.

use crate::{api::Problem, store::StoreError};

/// Why a stream is not what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StreamRefusal {
    /// Bytes are missing before these.
    #[error("the stream goes on at {next}, not at {given}")]
    WrongOffset {
        /// Where these bytes would be.
        given: u64,
        /// Where the stream goes on; what is before is durable.
        next: u64,
    },
    /// Other bytes were sent for the same place before.
    #[error("byte {at} and what follows it was sent before, and with other bytes")]
    Divergent {
        /// The first byte that differs; for a digest, the length.
        at: u64,
        /// What is durable.
        next: u64,
    },
    /// It is closed, and this would be more.
    #[error("the stream is closed with {length} bytes")]
    Closed {
        /// Its length.
        length: u64,
    },
    /// It is to be closed, and bytes are missing.
    #[error("the stream has {next} bytes, and {length} were announced")]
    Incomplete {
        /// What was announced.
        length: u64,
        /// What is durable.
        next: u64,
    },
    /// It has as many bytes as are kept of one.
    #[error("no more than {limit} bytes are kept of {what}")]
    TooLong {
        /// Of what: a stream, or all streams of an attempt.
        what: &'static str,
        /// How many.
        limit: u64,
        /// What is durable of this stream.
        next: u64,
    },
    /// The attempt has as many streams as it can have.
    #[error("an attempt has at most {limit} streams")]
    TooMany {
        /// How many.
        limit: u64,
    },
    /// There is no room on the disk.
    #[error("the server's disk is full")]
    Full,
    /// The bytes could not be made durable, or the database failed; they are as if they had not come.
    #[error("the bytes could not be made durable: {0}")]
    Lost(String),
    /// What the store says.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<std::io::Error> for StreamRefusal {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Lost(error.to_string()),
        }
    }
}

impl From<StreamRefusal> for Problem {
    fn from(refusal: StreamRefusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            StreamRefusal::WrongOffset { next, .. } => {
                Self::new(416, "wrong-offset", text).with_next(next).with_remedy("send what follows `next`")
            }
            StreamRefusal::Divergent { next, .. } => Self::new(409, "divergent", text)
                .with_next(next)
                .with_why("what came first is kept, and the stream is marked"),
            StreamRefusal::Closed { length } => Self::new(409, "closed", text).with_next(length),
            StreamRefusal::Incomplete { next, .. } => {
                Self::new(409, "incomplete", text).with_next(next).with_remedy("send what follows `next`")
            }
            StreamRefusal::TooLong { next, .. } => Self::new(413, "stream-full", text)
                .with_next(next)
                .with_why(
                    "the first bytes are kept, and everybody who reads the stream is told that it was cut",
                )
                .with_remedy("send no more of it, and close it"),
            StreamRefusal::TooMany { .. } => Self::new(413, "too-many-streams", text),
            StreamRefusal::Full => Self::new(507, "disk-full", text)
                .with_why("what was acknowledged before is kept")
                .with_remedy("make room on the server's disk; what was refused can be sent again"),
            StreamRefusal::Lost(_) => {
                tracing::error!(error = text, "bytes of a stream are not durable");
                Self::new(503, "not-durable", "the bytes could not be made durable")
                    .with_why("what was acknowledged before is kept")
                    .with_remedy("ask for the stream's state and send what follows")
            }
            StreamRefusal::Store(error) => error.into(),
        }
    }
}
