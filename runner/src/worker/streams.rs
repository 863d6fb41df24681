//! What comes of a job, on its way to the server: its event log and the logs of its steps, by offset.
//!
//! The files are the spool. A file only grows; the server says how far it has it, and from there it goes on, after whatever went
//! wrong. What is sent twice is the same bytes at the same place.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use staith_model::{
    Digest, DigestStream, RunId, Secret,
    service::{CloseAsked, StreamState},
};

use crate::client::{Ask, Client, Refused};

/// Bytes that are sent at once: few enough to arrive within the time of one question on a slow link.
const AT_ONCE: u64 = 256 << 10;

/// Where bytes go to.
pub(super) struct Upload<'a> {
    pub(super) client: &'a Client,
    pub(super) token: &'a Secret,
    pub(super) attempt: &'a str,
    pub(super) fence: u64,
}

/// Why a stream can't be sent.
#[derive(Debug, thiserror::Error)]
enum Unsent {
    /// The server refused, or is away.
    #[error(transparent)]
    Refused(Refused),
    /// The file can't be read.
    #[error("{} can't be read: {}", .0.display(), .1)]
    Unreadable(PathBuf, io::Error),
    /// The server has more of it, or something else, than there is.
    #[error("{0}")]
    Other(String),
}

/// All streams of a job.
#[derive(Debug, Default)]
pub(super) struct Streams {
    all: BTreeMap<String, Stream>,
    /// Counts what went well.
    done: u64,
}

#[derive(Debug)]
struct Stream {
    path: PathBuf,
    /// How far the server has it, as far as is known. A runner that takes up a job begins with 0, and hears it with the first piece.
    next: u64,
    /// Whether the server takes no more of it, because it is longer than streams may be.
    is_full: bool,
    is_closed: bool,
    /// Why it can't be sent, and never will.
    broken: Option<String>,
}

impl Streams {
    /// Looks which streams there are by now.
    pub(super) fn look(&mut self, spool: &Path, run: &RunId) {
        for (name, path) in found(&spool.join(run.as_str())) {
            self.all.entry(name).or_insert(Stream {
                path,
                next: 0,
                is_full: false,
                is_closed: false,
                broken: None,
            });
        }
    }

    /// Their names, as the end of the attempt names them.
    pub(super) fn names(&self) -> Vec<String> {
        self.all.iter().filter(|(_, stream)| stream.broken.is_none()).map(|(name, _)| name.clone()).collect()
    }

    /// A number that grows when something was sent or closed.
    pub(super) const fn done(&self) -> u64 {
        self.done
    }

    /// Why some can't be sent, a sentence each.
    pub(super) fn broken(&self) -> Vec<String> {
        self.all.values().filter_map(|stream| stream.broken.clone()).collect()
    }

    /// Sends what is new of each, at most one piece of it. Whether anything was sent.
    pub(super) async fn send_some(&mut self, upload: &Upload<'_>) -> Result<bool, Refused> {
        let mut any = false;
        for (name, stream) in self.all.iter_mut().filter(|(_, stream)| stream.broken.is_none()) {
            match stream.send_some(upload, name).await {
                Ok(sent) => {
                    any |= sent;
                    self.done += u64::from(sent);
                }
                Err(Unsent::Refused(refused)) => return Err(refused),
                Err(unsent) => stream.broken = Some(unsent.to_string()),
            }
        }
        Ok(any)
    }

    /// Closes all, after everything of them was sent.
    pub(super) async fn close(&mut self, upload: &Upload<'_>) -> Result<(), Refused> {
        for (name, stream) in self.all.iter_mut().filter(|(_, stream)| stream.broken.is_none()) {
            match stream.close(upload, name).await {
                Ok(closed) => self.done += u64::from(closed),
                Err(Unsent::Refused(refused)) => return Err(refused),
                Err(unsent) => stream.broken = Some(unsent.to_string()),
            }
        }
        Ok(())
    }
}

