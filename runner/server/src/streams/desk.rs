//! Where the bytes of attempts are taken.

use std::{
    collections::HashMap,
    fmt,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use staith_model::{AttemptId, Digest, DigestStream};
use tokio::{
    sync::{OnceCell, watch},
    task::spawn_blocking,
};

use super::{
    StreamName,
    open::{Durable, Lost, Open, Put, Written},
    refusal::StreamRefusal,
    syncing::{Dirty, Key, sync_all},
};
use crate::{
    bells::Bell,
    store::{Closing, Store, StoreError, StreamMark, StreamRow},
};

/// Streams that are kept open though nobody writes to them.
const IDLE: usize = 1024;

/// How much is kept of what an attempt sends.
#[derive(Debug, Clone, Copy)]
pub struct Caps {
    /// Bytes of one stream.
    pub stream: u64,
    /// Bytes of all streams of an attempt.
    pub attempt: u64,
    /// Streams of an attempt.
    pub streams: u64,
}

impl Default for Caps {
    fn default() -> Self {
        Self { stream: 1 << 30, attempt: 4 << 30, streams: 16_384 }
    }
}

/// Takes the bytes of attempts. Cheap to clone.
#[derive(Clone)]
pub struct Desk(pub(super) Arc<Inner>);

/// A stream that is open, or that somebody opens.
type Cell = Arc<OnceCell<Arc<Open>>>;

pub(super) struct Inner {
    pub(super) store: Arc<dyn Store>,
    /// The folder of all streams.
    pub(super) dir: PathBuf,
    pub(super) bell: Bell,
    pub(super) dirty: Dirty,
    pub(super) given: AtomicU64,
    caps: Caps,
    opened: Mutex<HashMap<(AttemptId, StreamName), Cell>>,
    together: Mutex<HashMap<AttemptId, Weak<AtomicU64>>>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("dir", &self.0.dir).finish_non_exhaustive()
    }
}

/// How far a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// All bytes before are durable.
    pub next: u64,
    /// Its digest, once it is closed.
    pub closed: Option<Digest>,
}

impl Desk {
    /// A desk that keeps bytes below `data`/`streams`, and rings when there are more.
    pub fn new(store: Arc<dyn Store>, data: &Path, bell: Bell, caps: Caps) -> Self {
        let (opened, together) = (Mutex::default(), Mutex::default());
        let (dirty, given) = (Dirty::default(), AtomicU64::new(0));
        Self(Arc::new(Inner { store, dir: data.join("streams"), bell, dirty, given, caps, opened, together }))
    }

    /// Takes a piece of a stream, up to some hundred kilobytes. It is written, and not durable yet: answers the end of the piece,
    /// for [`Desk::durable`]. Cancelled, it may have happened.
    ///
    /// # Errors
    /// See [`StreamRefusal`]; what was durable stays.
    pub async fn put(
        &self,
        attempt: &AttemptId,
        name: &StreamName,
        fence: u64,
        offset: u64,
        bytes: Vec<u8>,
        now: u64,
    ) -> Result<u64, StreamRefusal> {
        let open = self.opened(attempt, name, fence).await?;
        let length = bytes.len() as u64;
        let (put, bytes_written) = self.write(&open, offset, bytes).await?;
        match put {
            Put::Taken { end, .. } => Ok(end),
            Put::Gap => Err(StreamRefusal::WrongOffset { given: offset, next: open.durable() }),
            Put::Differs(at) => {
                self.0.store.mark_stream(attempt, name, StreamMark::Divergent, now).await?;
                Err(StreamRefusal::Divergent { at, next: open.durable() })
            }
            Put::Full { .. } if open.closed().is_some() => {
                Err(StreamRefusal::Closed { length: open.durable() })
            }
            Put::Full { .. } => {
                let next = self.until(&open, bytes_written).await?;
                self.0.store.mark_stream(attempt, name, StreamMark::Cut, now).await?;
                let limit = self.0.caps.stream;
                let (what, limit) = if offset.saturating_add(length) > limit {
                    ("a stream", limit)
                } else {
                    ("the streams of an attempt", self.0.caps.attempt)
                };
                Err(StreamRefusal::TooLong { what, limit, next })
            }
        }
    }

