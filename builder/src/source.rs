//! From a repository or a working directory to an exact, read-only tree. A map, in reading order:
//!
//! 1. [`Origin`]: what people name. [`Selection`]: which of its states. `remote`: origins on other machines are mirrored.
//! 2. `resolve`: from the two to files. `reference` and `tree`: a commit becomes a listing. `merge`: two commits do.
//!    `walk`, `ignores` and `snapshot`: a working directory does. `submodules`: the repositories within.
//! 3. [`Listing`]: a project's files by git's ids; `record` keeps listings on disk.
//! 4. `attributes` and `lfs`: which files git-lfs keeps elsewhere, and how they are had.
//! 5. `pool`, `pack`, `contents` and `checkout`: a listing becomes a directory.
//! 6. `written`: an exact source on paper, for a later run. `sent`, `received`: one that another machine builds.
//! 7. [`Globs`]: which files. [`Called`]: branch and tag of a source; `history`: what changed since another one,
//!    `commits`: by which commits. [`Named`] and [`Place`]: what there is, and where in it a commit is.
//!
//! Repositories on this machine are read where they are, never written to, and nothing in them is run. There is no copy of
//! them in the store: what is needed of them, the contents of the files that are checked out, is there in the pool.
//! Repositories on other machines are fetched into mirrors, which are read in the same way.

mod attributes;
mod checkout;
mod commits;
mod contents;
mod error;
mod globs;
mod history;
mod ignores;
mod lfs;
mod listing;
mod merge;
mod origin;
mod pack;
mod pool;
mod received;
mod record;
mod reference;
mod references;
mod remote;
mod resolve;
mod sent;
mod snapshot;
mod submodules;
mod tree;
mod walk;
mod written;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(crate) use self::remote::percent_decoded;
use self::{checkout::Writing, contents::Contents, error::at, lfs::Gathering, pool::Pool};
pub use self::{
    commits::{CommitFact, CommitsBetween, commit_called, commits_between, committed_at},
    error::SourceError,
    globs::{BadGlob, Globs},
    history::Called,
    listing::{FileEntry, FileMode, Listing, ObjectId},
    origin::{Origin, WorkTree},
    received::NotReceived,
    references::{Named, Place},
    remote::{FetchFailure, LfsFailure, Reach, RemoteRepository},
    sent::NotSent,
};
use crate::{
    layers::{Workbench, is_trusted, trust},
    upkeep::{Allowance, allowed, whole_blocks},
};
use staith_model::{Digest, Source};

/// Which state of an origin is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The files as they are on the screen, with what is not committed; what .gitignore lists is left out, unless git
    /// tracks it. For a repository without a working directory, and for one on another machine, this is its HEAD.
    AsItIs,
    /// The commit that HEAD names.
    Head,
    /// A branch, a tag, or a full or short commit id; of a repository on another machine also what its server keeps for
    /// a request to merge: `pull/12/merge`.
    Reference(String),
    /// What would come out if `head` were merged into `base`; each as in [`Reference`](Self::Reference).
    Merge {
        /// What is to be merged. The source has its commit id, and says that there is more to it where `base` adds
        /// something.
        head: String,
        /// What it is to be merged into.
        base: String,
    },
}

/// How much there is to do. Told once, before contents are read, and meanwhile whenever something was fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files of the source.
    pub files: usize,
    /// Those whose content has to be read, because it is not remembered. None where git's ids are known already.
    pub files_to_read: usize,
    /// Their length together, in bytes.
    pub bytes_to_read: u64,
    /// What has come so far from another machine, while it comes; the other numbers are then not known yet.
    pub fetched: Option<Fetched>,
}

/// How far a fetch is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Objects that have come.
    pub objects: usize,
    /// Objects that will come.
    pub of: usize,
    /// Bytes that have come.
    pub bytes: usize,
}

impl From<&git2::Progress<'_>> for Fetched {
    fn from(seen: &git2::Progress<'_>) -> Self {
        Self { objects: seen.received_objects(), of: seen.total_objects(), bytes: seen.received_bytes() }
    }
}

/// An exact source: what it is called and every file of it. Its content may be had by [`Sources::checkout`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Tree, commit and whether there are changes beside the commit.
    pub source: Source,
    /// Every file, sorted by path.
    pub files: Listing,
    /// What people should know, a sentence each.
    pub notices: Vec<String>,
    contents: Contents,
}

