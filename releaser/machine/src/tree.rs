//! Looks at a release's files and says what of them is missing or different.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _},
    num::NonZero,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FileType, Stat};
use staith_model::{Digest, DigestStream, Entry, Manifest, RelPath};

use crate::{
    folder::Near,
    protocol::Asked,
    refusal::{self, Outcome},
    session::Flags,
    verified::{Mark, Node, Verified},
};

/// Large enough to keep a disk busy, small enough to notice a cancellation soon.
const CHUNK: usize = 128 << 10;

/// Whether a mode lets anybody execute.
pub(crate) const fn is_executable(mode: u32) -> bool {
    mode & 0o111 != 0
}

/// The mode that a file has on a machine: read-only, because releases share it.
pub(crate) const fn kept_mode(executable: bool) -> u32 {
    if executable { 0o555 } else { 0o444 }
}

/// Whether a mode is one of those that shared files have on a machine.
pub(crate) const fn is_kept_mode(mode: u32) -> bool {
    let bits = mode & 0o7777;
    bits == kept_mode(false) || bits == kept_mode(true)
}

/// Work on many items by a few threads, in order; the first refusal ends it.
pub(crate) fn together<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Outcome<R> + Sync,
) -> Outcome<Vec<R>> {
    together_with(items, || (), |(), item| work(item))
}

/// Work on many items by a few threads, of which each has something of its own at hand.
fn together_with<'t, T: Sync, S, R: Send>(
    items: &'t [T],
    at_hand: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &'t T) -> Outcome<R> + Sync,
) -> Outcome<Vec<R>> {
    let share = |items: &'t [T]| {
        let mut at_hand = at_hand();
        items.iter().map(|item| work(&mut at_hand, item)).collect::<Outcome<Vec<R>>>()
    };
    let threads = threads();
    if items.len() < 64 || threads < 2 {
        return share(items);
    }
    let done: Vec<Outcome<Vec<R>>> = std::thread::scope(|scope| {
        let share = &share;
        let chunks = items.chunks(items.len().div_ceil(threads));
        let shares: Vec<_> = chunks.map(|chunk| scope.spawn(move || share(chunk))).collect();
        let panicked = |_| Err(refusal::ours("a thread of the program ended unexpectedly"));
        shares.into_iter().map(|share| share.join().unwrap_or_else(panicked)).collect()
    });
    let mut all = Vec::with_capacity(items.len());
    for part in done {
        all.extend(part?);
    }
    Ok(all)
}

/// As many threads as are of use: a disk is not faster with more.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get).min(4)
}

/// What a look at a tree found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// What is missing or different, and how.
    pub(crate) damage: Vec<(RelPath, String)>,
    /// Files that were hashed, and are right.
    pub(crate) marks: Vec<(u64, Mark)>,
}

/// Holds the tree at `root` against its manifest. A file that was verified and not touched since is taken for right; `None`
/// means to hash all. What is there beside the manifest is not damage: applications write byte-code and logs.
pub(crate) fn look(
    root: &Path,
    manifest: &Manifest,
    verified: Option<&Verified>,
    flags: &Flags,
) -> Outcome<Findings> {
    let entries: Vec<_> = manifest.entries.iter().collect();
    let near = || Near::new(root);
    let looked = together_with(&entries, near, |near, (path, entry)| {
        let look = || near.look(path.as_str());
        match look_at(look, || root.join(path.as_str()), entry, verified, flags) {
            Ok(mark) => Ok((None, mark)),
            Err(Wrong::Damage(what)) => Ok((Some(((*path).clone(), what)), None)),
            Err(Wrong::Stop) => Err(Asked::Cancelled),
            Err(Wrong::Io(error)) => match error.kind() {
                io::ErrorKind::NotFound => Ok((Some(((*path).clone(), "it is missing".into())), None)),
                io::ErrorKind::NotADirectory => {
                    Ok((Some(((*path).clone(), "it is something else".into())), None))
                }
                _ if is_bad_sector(&error) => Ok((Some(((*path).clone(), "it can't be read".into())), None)),
                _ => Err(refusal::told("verify", &root.join(path.as_str()), &error)),
            },
        }
    })?;
    let mut findings = Findings::default();
    for (damage, mark) in looked {
        findings.damage.extend(damage);
        findings.marks.extend(mark);
    }
    Ok(findings)
}

pub(crate) fn is_bad_sector(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

pub(crate) enum Wrong {
    Damage(String),
    Io(io::Error),
    Stop,
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn look_at(
    look: impl FnOnce() -> io::Result<Stat>,
    at: impl Fn() -> PathBuf,
    entry: &Entry,
    verified: Option<&Verified>,
    flags: &Flags,
) -> Result<Option<(u64, Mark)>, Wrong> {
    let damaged = |what: &str| Err(Wrong::Damage(what.to_owned()));
    let node = Node::from(&look()?);
    let kind = FileType::from_raw_mode(node.mode);
    match entry {
        Entry::Directory if kind == FileType::Directory => Ok(None),
        Entry::Directory => damaged("it is no directory"),
        Entry::Symlink { target } => {
            let same = kind == FileType::Symlink && fs::read_link(at())?.as_os_str() == target.as_str();
            if same { Ok(None) } else { damaged("it is another link, or none") }
        }
        Entry::File { mode, size, digest } => {
            if kind != FileType::RegularFile {
                return damaged("it is no file");
            }
            if node.size != *size {
                return damaged("its length differs");
            }
            if is_executable(node.mode) != is_executable(*mode) {
                return damaged("its executable bit differs");
            }
            if verified.is_some_and(|verified| verified.holds(node, *digest)) {
                return Ok(None);
            }
            if hash(&at(), flags)? != *digest {
                return damaged("its content differs");
            }
            Ok(Some((node.inode, Mark::of(node, *digest))))
        }
    }
}

/// Whether a file can stand for a content: it is that content, by a mark or by its bytes, and has the mode.
pub(crate) fn is_content(
    at: &Path,
    metadata: &Metadata,
    wanted: (u64, Digest, u32),
    verified: &Verified,
    flags: &Flags,
) -> Result<bool, Wrong> {
    let (size, digest, mode) = wanted;
    if !metadata.is_file() || metadata.len() != size || metadata.mode() & 0o7777 != mode {
        return Ok(false);
    }
    Ok(verified.holds(metadata, digest) || hash(at, flags)? == digest)
}

fn hash(path: &Path, flags: &Flags) -> Result<Digest, Wrong> {
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut file: File = OpenOptions::new().read(true).custom_flags(nofollow).open(path)?;
    let (mut stream, mut chunk) = (DigestStream::new(), vec![0; CHUNK]);
    loop {
        if flags.stop() {
            return Err(Wrong::Stop);
        }
        match file.read(&mut chunk) {
            Ok(0) => return Ok(stream.finish()),
            Ok(length) => stream.update(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}
