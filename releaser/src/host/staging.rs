//! Puts a release's files in place: built beside, verified, made durable, then named.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rayon::prelude::*;
use staith_machine::escape;
use staith_model::{Entry, Manifest, RelPath, Release};
use tokio_util::sync::CancellationToken;

use super::{
    Depth, Files, HostError, Layout, PackageFiles, Progress, StageProgress, Staged,
    blobs::{self, Wanted},
    durable,
    layout::UNFINISHED,
    retention, tree,
};

/// How a release's files are.
pub(super) fn inspect(
    layout: &Layout,
    release: &Release,
    depth: Depth,
    cancel: &CancellationToken,
) -> Result<Files, HostError> {
    let digest = release.digest();
    let root = layout.release(&digest);
    match fs::symlink_metadata(&root) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Ok(Files::Damaged("its folder is something else".into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Files::Absent),
        Err(error) => return Err(HostError::Io { what: "look at", path: root, source: error }),
    }
    let Some(manifest) = manifest_of(layout, release) else {
        return Ok(Files::Damaged("the manifest beside it is missing or is another one".into()));
    };
    if depth == Depth::Presence {
        return Ok(Files::Complete);
    }
    let damage = tree::damage(&root, &manifest, cancel)?;
    Ok(match damage.as_slice() {
        [] => Files::Complete,
        [(path, what)] => Files::Damaged(format!("`{path}`: {what}")),
        [(path, what), more @ ..] => Files::Damaged(format!("`{path}`: {what}, and {} more", more.len())),
    })
}

/// The manifest beside a release, if it is the one that the release was made of.
fn manifest_of(layout: &Layout, release: &Release) -> Option<Manifest> {
    let bytes = fs::read(layout.manifest(&release.digest())).ok()?;
    let manifest: Manifest = serde_json::from_slice(&bytes).ok()?;
    (manifest.digest() == release.package.content).then_some(manifest)
}

/// Stages a release; see [`Host::stage`](super::Host::stage).
pub(super) fn stage(
    layout: &Layout,
    release: &Release,
    files: &dyn PackageFiles,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Staged, HostError> {
    let manifest = files.manifest();
    check(manifest, release)?;
    if inspect(layout, release, Depth::Content, cancel)? == Files::Complete {
        return Ok(Staged { already: true, ..Staged::default() });
    }
    for folder in [layout.releases(), layout.blobs()] {
        durable::create_folder(&folder).map_err(HostError::io("create", folder))?;
    }
    retention::clear_leftovers(layout)?;
    let site = Site { layout, manifest, files, cancel, written: AtomicU64::new(0), bytes: AtomicU64::new(0) };
    let result = site.raise(release, progress);
    if result.is_err() {
        // The temporary tree is gone by now; what it alone used goes too, so that a full disk has its room back. The
        // first error is the one to tell.
        let _ = blobs::sweep(layout);
    }
    result.map_err(|error| match error {
        HostError::Io { source, path, .. } if HostError::is_full(&source) => {
            HostError::Full { path, bytes: manifest.bytes() }
        }
        error => error,
    })
}

fn check(manifest: &Manifest, release: &Release) -> Result<(), HostError> {
    let found = manifest.digest();
    if found != release.package.content {
        return Err(HostError::NotAsPromised {
            what: format!(
                "its content is {}, the release was made of {}",
                found.short(),
                release.package.content.short()
            ),
        });
    }
    escape::check(manifest)
        .map_err(|refused| HostError::Unsafe { entry: refused.entry.to_string(), why: refused.why })
}

/// One staging under way.
struct Site<'a> {
    layout: &'a Layout,
    manifest: &'a Manifest,
    files: &'a dyn PackageFiles,
    cancel: &'a CancellationToken,
    written: AtomicU64,
    bytes: AtomicU64,
}

