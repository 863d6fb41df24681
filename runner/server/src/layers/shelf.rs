//! Layers as files.
//!
//! ```text
//! layers/incoming/<attempt>      what an attempt is sending; one at a time, so that what nobody names stays little
//! layers/incoming/<attempt>.<n>  what it has sent, while that is read
//! layers/kept/<project>/<hex>    what records name
//! ```
//!
//! Nothing here is synced: whoever takes a layer verifies it, so a file that a loss of power tore costs one more run of a step.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use staith_model::{AttemptId, Digest, DigestStream, Name, service::SentLayer};
use tokio::sync::Mutex;

use crate::store::{BlobOf, StepCaps};

/// What is kept if nothing else is said.
const CAPS: StepCaps = StepCaps { bytes: 20 << 30, records: 200_000 };

/// An attempt that has sent nothing for so long sends nothing more.
const GIVEN_UP: Duration = Duration::from_secs(60 * 60);

/// Why bytes are not taken or given.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// They belong somewhere else.
    #[error("the layer goes on at {next}")]
    WrongOffset {
        /// Where it goes on.
        next: u64,
    },
    /// The bytes are not there.
    #[error("the bytes of the layer are not here")]
    NoSuchLayer,
    /// The system refuses.
    #[error("the layer can't be kept: {0}")]
    System(#[from] io::Error),
}

/// A layer that was sent and read: it is what it was said to be, and nobody writes to it. It goes with this value unless it is kept.
#[derive(Debug)]
pub(super) struct Sent(PathBuf);

impl Drop for Sent {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// The layers of a server. Cheap to clone. All calls but those that say otherwise block.
#[derive(Debug, Clone)]
pub struct Shelf {
    directory: PathBuf,
    /// How much is kept.
    pub caps: StepCaps,
    /// How often something that was sent was taken to be read.
    taken: Arc<AtomicU64>,
    /// Held while what is kept and what records name are changed together.
    pub(super) gate: Arc<Mutex<()>>,
}

impl Shelf {
    /// Layers below `data`/`layers`. Nothing is made.
    pub fn below(data: &Path) -> Self {
        Self { directory: data.join("layers"), caps: CAPS, taken: Arc::default(), gate: Arc::default() }
    }

    /// Where the bytes of a layer are, if they are.
    pub fn place(&self, project: &Name, blob: &Digest) -> PathBuf {
        self.directory.join("kept").join(project.as_str()).join(blob.hex())
    }

    fn incoming(&self, attempt: &AttemptId) -> PathBuf {
        self.directory.join("incoming").join(attempt.as_str())
    }

    /// Takes bytes of the layer that an attempt sends; at 0 it begins another one. Gives where it goes on.
    pub(super) fn append(&self, attempt: &AttemptId, offset: u64, bytes: &[u8]) -> Result<u64, ShelfError> {
        let path = self.incoming(attempt);
        if offset == 0 {
            let directory = self.directory.join("incoming");
            fs::create_dir_all(&directory)?;
            // What attempts left that ended meanwhile.
            entries(&directory).iter().filter(|(path, _)| is_old(path)).for_each(|(path, _)| remove(path));
        }
        let mut file = OpenOptions::new().create(true).write(true).truncate(offset == 0).open(&path)?;
        let next = file.seek(SeekFrom::End(0))?;
        if next != offset {
            return Err(ShelfError::WrongOffset { next });
        }
        file.write_all(bytes)?;
        Ok(offset + bytes.len() as u64)
    }

    /// What an attempt has sent, if it is this layer. Reads all of it. It is taken out of the attempt's hands before that: what it sends
    /// meanwhile is another layer, and not this one after it was read.
    pub(super) fn sent(&self, attempt: &AttemptId, layer: &SentLayer) -> Option<Sent> {
        let incoming = self.incoming(attempt);
        // A part of it goes on where it ends.
        fs::metadata(&incoming).ok().filter(|found| found.len() == layer.length)?;
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let sent = Sent(incoming.with_file_name(format!("{attempt}.{number}")));
        fs::rename(incoming, &sent.0).ok()?;
        let is_it = digest_of(&sent.0).is_ok_and(|digest| digest == layer.blob);
        is_it.then_some(sent)
    }