/// The streams of a run by their names.
fn found(run: &Path) -> Vec<(String, PathBuf)> {
    let events = run.join("events.jsonl");
    let mut found = Vec::new();
    if events.is_file() {
        found.push(("events".to_owned(), events));
    }
    for entry in std::fs::read_dir(run.join("logs")).into_iter().flatten().flatten() {
        if let Some(step) = entry.file_name().to_str().and_then(|name| name.strip_suffix(".log")) {
            found.push((format!("log.{step}"), entry.path()));
        }
    }
    found
}

impl Stream {
    async fn send_some(&mut self, upload: &Upload<'_>, name: &str) -> Result<bool, Unsent> {
        let path = self.path.clone();
        let unreadable = |error| Unsent::Unreadable(path.clone(), error);
        let length = std::fs::metadata(&self.path).map_err(unreadable)?.len();
        let next = self.next;
        if next > length {
            return Err(Unsent::Other(format!(
                "the server has {next} bytes of `{name}`, and there are {length}"
            )));
        }
        if next == length || self.is_full {
            return Ok(false);
        }
        let piece = piece(&self.path, next, (length - next).min(AT_ONCE)).map_err(unreadable)?;
        match upload.put(name, next, piece).await {
            // It may have more: an earlier answer was lost.
            Ok(state) if state.next >= next && state.next <= length => self.next = state.next,
            Ok(state) => {
                return Err(Unsent::Other(format!(
                    "the server says that `{name}` goes on at {}",
                    state.next
                )));
            }
            Err(Unsent::Refused(Refused::Said(said))) => match (said.kind.as_str(), said.next) {
                ("wrong-offset", Some(there)) if there != next => self.next = there,
                ("stream-full", _) => self.is_full = true,
                ("divergent" | "too-many-streams" | "bad-stream", _) => {
                    return Err(Unsent::Other(said.title));
                }
                _ => return Err(Unsent::Refused(Refused::Said(said))),
            },
            // Whether it arrived, nobody knows: the same bytes at the same place do no harm.
            Err(unsent) => return Err(unsent),
        }
        Ok(true)
    }

    /// Whether it was not closed before.
    async fn close(&mut self, upload: &Upload<'_>, name: &str) -> Result<bool, Unsent> {
        if self.is_closed {
            return Ok(false);
        }
        let path = self.path.clone();
        let measured = tokio::task::spawn_blocking(move || measure(&path)).await;
        let measured = measured.unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
        let (length, digest) = measured.map_err(|error| Unsent::Unreadable(self.path.clone(), error))?;
        if let Err(unsent) = upload.close(name, length, digest).await {
            if let Unsent::Refused(Refused::Said(said)) = &unsent
                && let ("incomplete", Some(next)) = (said.kind.as_str(), said.next)
            {
                self.next = next;
            }
            return Err(unsent);
        }
        self.is_closed = true;
        Ok(true)
    }
}

impl Upload<'_> {
    fn path(&self, name: &str) -> String {
        // Names of steps and services need no escaping; `+`, between the two, means itself in a path.
        format!("/api/v1/attempts/{}/streams/{name}", self.attempt)
    }

    async fn put(&self, name: &str, offset: u64, piece: Vec<u8>) -> Result<StreamState, Unsent> {
        let path = format!("{}?offset={offset}&fence={}", self.path(name), self.fence);
        self.client.value(&Ask::put(path, piece).with(self.token)).await.map_err(Unsent::Refused)
    }

    async fn close(&self, name: &str, length: u64, digest: Digest) -> Result<(), Unsent> {
        let asked = CloseAsked { fence: self.fence, length, digest };
        let ask = Ask::post(format!("{}/close", self.path(name)), &asked).with(self.token);
        self.client.bytes(&ask).await.map(drop).map_err(Unsent::Refused)
    }
}

fn piece(path: &Path, from: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    File::open(path)?.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}

fn measure(path: &Path) -> io::Result<(u64, Digest)> {
    let (mut file, mut digest, mut length) = (File::open(path)?, DigestStream::new(), 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = io::Read::read(&mut file, &mut buffer)?;
        if read == 0 {
            return Ok((length, digest.finish()));
        }
        length += read as u64;
        digest.update(&buffer[..read]);
    }
}
