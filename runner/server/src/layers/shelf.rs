//! Layers as files.
//!
//! ```text
//! layers/incoming/<attempt>      what an attempt is sending; one at a time, so that what nobody names stays little
//! layers/kept/<project>/<hex>    what records name
//! ```
//!
//! Nothing here is synced: whoever takes a layer verifies it, so a file that a loss of power tore costs one more run of a step.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
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

/// The layers of a server. Cheap to clone. All calls but those that say otherwise block.
#[derive(Debug, Clone)]
pub struct Shelf {
    directory: PathBuf,
    /// How much is kept.
    pub caps: StepCaps,
    /// Held while what is kept and what records name are changed together.
    pub(super) gate: Arc<Mutex<()>>,
}

impl Shelf {
    /// Layers below `data`/`layers`. Nothing is made.
    pub fn below(data: &Path) -> Self {
        Self { directory: data.join("layers"), caps: CAPS, gate: Arc::default() }
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

    /// Whether what an attempt has sent is this layer. Reads all of it.
    pub(super) fn has_sent(&self, attempt: &AttemptId, layer: &SentLayer) -> bool {
        let path = self.incoming(attempt);
        fs::metadata(&path).is_ok_and(|found| found.len() == layer.length)
            && digest_of(&path).is_ok_and(|digest| digest == layer.blob)
    }

    /// Keeps what an attempt has sent, in the place of what was kept under this name: that may be damaged.
    pub(super) fn keep(&self, attempt: &AttemptId, project: &Name, blob: &Digest) -> io::Result<()> {
        let place = self.place(project, blob);
        if let Some(directory) = place.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::rename(self.incoming(attempt), place)
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
