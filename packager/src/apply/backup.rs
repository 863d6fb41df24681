//! What was there before, kept beside: a snapshot of the whole destination in a directory of its own.
//!
//! A snapshot is a plain copy with a list of what is in it, not a package: a destination holds names and sizes that no package
//! can (uploads, logs), and times that one does not keep. Files are copied and not linked, because applications change files in
//! place; where the file system can share bytes between copies, it does.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink},
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use staith_model::{Digest, RelPath};

use super::{
    ApplyError,
    destination::Destination,
    source::Source,
    tree::{FileFacts, Node, Tree},
};
use crate::{durable, hashing};

/// Where snapshots are kept, and how many.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// The directory of snapshots; made where it is lacking. Other things in it are left alone.
    pub directory: PathBuf,
    /// How many snapshots stay, the new one included; at least that one does.
    pub keep: usize,
    /// The new snapshot's name. Later ones must sort after earlier ones: a time does.
    pub label: String,
    /// Whether to apply all the same when no snapshot can be made.
    pub go_on_without: bool,
}

/// A snapshot that was made.
pub(super) struct Taken {
    pub(super) path: PathBuf,
    pub(super) notes: Vec<String>,
}

const LIST: &str = "snapshot.json";
const TREE: &str = "tree";
const PARTIAL: &str = ".partial";

/// All that is in a snapshot.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Listed {
    version: u32,
    entries: BTreeMap<RelPath, Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Entry {
    Directory,
    File { size: u64, time: i64, mode: u32, digest: Digest },
    Symlink { target: String },
}

/// Copies all that `tree` says of the destination into a new snapshot. It appears under its name complete, or not at all.
pub(super) fn take(
    destination: &Destination,
    tree: &Tree,
    options: &BackupOptions,
) -> Result<Taken, ApplyError> {
    let home = &options.directory;
    // Nothing is made in the destination only to be refused.
    let there =
        home.ancestors().map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    let is_inside = |path: &Path| {
        let real = [path, destination.path()].map(fs::canonicalize);
        matches!(real, [Ok(path), Ok(destination)] if path.starts_with(&destination))
    };
    if there.into_iter().find(|above| above.exists()).is_some_and(is_inside) {
        return Err(ApplyError::BackupInside(home.clone()));
    }
    let made = fs::create_dir_all(home).map_err(failed("make", home));
    made?;
    if is_inside(home) {
        return Err(ApplyError::BackupInside(home.clone()));
    }
    // Two that back up to one directory take turns, so that neither removes what the other is writing.
    let lock = File::open(home).map_err(failed("open", home))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|refused| failed("lock", home)(refused.into()))?;
    let partial = home.join(PARTIAL);
    remove(&partial)?;
    let directory = |path: &Path| DirBuilder::new().mode(0o700).create(path).map_err(failed("make", path));
    directory(&partial)?;
    directory(&partial.join(TREE))?;
    copy_all(destination, tree, &partial)?;
    let path = free_name(home, &options.label);
    let published = durable_rename(&partial, &path);
    published.map_err(failed("keep", &path))?;
    Ok(Taken { notes: prune(home, options.keep), path })
}

fn copy_all(destination: &Destination, tree: &Tree, to: &Path) -> Result<(), ApplyError> {
    let at = |path: &RelPath| to.join(TREE).join(path.as_str());
    for (path, node) in &tree.nodes {
        if matches!(node, Node::Directory) {
            DirBuilder::new().mode(0o700).create(at(path)).map_err(failed("make", &at(path)))?;
        }
    }
    let nodes: Vec<_> = tree.nodes.iter().collect();
    let copied = nodes.into_par_iter().filter_map(|(path, node)| {
        let entry = match node {
            Node::Directory => Ok(Entry::Directory),
            Node::File(_) => copy_file(destination, path, &at(path)),
            Node::Link { target } => {
                let entry = Entry::Symlink { target: target.clone() };
                symlink(target, at(path)).map(|()| entry).map_err(failed("write", &at(path)))
            }
            Node::Special => return None,
        };
        Some(entry.map(|entry| (path.clone(), entry)))
    });
    let copied: Vec<_> = copied.collect();
    let listed = Listed { version: 1, entries: copied.into_iter().collect::<Result<_, ApplyError>>()? };
    let (list, failed_list) = (to.join(LIST), failed("write", &to.join(LIST)));
    let json = serde_json::to_vec(&listed).map_err(|why| failed_list(why.into()))?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&list)
        .and_then(|mut file| file.write_all(&json))
        .map_err(failed_list)
}