    /// What [`Put`] came to, and how long the stream is now.
    async fn write(
        &self,
        open: &Arc<Open>,
        offset: u64,
        bytes: Vec<u8>,
    ) -> Result<(Put, u64), StreamRefusal> {
        let mut written = Arc::clone(&open.written).lock_owned().await;
        if written.gone {
            return Err(lost_now(open));
        }
        let reserved = bytes.len() as u64;
        let has_room = open.reserve(reserved, self.0.caps.attempt);
        let cap = match (open.closed(), has_room) {
            (None, true) => self.0.caps.stream,
            _ => written.length,
        };
        let writing = spawn_blocking(move || {
            let put = written.put(offset, &bytes, cap);
            (written, put)
        });
        let (mut written, put) =
            writing.await.map_err(|panicked| StreamRefusal::Lost(panicked.to_string()))?;
        let new = match &put {
            Ok(Put::Taken { new, .. } | Put::Full { new }) => *new,
            _ => 0,
        };
        if has_room {
            open.give_back(reserved - new);
        }
        let length = written.length;
        if new > 0 {
            let is_first = !std::mem::replace(&mut written.is_dirty, true);
            let nobody_syncs = self.0.dirty.add(open, new, is_first);
            drop(written);
            if nobody_syncs {
                tokio::spawn(sync_all(Arc::clone(&self.0)));
            }
        }
        Ok((put?, length))
    }

    /// Waits until all bytes before `end` are durable. Cancel-safe.
    ///
    /// # Errors
    /// They can't be; the stream goes on at what was durable before.
    pub async fn durable(
        &self,
        attempt: &AttemptId,
        name: &StreamName,
        fence: u64,
        end: u64,
    ) -> Result<Reached, StreamRefusal> {
        let open = self.opened(attempt, name, fence).await?;
        let next = self.until(&open, end).await?;
        Ok(Reached { next, closed: open.closed() })
    }

    async fn until(&self, open: &Arc<Open>, end: u64) -> Result<u64, StreamRefusal> {
        if open.durable() < end && open.written.lock().await.length < end {
            // It was opened anew since, and what came before that is lost.
            return Err(StreamRefusal::Lost("the stream was opened again".to_owned()));
        }
        let mut durable = open.durable.subscribe();
        let told = durable.wait_for(|durable| durable.length >= end || durable.lost.is_some()).await;
        match told.map(|durable| durable.clone()) {
            Ok(Durable { length, .. }) if length >= end => Ok(length),
            Ok(Durable { lost: Some(lost), .. }) => Err(lost.into()),
            _ => Err(StreamRefusal::Lost("the server ends".to_owned())),
        }
    }

    /// Closes a stream: from now on it is these bytes. The same again is fine. A stream that was cut is closed with what is kept of
    /// it, whatever was announced.
    ///
    /// # Errors
    /// [`StreamRefusal::Incomplete`]: bytes are missing. [`StreamRefusal::Divergent`]: they are others than the digest says.
    pub async fn close(
        &self,
        attempt: &AttemptId,
        name: &StreamName,
        fence: u64,
        (length, digest): (u64, Digest),
        now: u64,
    ) -> Result<Reached, StreamRefusal> {
        let place = self.0.store.stream_place(attempt, name).await?;
        let row = place.stream.unwrap_or_default();
        if let Some(closed) = row.digest {
            let is_same = row.cut || (row.length == length && closed == digest);
            let refused = StreamRefusal::Closed { length: row.length };
            return if is_same {
                Ok(Reached { next: row.length, closed: Some(closed) })
            } else {
                Err(refused)
            };
        }
        let open = self.opened(attempt, name, fence).await?;
        let written = open.written.lock().await.length;
        let next = self.until(&open, written).await?;
        if next != length && !row.cut {
            return Err(StreamRefusal::Incomplete { length, next });
        }
        let found = self.hashed(&open, next).await?;
        if found != digest && !row.cut {
            self.0.store.mark_stream(attempt, name, StreamMark::Divergent, now).await?;
            return Err(StreamRefusal::Divergent { at: next, next });
        }
        let closing =
            Closing { attempt: attempt.clone(), name: name.clone(), fence, length: next, digest: found };
        self.0.store.close_stream(closing).await?;
        *open.closed.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        self.0.forget(&open.key, Some(&open));
        self.0.bell.ring();
        Ok(Reached { next, closed: Some(found) })
    }

    async fn hashed(&self, open: &Arc<Open>, length: u64) -> Result<Digest, StreamRefusal> {
        let path = open.key.path(&self.0.dir);
        let hashing = spawn_blocking(move || -> std::io::Result<Digest> {
            let (mut hash, mut piece) = (DigestStream::new(), vec![0; 256 << 10]);
            let mut file = File::open(path)?.take(length);
            loop {
                match file.read(&mut piece)? {
                    0 => return Ok(hash.finish()),
                    read => hash.update(&piece[..read]),
                }
            }
        });
        Ok(hashing.await.map_err(|panicked| StreamRefusal::Lost(panicked.to_string()))??)
    }

