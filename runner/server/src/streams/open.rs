//! One stream that is being written.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use staith_model::Digest;
use tokio::sync::{Mutex, watch};

use super::{refusal::StreamRefusal, syncing::Key};

/// Bytes are compared with the file in pieces of this.
const PIECE: usize = 64 << 10;

/// A stream, open for more.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) key: Key,
    pub(super) fence: u64,
    /// Whether it is closed: then nothing is written any more.
    pub(super) closed: std::sync::Mutex<Option<Digest>>,
    /// Bytes of all streams of the attempt.
    pub(super) together: Arc<AtomicU64>,
    pub(super) written: Arc<Mutex<Written>>,
    pub(super) durable: watch::Sender<Durable>,
}

/// The file and what is in it, durable or not.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) file: Arc<File>,
    pub(super) length: u64,
    /// Somebody will make it durable.
    pub(super) is_dirty: bool,
    /// Its folders are not known to be on the disk.
    pub(super) is_new: bool,
    /// What is in the file is not known any more; it is opened anew, and nothing is written by this.
    pub(super) gone: bool,
}

/// How far a stream may be acknowledged and read.
#[derive(Debug, Clone, Default)]
pub(super) struct Durable {
    pub(super) length: u64,
    pub(super) lost: Option<Lost>,
}

/// Why bytes that came are not durable.
#[derive(Debug, Clone)]
pub(super) enum Lost {
    Full,
    Stale(u64, String),
    Failed(String),
}

impl From<Lost> for StreamRefusal {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Full => Self::Full,
            Lost::Stale(given, now) => Self::Store(crate::store::StoreError::StaleFence { given, now }),
            Lost::Failed(why) => Self::Lost(why),
        }
    }
}

/// What became of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// All of it is written up to here; so many bytes are new.
    Taken { end: u64, new: u64 },
    /// It does not begin where the stream ends.
    Gap,
    /// The file has another byte here.
    Differs(u64),
    /// So many bytes are new, and it is as long as it may be.
    Full { new: u64 },
}

impl Written {
    /// Opens a file, makes it where it is not there, and cuts it to what is durable.
    ///
    /// # Errors
    /// It is shorter than what was acknowledged (`InvalidData`), or the system refuses.
    pub(super) fn open(path: &Path, durable: u64) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        let is_new = !path.exists();
        let file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?;
        let found = file.metadata()?.len();
        if found < durable {
            if is_new {
                let _ = fs::remove_file(path);
            }
            let why = format!("{} has {found} bytes, and {durable} were acknowledged", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        file.set_len(durable)?;
        // A file that lost its server before it counted may be there without its folder being on the disk.
        let is_new = is_new || durable == 0;
        Ok(Self { file: Arc::new(file), length: durable, is_dirty: false, is_new, gone: false })
    }

    /// Compares what is there already, and appends the rest up to `cap` (the stream's length) at most. What was not written in full
    /// is taken back.
    ///
    /// # Errors
    /// The system refuses; the stream is as before.
    pub(super) fn put(&mut self, offset: u64, bytes: &[u8], cap: u64) -> io::Result<Put> {
        if offset > self.length {
            return Ok(Put::Gap);
        }
        let known = usize::try_from(self.length - offset).unwrap_or(usize::MAX).min(bytes.len());
        let (known, rest) = bytes.split_at(known);
        if let Some(at) = self.first_difference(offset, known)? {
            return Ok(Put::Differs(at));
        }
        let room = usize::try_from(cap.saturating_sub(self.length)).unwrap_or(usize::MAX);
        let fitting = &rest[..rest.len().min(room)];
        if let Err(refused) = self.file.write_all_at(fitting, self.length) {
            // The file's length says nothing to anybody, so failing to cut it again is no failure.
            let _ = self.file.set_len(self.length);
            return Err(refused);
        }
        let new = fitting.len() as u64;
        self.length += new;
        let all = fitting.len() == rest.len();
        Ok(if all { Put::Taken { end: offset + bytes.len() as u64, new } } else { Put::Full { new } })
    }

    fn first_difference(&self, offset: u64, bytes: &[u8]) -> io::Result<Option<u64>> {
        let mut there = vec![0; PIECE.min(bytes.len())];
        let mut at = offset;
        for piece in bytes.chunks(PIECE) {
            let there = &mut there[..piece.len()];
            self.file.read_exact_at(there, at)?;
            if let Some(first) = there.iter().zip(piece).position(|(one, other)| one != other) {
                return Ok(Some(at + first as u64));
            }
            at += piece.len() as u64;
        }
        Ok(None)
    }
}

impl Open {
    /// Counts bytes of the attempt; gives them back where there are too many of them.
    pub(super) fn reserve(&self, bytes: u64, cap: u64) -> bool {
        let before = self.together.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= cap;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.together.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What may be acknowledged and read.
    pub(super) fn durable(&self) -> u64 {
        self.durable.borrow().length
    }
}