fn copy_file(destination: &Destination, path: &RelPath, to: &Path) -> Result<Entry, ApplyError> {
    let (mut from, stat) = destination.file(path)?;
    let refused = failed("write", to);
    let mut file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(to).map_err(&refused)?;
    // Shares the bytes where the file system can.
    let size = io::copy(&mut from, &mut file).map_err(&refused)?;
    let (digest, hashed) = File::open(to).and_then(hashing::digest_of).map_err(&refused)?;
    if hashed != size {
        return Err(ApplyError::Unstable(path.clone()));
    }
    Ok(Entry::File { size, time: stat.st_mtime, mode: stat.st_mode & 0o777, digest })
}

fn durable_rename(from: &Path, to: &Path) -> io::Result<()> {
    rustix::fs::syncfs(File::open(from)?)?;
    fs::rename(from, to)?;
    durable::sync_directory(durable::parent(to))
}

/// A name that nothing has yet: two snapshots may be made in one second.
fn free_name(home: &Path, label: &str) -> PathBuf {
    let taken = |name: &String| fs::symlink_metadata(home.join(name)).is_ok();
    let names = std::iter::once(label.to_owned()).chain((2..10_000).map(|nth| format!("{label}.{nth:04}")));
    let free = names.into_iter().find(|name| !taken(name));
    home.join(free.unwrap_or_else(|| format!("{label}.last")))
}

/// The snapshots in a directory, oldest first.
fn snapshots(home: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(home)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.file_name() != PARTIAL && entry.path().join(LIST).is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Removes the oldest snapshots. What can't be removed is told, and stops nothing.
fn prune(home: &Path, keep: usize) -> Vec<String> {
    let found = match snapshots(home) {
        Ok(found) => found,
        Err(why) => return vec![format!("old backups in {} can't be looked for: {why}", home.display())],
    };
    let too_many = found.len().saturating_sub(keep.max(1));
    let removed = found[..too_many].iter().filter_map(|old| remove(old).err());
    removed.map(|why| format!("an old backup stays: {why}")).collect()
}

/// Removes a snapshot, its list first: without that it is none.
fn remove(snapshot: &Path) -> Result<(), ApplyError> {
    let gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    gone(fs::remove_file(snapshot.join(LIST)))
        .and_then(|()| gone(fs::remove_dir_all(snapshot)))
        .map_err(failed("remove", snapshot))
}

/// A snapshot, as a source that can be applied.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    files: Destination,
    tree: Tree,
}

impl Snapshot {
    /// Opens a snapshot, or the newest one in a directory of snapshots.
    ///
    /// # Errors
    /// There is none, or it can't be read.
    pub fn open(path: &Path) -> Result<Self, ApplyError> {
        let unusable = |why: String| ApplyError::Snapshot { path: path.to_owned(), why };
        let path = if path.join(LIST).is_file() {
            path.to_owned()
        } else {
            let found = snapshots(path).map_err(|why| unusable(why.to_string()))?;
            found.into_iter().next_back().ok_or_else(|| unusable("there is no snapshot in it".into()))?
        };
        let unusable = |why: String| ApplyError::Snapshot { path: path.clone(), why };
        let list =
            fs::read(path.join(LIST)).map_err(|why| unusable(format!("its list can't be read: {why}")))?;
        let listed: Listed =
            serde_json::from_slice(&list).map_err(|why| unusable(format!("its list is damaged: {why}")))?;
        if listed.version != 1 {
            return Err(unusable(format!(
                "its version is {}, and this Staith knows version 1",
                listed.version
            )));
        }
        let mut tree = Tree::new(path.to_string_lossy());
        for (at, entry) in listed.entries {
            let node = match entry {
                Entry::Directory => Node::Directory,
                Entry::Symlink { target } => Node::Link { target },
                Entry::File { size, time, mode, digest } => Node::File(FileFacts {
                    size,
                    // The destination's time is compared in steps of two seconds.
                    time: time - time.rem_euclid(2),
                    mode: Some(mode),
                    digest: Some(digest),
                    by_content: true,
                }),
            };
            tree.insert(at, node);
        }
        let files = Destination::open(&path.join(TREE), None)?;
        Ok(Self { path, files, tree })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Source for Snapshot {
    fn tree(&self) -> &Tree {
        &self.tree
    }

    fn copy(&self, path: &RelPath, to: &mut dyn Write) -> Result<(), ApplyError> {
        let (mut file, _) = self.files.file(path)?;
        let (found, _) = hashing::copy(&mut file, to).map_err(failed("copy", &self.files.at(Some(path))))?;
        if self.tree.file(path).and_then(|facts| facts.digest) != Some(found) {
            let why = format!("`{path}` was changed since the snapshot was made");
            return Err(ApplyError::Snapshot { path: self.path.clone(), why });
        }
        Ok(())
    }
}

fn failed(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> ApplyError + use<> {
    let path = path.to_owned();
    move |source| ApplyError::Destination { doing, path: path.clone(), source }
}