impl Resolved {
    /// Whether git-lfs keeps any of its files.
    pub fn has_large_files(&self) -> bool {
        !self.contents.held.is_empty()
    }
}

/// Sources in a store. Any number of processes may use one store at once, and each may be killed at any time. All calls
/// block; from asynchronous code use `spawn_blocking`.
#[derive(Debug)]
pub struct Sources {
    store: PathBuf,
    owner: Option<(u32, u32)>,
    bench: Arc<Workbench>,
    pool: Pool,
    reach: Reach,
}

impl Sources {
    /// Opens or makes the store below `store`. Files of checkouts belong to `owner` (user and group), or to the caller.
    ///
    /// # Errors
    /// The directory can't be made or read.
    pub fn open(store: &Path, owner: Option<(u32, u32)>) -> Result<Self, SourceError> {
        // What is checked out is for steps to read. Whole repositories of others, which may be private, are not.
        for (part, mode) in [("checkouts", 0o777), ("trees", 0o777), ("mirrors", 0o700), ("lfs", 0o700)] {
            let dir = store.join(part);
            let made = fs::create_dir_all(store)
                .and_then(|()| fs::DirBuilder::new().recursive(true).mode(mode).create(&dir));
            made.map_err(at("making", &dir))?;
        }
        let store = fs::canonicalize(store).map_err(at("opening", store))?;
        let bench = Workbench::open(&store).map_err(at("opening", &store))?;
        let pool = Pool::open(&store, owner, &bench).map_err(at("opening", &store))?;
        Ok(Self { store, owner, bench, pool, reach: Reach::from_environment() })
    }

    /// The same store, which asks before it keeps anything.
    #[must_use]
    pub fn within(self, allowance: Arc<dyn Allowance>) -> Self {
        Self { pool: self.pool.within(allowance), ..self }
    }

