//! The files of an image's archive or layout, by their names.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek as _, SeekFrom},
    ops::ControlFlow,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::Arc,
};

use rustix::fs::{Mode, OFlags};
use staith_model::Digest;

use super::{
    archive::{self, Flaw, Kind},
    config,
    decode::decoded,
    error::{ImageError, at, tamed},
    place::Inside,
    store::Store,
};
use crate::layers::open_below;

/// An archive that unpacks to more is no image.
const LARGEST: u64 = 256 << 30;
/// Files in an archive that holds layers, not what is in them; a root file system is not read this way any further.
const MOST_FILES: usize = 20_000;

/// Where an image's files are.
pub(super) enum Bundle {
    Directory(PathBuf),
    Archive { file: Arc<File>, files: BTreeMap<Vec<u8>, Part> },
}

/// A file in an archive.
pub(super) enum Part {
    /// Where it begins, and how long it is.
    Bytes(u64, u64),
    /// Another name of the same archive: docker links layers that are the same.
    Link(Vec<u8>),
}

impl Bundle {
    pub(super) fn of_directory(path: PathBuf) -> Self {
        Self::Directory(path)
    }

    /// Looks through an archive; one that is compressed is first written out without that.
    pub(super) fn of_archive(file: File, store: &Store) -> Result<Self, ImageError> {
        let doing = "reading the image's archive";
        let flawed = |error: io::Error| ImageError::of_flaw(doing, error.into());
        let mut file = uncompressed(file, store)?;
        file.seek(SeekFrom::Start(0)).map_err(flawed)?;
        let mut files = BTreeMap::new();
        let read = archive::read(&mut io::BufReader::new(&file), &mut |entry, _| {
            let part = match &entry.kind {
                Kind::File => Part::Bytes(entry.offset, entry.size),
                Kind::Symlink(target) | Kind::HardLink(target) => Part::Link(target.clone()),
                _ => return Ok(ControlFlow::Continue(())),
            };
            if let Some(path) = Inside::of(&entry.path)? {
                files.insert(path.bytes().to_vec(), part);
            }
            // A root file system has many, and none of the names that are looked for.
            Ok(if files.len() > MOST_FILES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        read.map_err(|flaw| ImageError::of_flaw(doing, flaw))?;
        if files.is_empty() {
            return Err(ImageError::unsound("the image's archive can't be used", "no file is in it"));
        }
        Ok(Self::Archive { file: Arc::new(file), files })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Directory(path) => path.join(name).is_file(),
            Self::Archive { files, .. } => files.contains_key(name.as_bytes()),
        }
    }

    /// A file of the bundle.
    pub(super) fn open(&self, name: &str) -> Result<Box<dyn Read>, ImageError> {
        let absent =
            || ImageError::unsound("the image is not complete", format!("`{}` is not in it", tamed(name)));
        match self {
            Self::Directory(path) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let root = rustix::fs::open(path, flags, Mode::empty()).map_err(at("opening", path))?;
                let inside = Inside::of(name.as_bytes()).ok().flatten().ok_or_else(absent)?;
                // No link of a layout leads out of it.
                let opened = open_below(std::os::fd::AsFd::as_fd(&root), inside.path(), OFlags::RDONLY);
                let file = File::from(opened.map_err(|_| absent())?);
                let is_file = file.metadata().is_ok_and(|found| found.is_file());
                if is_file { Ok(Box::new(file)) } else { Err(absent()) }
            }
            Self::Archive { file, files } => {
                let mut part = files.get(name.as_bytes()).ok_or_else(absent)?;
                if let Part::Link(target) = part {
                    part = self::target(name, target)
                        .and_then(|target| files.get(&target))
                        .ok_or_else(absent)?;
                }
                let Part::Bytes(at, length) = part else { return Err(absent()) };
                Ok(Box::new(Slice { file: Arc::clone(file), at: *at, left: *length }))
            }
        }
    }

    /// A file that describes something, in memory.
    pub(super) fn small(&self, name: &str) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Vec::new();
        let read = self.open(name)?.take(config::LONGEST + 1).read_to_end(&mut bytes);
        read.map_err(|error| ImageError::of_flaw(format!("reading `{}`", tamed(name)), error.into()))?;
        if bytes.len() as u64 > config::LONGEST {
            return Err(ImageError::unsound(
                "the image can't be used",
                format!("`{}` is too long", tamed(name)),
            ));
        }
        Ok(bytes)
    }

    /// A description in an OCI layout, which has to be what its name says.
    pub(super) fn blob(&self, digest: &str) -> Result<Vec<u8>, ImageError> {
        let bytes = self.small(&Self::blob_name(digest)?)?;
        if Digest::of(&bytes).to_string() == digest {
            return Ok(bytes);
        }
        Err(ImageError::unsound("the image is damaged", format!("the blob {digest} has another digest")))
    }

    pub(super) fn blob_name(digest: &str) -> Result<String, ImageError> {
        let digest: Digest = digest
            .parse()
            .map_err(|_| ImageError::unsound("only digests with SHA-256 are supported", tamed(digest)))?;
        Ok(format!("blobs/sha256/{}", digest.hex()))
    }

    /// All of an archive, without compression.
    pub(super) fn whole(&self) -> Result<Box<dyn Read>, ImageError> {
        match self {
            Self::Directory(path) => Err(at("reading", path)(io::Error::from(io::ErrorKind::IsADirectory))),
            Self::Archive { file, .. } => {
                Ok(Box::new(Slice { file: Arc::clone(file), at: 0, left: LARGEST }))
            }
        }
    }
}

/// The archive without what it is compressed with.
fn uncompressed(mut file: File, store: &Store) -> Result<File, ImageError> {
    let flawed = |error: io::Error| ImageError::of_flaw("reading the image's archive", error.into());
    let mut start = [0; 4];
    let length = file.read(&mut start).map_err(flawed)?;
    file.seek(SeekFrom::Start(0)).map_err(flawed)?;
    let is_packed = start[..length].starts_with(&[0x1f, 0x8b]) || start == [0x28, 0xb5, 0x2f, 0xfd];
    if !is_packed {
        return Ok(file);
    }
    let mut plain = store.scratch_file()?;
    let written = io::copy(&mut decoded(file).map_err(flawed)?.take(LARGEST), &mut plain).map_err(flawed)?;
    if written == LARGEST {
        return Err(ImageError::of_flaw(
            "the archive",
            Flaw::TooLarge(format!("it unpacks to {} GiB", LARGEST >> 30)),
        ));
    }
    Ok(plain)
}

/// Where a link in an archive leads, as a name of the archive.
fn target(name: &str, link: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = name.as_bytes().split(|byte| *byte == b'/').collect();
    parts.pop();
    for part in link.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

/// A part of a file.
struct Slice {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Slice {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(to.len());
        let length = self.file.read_at(&mut to[..most], self.at)?;
        self.at += length as u64;
        self.left -= length as u64;
        Ok(length)
    }
}