    /// What is known of a stream for readers: as far as it is durable, without asking the database where it is being written.
    pub(super) fn grown(&self, attempt: &AttemptId, name: &StreamName) -> Option<u64> {
        let opened = self.0.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = opened.get(&(attempt.clone(), name.clone()))?;
        cell.get().filter(|open| open.closed().is_none()).map(|open| open.durable())
    }

    /// Bytes that were read from files for readers since the server started.
    pub fn given(&self) -> u64 {
        self.0.given.load(Ordering::Relaxed)
    }

    async fn opened(
        &self,
        attempt: &AttemptId,
        name: &StreamName,
        fence: u64,
    ) -> Result<Arc<Open>, StreamRefusal> {
        let cell = self.0.cell(attempt, name);
        let open = cell.get_or_try_init(|| self.0.open(attempt, name)).await?;
        if open.fence != fence {
            let now = format!("the attempt has {}", open.fence);
            return Err(StoreError::StaleFence { given: fence, now }.into());
        }
        Ok(Arc::clone(open))
    }
}

fn lost_now(open: &Open) -> StreamRefusal {
    let lost = open.durable.borrow().lost.clone();
    lost.map_or_else(|| StreamRefusal::Lost("the stream was opened again".to_owned()), Into::into)
}

impl Open {
    pub(super) fn closed(&self) -> Option<Digest> {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn cell(&self, attempt: &AttemptId, name: &StreamName) -> Cell {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.len() > IDLE {
            // Whoever writes or waits for a sync holds what it writes to.
            opened.retain(|_, cell| {
                Arc::strong_count(cell) > 1 || cell.get().is_some_and(|open| Arc::strong_count(open) > 1)
            });
        }
        Arc::clone(opened.entry((attempt.clone(), name.clone())).or_default())
    }

    async fn open(&self, attempt: &AttemptId, name: &StreamName) -> Result<Arc<Open>, StreamRefusal> {
        let place = self.store.stream_place(attempt, name).await?;
        if !place.live {
            let now = "the attempt has ended".to_owned();
            return Err(StoreError::StaleFence { given: place.fence, now }.into());
        }
        if place.stream.is_none() && place.streams >= self.caps.streams {
            return Err(StreamRefusal::TooMany { limit: self.caps.streams });
        }
        let StreamRow { length, digest, .. } = place.stream.unwrap_or_default();
        let key = Key { run: place.run, attempt: attempt.clone(), name: name.clone() };
        let path = key.path(&self.dir);
        let opening = spawn_blocking(move || Written::open(&path, length));
        let written = opening.await.map_err(|panicked| StreamRefusal::Lost(panicked.to_string()))??;
        Ok(Arc::new(Open {
            together: self.together(attempt, place.bytes),
            key,
            fence: place.fence,
            closed: Mutex::new(digest),
            written: Arc::new(tokio::sync::Mutex::new(written)),
            durable: watch::Sender::new(Durable { length, lost: None }),
        }))
    }

    fn together(&self, attempt: &AttemptId, known: u64) -> Arc<AtomicU64> {
        let mut all = self.together.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, bytes| bytes.strong_count() > 0);
        if let Some(bytes) = all.get(attempt).and_then(Weak::upgrade) {
            return bytes;
        }
        let bytes = Arc::new(AtomicU64::new(known));
        all.insert(attempt.clone(), Arc::downgrade(&bytes));
        bytes
    }

    /// Nothing more is written by this; the next one who asks opens the stream as it is durable.
    pub(super) async fn give_up(&self, open: &Arc<Open>, lost: Lost) {
        let mut written = open.written.lock().await;
        written.gone = true;
        // What was reserved for bytes that are lost may be used again.
        open.give_back(written.length.saturating_sub(open.durable()));
        self.forget(&open.key, Some(open));
        open.durable.send_modify(|durable| durable.lost = Some(lost));
    }

    fn forget(&self, key: &Key, only: Option<&Arc<Open>>) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let at = (key.attempt.clone(), key.name.clone());
        let is_it = opened.get(&at).is_some_and(|cell| {
            only.is_none_or(|open| cell.get().is_some_and(|there| Arc::ptr_eq(there, open)))
        });
        if is_it {
            opened.remove(&at);
        }
    }
}