    /// Keeps what an attempt has sent, in the place of what was kept under this name: that may be damaged.
    pub(super) fn keep(&self, sent: &Sent, project: &Name, blob: &Digest) -> io::Result<()> {
        let place = self.place(project, blob);
        if let Some(directory) = place.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::rename(&sent.0, place)
    }

    /// Whether a layer is kept, as far as can be told without reading it.
    pub(super) fn has(&self, project: &Name, layer: &SentLayer) -> bool {
        fs::metadata(self.place(project, &layer.blob)).is_ok_and(|found| found.len() == layer.length)
    }

    /// Bytes of a layer, `most` at most.
    pub(super) fn piece(
        &self,
        project: &Name,
        blob: &Digest,
        offset: u64,
        most: u64,
    ) -> Result<Vec<u8>, ShelfError> {
        let mut file = match File::open(self.place(project, blob)) {
            Err(none) if none.kind() == io::ErrorKind::NotFound => return Err(ShelfError::NoSuchLayer),
            opened => opened?,
        };
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Takes away what no record names any more.
    pub(super) fn drop_all(&self, gone: &[BlobOf]) {
        for (project, blob) in gone {
            remove(&self.place(project, blob));
        }
    }

    /// Takes away what attempts of an earlier start were sending, and what no record names. Only before anybody asks.
    pub fn sweep(&self, named: &BTreeSet<BlobOf>) {
        for (path, _) in entries(&self.directory.join("incoming")) {
            remove(&path);
        }
        for (directory, project) in entries(&self.directory.join("kept")) {
            let project: Option<Name> = project.parse().ok();
            for (path, hex) in entries(&directory) {
                let blob = format!("sha256:{hex}").parse::<Digest>().ok();
                let is_named = project.clone().zip(blob).is_some_and(|of| named.contains(&of));
                if !is_named {
                    remove(&path);
                }
            }
        }
    }

    /// Nothing more comes of an attempt.
    pub(super) fn forget(&self, attempt: &AttemptId) {
        remove(&self.incoming(attempt));
    }
}

/// Whether nothing came for so long that nothing will.
fn is_old(path: &Path) -> bool {
    let changed = fs::metadata(path).and_then(|found| found.modified());
    changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|since| since > GIVEN_UP))
}

fn entries(directory: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| (entry.path(), entry.file_name().to_string_lossy().into_owned())).collect()
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(refused) if refused.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %refused, "a layer that nobody needs can't be removed");
        }
        _ => {}
    }
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    let (mut file, mut digest, mut buffer) = (File::open(path)?, DigestStream::new(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.finish()),
            read => digest.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_what_is_kept_whatever_is_sent_meanwhile() {
        let data = tempfile::tempdir().unwrap();
        let shelf = Shelf::below(data.path());
        let (attempt, project) = (AttemptId::new(1, [0; 10]), "shop".parse::<Name>().unwrap());
        let layer = SentLayer { layer: Digest::of(b"files"), blob: Digest::of(b"the layer"), length: 9 };
        shelf.append(&attempt, 0, b"the layer").unwrap();
        let sent = shelf.sent(&attempt, &layer).unwrap();
        shelf.append(&attempt, 0, b"the lover").unwrap();
        assert!(shelf.sent(&attempt, &layer).is_none(), "that is another one");
        shelf.keep(&sent, &project, &layer.blob).unwrap();
        drop(sent);
        assert_eq!(shelf.piece(&project, &layer.blob, 0, 100).unwrap(), b"the layer");
        assert!(entries(&data.path().join("layers/incoming")).is_empty(), "what nobody names does not stay");
    }
}
