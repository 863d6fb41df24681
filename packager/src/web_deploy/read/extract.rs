//! All or some of a package, onto a disk. What is written where is decided before anything is, and nothing is written outside
//! of a directory that was made for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, BufWriter, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    path::Path,
};

use rayon::prelude::*;
use staith_model::RelPath;

use super::{ContentRoot, ItemKind, PackageReader, ReadError, verify::Count};
use crate::{
    durable,
    stopping::{Watch, unwatched},
};

/// What is extracted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extract {
    /// The entries of the zip as they are, `archive.xml` and all, rather than the content.
    pub as_zip: bool,
    /// Only these files, and all below these directories; everything if none is named.
    pub only: Vec<RelPath>,
}

/// What was extracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extracted {
    /// Regular files.
    pub files: usize,
    /// Their lengths' sum, in bytes.
    pub bytes: u64,
}

/// What comes to be at a path.
#[derive(Debug, Clone)]
enum Planned {
    Directory,
    File { entry: usize, mode: u32 },
    Symlink(String),
}

/// The mode of files whose package does not say.
const FILE_MODE: u32 = 0o644;

impl PackageReader {
    /// Extracts the whole tree to `to`, which must not exist: modes, symbolic links and empty directories included, every
    /// byte verified.
    ///
    /// `to` appears complete and synced to disk, or not at all. A process that is killed meanwhile leaves a directory beside
    /// it whose name begins with a dot and ends in `.partial`. Directories get mode 0755, whatever the umask.
    ///
    /// # Errors
    /// The package is not Staith's or not what it says, or the system refuses.
    pub fn extract(&self, to: &Path) -> Result<(), ReadError> {
        if self.manifest().is_none() {
            return Err(ReadError::NotOurs { path: self.path.clone() });
        }
        self.extract_with(to, &Extract::default(), &unwatched).map(drop)
    }

    /// Extracts the content of any package, whoever wrote it, or its entries, to `to`, which must not exist.
    ///
    /// The content is that of [`PackageReader::content_roots`]. If all of it lies in one place, paths are those below that
    /// place; otherwise each root lies where the package has it (`C_C/build/shop/...`). Files get mode 0644 where the package
    /// has no modes. Otherwise as [`PackageReader::extract`]; `progress` is told of every file, from any thread,
    /// and ends it by [`ReadError::Stopped`], with nothing left.
    ///
    /// # Errors
    /// A path that was asked for is not there, the package is not what it says, or the system refuses.
    pub fn extract_with(
        &self,
        to: &Path,
        what: &Extract,
        progress: &Watch<'_>,
    ) -> Result<Extracted, ReadError> {
        let planned = self.choose(what)?;
        let refused = |source| ReadError::Output { to: to.to_owned(), source };
        let beside = durable::parent(to);
        let partial = tempfile::Builder::new()
            .prefix(".")
            .suffix(".partial")
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(beside)
            .map_err(refused)?;
        let extracted = self.fill(&planned, partial.path(), progress)?;
        fs::set_permissions(partial.path(), Permissions::from_mode(0o755)).map_err(refused)?;
        durable::publish_directory(partial, to).map_err(refused)?;
        Ok(extracted)
    }

    /// What is to be where.
    fn choose(&self, what: &Extract) -> Result<BTreeMap<RelPath, Planned>, ReadError> {
        let mut planned = if what.as_zip { self.entries_by_path() } else { self.content_by_path() };
        if what.only.is_empty() {
            return Ok(planned);
        }
        for wanted in &what.only {
            if !planned.keys().any(|path| is_within(path, wanted)) {
                return Err(ReadError::Absent { path: self.path.clone(), file: wanted.to_string() });
            }
        }
        planned.retain(|path, _| what.only.iter().any(|wanted| is_within(path, wanted)));
        Ok(planned)
    }

    fn entries_by_path(&self) -> BTreeMap<RelPath, Planned> {
        let entries = self.listed.iter().enumerate().filter_map(|(entry, listed)| {
            let planned = if listed.is_directory() {
                Planned::Directory
            } else {
                Planned::File { entry, mode: FILE_MODE }
            };
            // Opening the package has seen to it that every name is such a path.
            Some((RelPath::try_from(listed.name.trim_end_matches('/')).ok()?, planned))
        });
        entries.collect()
    }

    fn content_by_path(&self) -> BTreeMap<RelPath, Planned> {
        let roots = self.content_roots();
        let places = ContentRoot::places(&roots);
        let mut planned = BTreeMap::new();
        for (root, place) in roots.iter().zip(places) {
            let items = self.items(root).filter_map(|item| {
                let kind = match item.kind {
                    ItemKind::Directory => Planned::Directory,
                    ItemKind::File { entry, mode, .. } => {
                        Planned::File { entry, mode: mode.unwrap_or(FILE_MODE) }
                    }
                    ItemKind::Symlink { target } => Planned::Symlink(target),
                };
                Some((RelPath::try_from(format!("{place}{}", item.path)).ok()?, kind))
            });
            planned.extend(items);
        }
        planned
    }

    fn fill(
        &self,
        planned: &BTreeMap<RelPath, Planned>,
        root: &Path,
        progress: &Watch<'_>,
    ) -> Result<Extracted, ReadError> {
        let at = |path: &RelPath| root.join(path.as_str());
        let refused = |to: &Path, source| ReadError::Output { to: to.to_owned(), source };
        for path in directories(planned) {
            make_directory(&at(&path)).map_err(|source| refused(&at(&path), source))?;
        }
        let files: Vec<_> = planned
            .iter()
            .filter_map(|(path, what)| match what {
                Planned::File { entry, mode } => Some((path, *entry, *mode)),
                Planned::Directory | Planned::Symlink(_) => None,
            })
            .collect();
        let bytes = files.iter().map(|(_, entry, _)| self.listed[*entry].size).sum();
        let count = Count::new(progress, files.len() as u64, bytes);
        let extracted: Vec<_> = files
            .par_iter()
            .map(|(path, entry, mode)| {
                let to = at(path);
                let file = create(&to).map_err(|source| refused(&to, source))?;
                let mut out = count.file(BufWriter::with_capacity(1 << 16, file));
                self.read_entry(*entry, &mut out)?;
                finish(out.done(), *mode).map_err(|source| refused(&to, source))
            })
            .collect();
        count.ended(extracted)?;
        // Links come last, so that nothing is ever written through one.
        for (path, what) in planned {
            if let Planned::Symlink(target) = what {
                let to = at(path);
                symlink(target, &to).map_err(|source| refused(&to, source))?;
            }
        }
        Ok(Extracted { files: files.len(), bytes })
    }
}

/// Whether `path` is `directory`, or below it.
fn is_within(path: &RelPath, directory: &RelPath) -> bool {
    path.as_str()
        .strip_prefix(directory.as_str())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Every directory that is planned or implied, those above before those below.
fn directories(planned: &BTreeMap<RelPath, Planned>) -> BTreeSet<RelPath> {
    let mut all = BTreeSet::new();
    for (path, what) in planned {
        let mut next = if matches!(what, Planned::Directory) { Some(path.clone()) } else { path.parent() };
        while let Some(path) = next {
            next = path.parent();
            if !all.insert(path) {
                break;
            }
        }
    }
    all
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Creates a file that nobody else reads before it is complete.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn finish(mut out: BufWriter<File>, mode: u32) -> io::Result<()> {
    out.flush()?;
    out.get_ref().set_permissions(Permissions::from_mode(mode))
}