    /// Reaches other machines in another way than the environment says.
    #[must_use]
    pub fn reaching(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// Finds out exactly which files are meant. A working directory is read and its new contents are kept, so that later
    /// changes do not matter; `progress` hears how much that is. A repository on another machine is fetched, what of it
    /// has not come before; not so when a full commit id is asked for that has.
    ///
    /// A fetch is given up when nothing comes for a minute. Killed at any time, it leaves nothing that is used.
    ///
    /// # Errors
    /// See [`SourceError`]; each says what to do.
    pub fn resolve(
        &self,
        origin: &Origin,
        selection: &Selection,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Resolved, SourceError> {
        self.find(origin, selection, progress)
    }

    /// The digest of the files that globs match: what a step that sees only these depends on. No glob means all files.
    ///
    /// # Errors
    /// A glob is malformed.
    pub fn input_digest(&self, resolved: &Resolved, globs: &[String]) -> Result<Digest, BadGlob> {
        Ok(listing::input_digest(&resolved.files, &Globs::or_everything(globs)?))
    }

    /// A directory that holds exactly the files that globs match; no glob means all. The same directory for the same
    /// files: never change anything in it. Directories have mode 0755, files 0644 or 0755.
    ///
    /// Times of modification follow from the content and lie between 2001 and 2009: older than whatever a step makes,
    /// and different for different contents. Directories and links have one constant time.
    ///
    /// What git-lfs keeps of these files is fetched first, where it is not on this machine.
    ///
    /// # Errors
    /// A glob is malformed, a content can't be had any more, or the file system refuses.
    pub fn checkout(&self, resolved: &Resolved, globs: &[String]) -> Result<PathBuf, SourceError> {
        self.gather(resolved, globs, &mut |_| {})?;
        let globs = Globs::or_everything(globs)?;
        let inputs = listing::input_digest(&resolved.files, &globs);
        let key = checkout::key(&inputs, self.owner);
        let dir = self.store.join("checkouts").join(key.hex());
        let mark = dir.with_extension("seen");
        self.bench.uses(&format!("checkouts/{}", key.hex()), &mark);
        let files = || resolved.files.iter().filter(|(path, _)| globs.matches(path.as_str()));
        if dir.is_dir() {
            if is_trusted(&mark) {
                return Ok(dir);
            }
            if files().all(|(path, entry)| has_its_size(&dir.join(path.as_str()), entry)) {
                trust(&mark).map_err(at("marking", &dir))?;
                return Ok(dir);
            }
            self.bench.discard(&dir).map_err(at("removing", &dir))?;
        }
        let folders = files().flat_map(|(path, _)| listing::parents(path.as_str())).collect::<BTreeSet<_>>();
        let room = allowed(self.pool.allowance(), whole_blocks(1) * (folders.len() as u64 + 2))
            .map_err(at("checking out below", &self.store))?;
        let new = self.bench.fresh_dir().map_err(at("making", &self.store))?;
        let (pool, contents) = (&self.pool, &resolved.contents);
        let writing = Writing { to: &new, files: files().collect(), pool, contents, owner: self.owner };
        writing.write()?;
        checkout::note_large(&dir, &writing.files, &self.bench.fresh_path()).map_err(at("writing", &dir))?;
        match fs::rename(&new, &dir) {
            // Another process made the same one at the same time.
            Err(_) if dir.is_dir() => self.bench.discard(&new).map_err(at("removing", &new))?,
            moved => moved.map_err(at("moving into place", &dir))?,
        }
        room.placed();
        self.pool.settle();
        trust(&mark).map_err(at("marking", &dir))?;
        Ok(dir)
    }

    /// A directory that [`checkout`](Self::checkout) made earlier, by its name, if it is still here and nothing could have
    /// happened to it since.
    pub fn made_before(&self, name: &str) -> Option<PathBuf> {
        let dir = self.store.join("checkouts").join(name);
        let mark = dir.with_extension("seen");
        self.bench.uses(&format!("checkouts/{name}"), &mark);
        (!name.contains(['/', '.']) && dir.is_dir() && is_trusted(&mark)).then_some(dir)
    }

    /// Fetches what git-lfs keeps of the files that globs match, so that [`checkout`](Self::checkout) has it; no glob means
    /// all. Where it is on this machine already, nothing is asked of anybody.
    ///
    /// # Errors
    /// A glob is malformed, or an object can't be had: [`SourceError::Lfs`] says which and why.
    pub fn gather(
        &self,
        resolved: &Resolved,
        globs: &[String],
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), SourceError> {
        if resolved.contents.held.is_empty() {
            return Ok(());
        }
        let globs = Globs::or_everything(globs)?;
        let files = resolved.files.iter().filter(|(path, _)| globs.matches(path.as_str()));
        let (store, bench, pool, reach) = (self.store.as_path(), &self.bench, &self.pool, &self.reach);
        Gathering { store, bench, pool, reach }.gather(files, &resolved.contents.held, progress)
    }

    /// Asks for the bytes that are fetched as they come. There is no asking before: nobody says how many they will be.
    fn counted<'p>(&'p self, progress: &'p mut dyn FnMut(Progress)) -> impl FnMut(Progress) + 'p {
        let mut counted = 0;
        move |seen| {
            let bytes = seen.fetched.map_or(0, |fetched| fetched.bytes as u64);
            if bytes > counted {
                if let Err(refused) = self.pool.allow(bytes - counted) {
                    tracing::warn!(%refused, "what is fetched is more than may be kept");
                }
                counted = bytes;
            }
            progress(seen);
        }
    }
}

/// What `gc --verify` looks at, all bytes read: the thing at `path` holds what it was kept for.
pub(crate) fn is_as_it_was_kept(kind: crate::upkeep::Kind, path: &Path, blob: Option<[u8; 20]>) -> bool {
    use crate::upkeep::Kind;
    match kind {
        Kind::Checkout => checkout::is_as_named(path).unwrap_or(false),
        Kind::Mirror => pack::Packs::are_intact(&path.join("objects")).unwrap_or(false),
        Kind::LargeFile => checkout::pointer_to(path).is_ok_and(|pointer| {
            path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(&pointer.oid.hex()))
        }),
        // The id of what git-lfs keeps is that of its pointer.
        Kind::Content if pool::is_large(path) => blob.is_none_or(|blob| {
            let pointer = checkout::pointer_to(path);
            pointer.is_ok_and(|pointer| pointer.id().is_ok_and(|id| *id.as_bytes() == blob))
        }),
        Kind::Content => blob.is_none_or(|blob| {
            let bytes = fs::read(path);
            bytes.is_ok_and(|bytes| {
                ObjectId::of(git2::ObjectType::Blob, &bytes).is_ok_and(|id| *id.as_bytes() == blob)
            })
        }),
        _ => true,
    }
}

fn has_its_size(path: &Path, entry: &FileEntry) -> bool {
    let found = fs::symlink_metadata(path);
    found.is_ok_and(|found| entry.mode == FileMode::Symlink || (found.is_file() && found.len() == entry.size))
}