impl Site<'_> {
    fn raise(&self, release: &Release, progress: &Progress) -> Result<Staged, HostError> {
        let releases = self.layout.releases();
        let scratch = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&releases)
            .map_err(HostError::io("create a folder in", &releases))?;
        // A temporary folder is for its maker only; a release may be read by whoever the application runs as.
        let tree = scratch.path().join("tree");
        fs::create_dir(&tree).map_err(HostError::io("create", &tree))?;
        self.folders(&tree)?;
        self.fill(&tree, progress)?;
        self.verify(&tree)?;
        self.publish(release, tree, &releases)?;
        Ok(Staged {
            already: false,
            files: self.written.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        })
    }

    fn folders(&self, tree: &Path) -> Result<(), HostError> {
        for (path, entry) in &self.manifest.entries {
            let folder = if *entry == Entry::Directory { Some(path.clone()) } else { path.parent() };
            if let Some(folder) = folder.map(|folder| tree.join(folder.as_str())) {
                fs::create_dir_all(&folder).map_err(HostError::io("create", folder))?;
            }
        }
        Ok(())
    }

    fn fill(&self, tree: &Path, progress: &Progress) -> Result<(), HostError> {
        let of_files = self.manifest.files() as u64;
        let placed = AtomicU64::new(0);
        self.manifest.entries.par_iter().try_for_each(|(path, entry)| {
            if self.cancel.is_cancelled() {
                return Err(HostError::Cancelled);
            }
            let at = tree.join(path.as_str());
            match entry {
                Entry::Directory => {}
                Entry::Symlink { target } => {
                    std::os::unix::fs::symlink(target, &at).map_err(HostError::io("create the link", at))?;
                }
                Entry::File { .. } => {
                    if let Some(wanted) = wanted(path, entry)
                        && !blobs::link(self.layout, wanted, &at)?
                    {
                        self.fetch(wanted, &at)?;
                    }
                    progress(StageProgress { files: placed.fetch_add(1, Ordering::Relaxed) + 1, of_files });
                }
            }
            Ok(())
        })
    }

    fn fetch(&self, wanted: Wanted<'_>, at: &Path) -> Result<(), HostError> {
        blobs::fetch(self.layout, wanted, self.files, self.cancel)?;
        self.written.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(wanted.size, Ordering::Relaxed);
        if blobs::link(self.layout, wanted, at)? {
            return Ok(());
        }
        Err(HostError::Io {
            what: "find the content just written for",
            path: at.to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        })
    }

    /// Every byte is read back. A blob that was there before may be damaged: then it is taken from the package again.
    fn verify(&self, tree: &Path) -> Result<(), HostError> {
        for (path, _) in tree::damage(tree, self.manifest, self.cancel)? {
            let Some(wanted) = self.manifest.entries.get(&path).and_then(|entry| wanted(&path, entry)) else {
                continue;
            };
            let at = tree.join(path.as_str());
            fs::remove_file(&at).map_err(HostError::io("replace", &at))?;
            self.fetch(wanted, &at)?;
        }
        match tree::damage(tree, self.manifest, self.cancel)?.into_iter().next() {
            None => Ok(()),
            Some((path, what)) => Err(HostError::Io {
                what: "verify what was just written to",
                path: tree.join(path.as_str()),
                source: std::io::Error::other(what),
            }),
        }
    }

    fn publish(&self, release: &Release, tree: PathBuf, releases: &Path) -> Result<(), HostError> {
        let digest = release.digest();
        let manifest_path = self.layout.manifest(&digest);
        let json = serde_json::to_vec(self.manifest).map_err(|error| HostError::Io {
            what: "encode",
            path: manifest_path.clone(),
            source: error.into(),
        })?;
        durable::write(&manifest_path, &json).map_err(HostError::io("write", &manifest_path))?;
        let folder = fs::File::open(releases).map_err(HostError::io("open", releases))?;
        // Once for the whole release, however many files it has, and before it gets its name.
        rustix::fs::syncfs(&folder).map_err(|error| HostError::Io {
            what: "make durable what is in",
            path: releases.to_owned(),
            source: error.into(),
        })?;
        if self.cancel.is_cancelled() {
            return Err(HostError::Cancelled);
        }
        let home = self.layout.release(&digest);
        name(&tree, &home).map_err(HostError::io("give its name to", &home))?;
        durable::sync_folder(releases).map_err(HostError::io("make durable what is in", releases))
    }
}

fn wanted<'a>(path: &'a RelPath, entry: &Entry) -> Option<Wanted<'a>> {
    let Entry::File { mode, size, digest } = entry else { return None };
    Some(Wanted { path, size: *size, digest: *digest, executable: tree::is_executable(*mode) })
}

/// Renames the finished tree to its name; a damaged one that has the name changes places with it in the same instant,
/// and goes with the temporary folder.
fn name(tree: &Path, home: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(home).is_err() {
        return fs::rename(tree, home);
    }
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, tree, CWD, home, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        // File systems that can't exchange (some network ones): out of the way, then in.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::rename(home, tree.with_file_name("damaged"))?;
            fs::rename(tree, home)
        }
        Err(error) => Err(error.into()),
    }
}
