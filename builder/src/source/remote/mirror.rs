//! The mirror of one repository: all of its branches and tags, in a bare repository that only Staith writes to.
//!
//! A new mirror is made beside its place and moved there when it is complete. Later fetches add packs, which appear by a
//! rename and are on the disk before a reference names what is in them. So a mirror can be read at any time, and a fetch
//! that was killed is simply done again. One process at a time fetches.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use git2::{
    AutotagOption, Direction, FetchOptions, Oid, RemoteCallbacks, RemoteUpdateFlags, Repository,
    RepositoryInitOptions,
};
use rayon::prelude::*;
use rustix::fs::{FlockOperation, flock};

use super::{FetchFailure, Reach, RemoteRepository, bridge::Bridge, failure::tamed, first::first_pack};
use crate::{
    layers::{Workbench, is_trusted, trust},
    source::{
        Fetched, Progress, Selection, SourceError,
        error::{at, git},
        pack::{self, Packs},
    },
    upkeep::{Allowance, allowed},
};

/// Where the remote's own HEAD is kept: it may name a commit that is on no branch.
const REMOTE_HEAD: &str = "refs/staith/head";
/// Where a commit is kept that was asked for by its id and is on no branch.
const WANTED: &str = "refs/staith/wanted";

/// A place for a mirror, and what it is a mirror of.
pub(in crate::source) struct Mirror<'a> {
    remote: &'a RemoteRepository,
    reach: &'a Reach,
    bench: &'a Arc<Workbench>,
    dir: PathBuf,
    allowance: Option<&'a Arc<dyn Allowance>>,
}

impl<'a> Mirror<'a> {
    /// The mirror in a store. Nothing is looked at yet.
    pub(in crate::source) fn new(
        store: &Path,
        bench: &'a Arc<Workbench>,
        reach: &'a Reach,
        remote: &'a RemoteRepository,
    ) -> Self {
        let dir = store.join("mirrors").join(format!("{}.git", remote.key()));
        Self { remote, reach, bench, dir, allowance: None }
    }

    /// The same mirror, which asks before it takes more room than what is fetched.
    pub(in crate::source) fn within(self, allowance: Option<&'a Arc<dyn Allowance>>) -> Self {
        Self { allowance, ..self }
    }

    /// Where it is, or will be.
    pub(in crate::source) fn place(&self) -> &Path {
        &self.dir
    }

    /// Makes sure that the mirror holds what is selected, as the remote has it now. A commit that is asked for by its full
    /// id, and is there already, needs no network.
    pub(in crate::source) fn with(
        &self,
        selection: &Selection,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, SourceError> {
        let name = self.dir.file_name().unwrap_or_default().to_string_lossy();
        self.bench.uses(&format!("mirrors/{name}"), &self.mark());
        let names = names_in(selection);
        let wanted: Vec<Oid> = names.iter().filter_map(|name| full_id(name)).collect();
        let by_id_only = !names.is_empty() && wanted.len() == names.len();
        let needs_nothing = || by_id_only && self.is_sound() && wanted.iter().all(|id| self.has(*id));
        if needs_nothing() {
            return Ok(self.dir.clone());
        }
        let _held = self.lock().map_err(at("locking", &self.dir))?;
        // Whoever held the lock may have brought it.
        if !needs_nothing()
            && let Err(failed) = self.bring_up_to_date(&names, &wanted, progress)
        {
            // The mirror itself may be why; then it is made anew.
            if !self.is_damaged() {
                return Err(failed);
            }
            tracing::warn!(%failed, "the mirror is damaged and is fetched anew");
            self.bring_up_to_date(&names, &wanted, progress)?;
        }
        Ok(self.dir.clone())
    }

    fn bring_up_to_date(
        &self,
        names: &[&str],
        wanted: &[Oid],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), SourceError> {
        let is_new = !self.is_sound();
        if is_new {
            self.bench.discard(&self.dir).map_err(at("removing", &self.dir))?;
        }
        let place = if is_new { self.bench.fresh_path() } else { self.dir.clone() };
        let repository = if is_new { made(&place) } else { Repository::open_bare(&place) };
        let repository = repository.map_err(git("opening the mirror", &place))?;
        remove_leftovers(&place).map_err(at("cleaning", &place))?;
        let mut refspecs = vec![
            "+refs/heads/*:refs/heads/*".to_owned(),
            "+refs/tags/*:refs/tags/*".to_owned(),
            format!("+HEAD:{REMOTE_HEAD}"),
        ];
        let extra: Vec<String> = names.iter().filter_map(|name| kept_elsewhere(name)).collect();
        refspecs.extend(extra.iter().map(|name| format!("+{name}:{name}")));
        let first = is_new.then_some(extra.as_slice());
        self.fetch(&repository, &refspecs, first, progress)?;
        for id in wanted.iter().filter(|id| !has_commit(&repository, **id)) {
            // Where the server does not give it, it is unknown, and that is said when it is looked up.
            if let Err(error) = self.fetch(&repository, &[format!("+{id}:{WANTED}/{id}")], None, progress) {
                tracing::debug!(%error, %id, "the commit is on no branch, and not given by itself");
            }
        }
        if is_new {
            // Nothing can be there: the lock is held.
            fs::rename(&place, &self.dir).map_err(at("moving into place", &self.dir))?;
            File::open(self.mirrors()).and_then(|dir| dir.sync_all()).map_err(at("syncing", &self.dir))?;
        }
        trust(&self.mark()).map_err(at("marking", &self.dir))?;
        if let Err(error) = self.join_packs() {
            tracing::warn!(%error, mirror = %self.dir.display(), "its packs are left as they are");
        }
        Ok(())
    }

    /// Many small packs become one. Readers need no lock for that: see [`pack::join`].
    fn join_packs(&self) -> io::Result<()> {
        let packs = self.dir.join("objects/pack");
        let (indexes, bytes) = pack::worth_joining(&packs)?;
        if indexes.is_empty() {
            return Ok(());
        }
        // For as long as both are there; then there is as much as before.
        let _room = allowed(self.allowance, bytes)?;
        let joined = pack::join(&packs, &indexes);
        if joined.is_err() {
            remove_leftovers(&self.dir)?;
        }
        joined
    }

    /// Looks at the mirror as if the machine had just been started: whether it is there and not whole.
    pub(in crate::source) fn is_damaged(&self) -> bool {
        let _ = fs::remove_file(self.mark());
        self.dir.is_dir() && !self.is_sound()
    }

    fn fetch(
        &self,
        repository: &Repository,
        refspecs: &[String],
        first: Option<&[String]>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), SourceError> {
        let failed = |why| SourceError::Fetch { url: self.remote.to_string(), why };
        let far = self.reach.to(self.remote).map_err(failed)?;
        let bridge = Bridge::open(far).map_err(at("opening a port for", self.remote.place()))?;
        if let Some(extra) = first
            && let Err(error) = first_through(&bridge.url(), repository, extra, progress)
        {
            if let Some(why) = bridge.failure() {
                return Err(failed(why));
            }
            tracing::debug!(%error, "the first pack is left to git's library");
            remove_leftovers(repository.path()).map_err(at("cleaning", repository.path()))?;
        }
        let fetched = fetch_through(&bridge.url(), repository, refspecs, progress);
        let Err(error) = fetched else { return Ok(()) };
        match error {
            // The library knows only that the connection ended; the door knows why.
            Failed::Library(error) => Err(failed(
                bridge.failure().unwrap_or_else(|| FetchFailure::NotUnderstood(tamed(error.message()))),
            )),
            Failed::Disk(error) => Err(at("syncing", &self.dir)(error)),
        }
    }

    /// Whether the mirror is there and, after a power failure, whole: no reference may name what is not there.
    fn is_sound(&self) -> bool {
        if !self.dir.is_dir() {
            return false;
        }
        if is_trusted(&self.mark()) {
            return true;
        }
        let looked_over = Repository::open_bare(&self.dir).and_then(|repository| {
            let odb = repository.odb()?;
            let is_there =
                |reference: git2::Reference<'_>| reference.target().is_none_or(|id| odb.exists(id));
            let mut sound = repository.find_reference("HEAD").is_ok();
            for reference in repository.references()? {
                sound &= is_there(reference?);
            }
            // The library passes over files that it does not understand, also a lock that a killed process left.
            for name in
                loose_references(&self.dir).map_err(|error| git2::Error::from_str(&error.to_string()))?
            {
                sound &= repository.find_reference(&name).is_ok_and(is_there);
            }
            // What is not in packs is nothing that Staith put there.
            sound &= Packs::are_whole(&self.dir.join("objects")).unwrap_or(false);
            Ok(sound)
        });
        matches!(looked_over, Ok(true)) && trust(&self.mark()).is_ok()
    }

    fn has(&self, id: Oid) -> bool {
        Repository::open_bare(&self.dir).is_ok_and(|repository| has_commit(&repository, id))
    }

    /// Waits until nobody else fetches into this mirror. Who fetches gives up when nothing comes, so the wait ends.
    fn lock(&self) -> io::Result<File> {
        let path = self.dir.with_extension("lock");
        let lock = File::options().create(true).append(true).open(path)?;
        loop {
            match flock(&lock, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                locked => return locked.map(|()| lock).map_err(io::Error::from),
            }
        }
    }

    fn mark(&self) -> PathBuf {
        self.dir.with_extension("seen")
    }

    fn mirrors(&self) -> &Path {
        self.dir.parent().unwrap_or(&self.dir)
    }
}

enum Failed {
    Library(git2::Error),
    Disk(io::Error),
}

impl From<git2::Error> for Failed {
    fn from(error: git2::Error) -> Self {
        Self::Library(error)
    }
}

/// Receives what a new mirror lacks: everything.
fn first_through(
    url: &str,
    repository: &Repository,
    extra: &[String],
    progress: &mut dyn FnMut(Progress),
) -> io::Result<()> {
    let mut told = |objects, of, bytes: u64| {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let fetched = Some(Fetched { objects, of, bytes });
        progress(Progress { fetched, ..Progress::default() });
    };
    first_pack(url, extra, &repository.path().join("objects/pack"), &mut told).map(drop)
}

fn fetch_through(
    url: &str,
    repository: &Repository,
    refspecs: &[String],
    progress: &mut dyn FnMut(Progress),
) -> Result<(), Failed> {
    let mut remote = repository.remote_anonymous(url)?;
    remote.connect(Direction::Fetch)?;
    let default = remote.default_branch().ok();
    let mut callbacks = RemoteCallbacks::new();
    callbacks.transfer_progress(|seen| {
        progress(Progress { fetched: Some(Fetched::from(&seen)), ..Progress::default() });
        true
    });
    let mut options = FetchOptions::new();
    options.remote_callbacks(callbacks).download_tags(AutotagOption::None).update_fetchhead(false);
    remote.download(refspecs, Some(&mut options))?;
    remote.disconnect()?;
    sync_packs(repository.path()).map_err(Failed::Disk)?;
    // First what is gone: `a` has to make room for `a/b`.
    remote.prune(None)?;
    remote.update_tips(None, RemoteUpdateFlags::empty(), AutotagOption::None, Some("fetch"))?;
    let default = default.as_ref().and_then(|name| name.as_str().ok());
    // Without a branch, HEAD is the remote's commit, or names nothing where the remote's names nothing.
    let head = default.filter(|name| name.starts_with("refs/heads/")).unwrap_or(REMOTE_HEAD);
    repository.reference_symbolic("HEAD", head, true, "fetch")?;
    Ok(())
}

/// A new bare repository whose own configuration keeps the user's from rewriting the addresses of doors.
fn made(place: &Path) -> Result<Repository, git2::Error> {
    let mut options = RepositoryInitOptions::new();
    let repository =
        Repository::init_opts(place, options.bare(true).no_reinit(true).external_template(false))?;
    let mut config = repository.config()?.open_level(git2::ConfigLevel::Local)?;
    for scheme in ["git", "http"] {
        let door = format!("{scheme}://127.0.0.1:");
        config.set_str(&format!("url.{door}.insteadOf"), &door)?;
    }
    Ok(repository)
}

/// The names of all references that have files of their own.
fn loose_references(repository: &Path) -> io::Result<Vec<String>> {
    let (mut names, mut open) = (Vec::new(), vec!["refs".to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(repository.join(&folder))? {
            let entry = entry?;
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                open.push(name);
            } else {
                names.push(name);
            }
        }
    }
    Ok(names)
}

/// Removes what fetches that were killed left. Nobody else fetches into the mirror now.
fn remove_leftovers(repository: &Path) -> io::Result<()> {
    for entry in fs::read_dir(repository.join("objects/pack"))? {
        let path = entry?.path();
        let is_whole = path.extension().is_some_and(|end| end == "pack" || end == "idx");
        if !is_whole {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Puts the packs that came on the disk, before references name what is in them. All at once, so that the file system does it
/// in one go; those that are there already cost nothing.
fn sync_packs(repository: &Path) -> io::Result<()> {
    let packs = repository.join("objects/pack");
    let found: Vec<_> = fs::read_dir(&packs)?.collect::<Result<_, _>>()?;
    found.par_iter().try_for_each(|entry| File::open(entry.path())?.sync_all())?;
    File::open(packs)?.sync_all()
}

/// What is asked for by name.
fn names_in(selection: &Selection) -> Vec<&str> {
    match selection {
        Selection::Reference(name) => vec![name],
        Selection::Merge { head, base } => vec![head, base],
        Selection::AsItIs | Selection::Head => Vec::new(),
    }
}

/// The whole name of what servers keep beside branches and tags: `refs/pull/12/head`, also as `pull/12/head`.
fn kept_elsewhere(name: &str) -> Option<String> {
    let requests = ["pull/", "merge-requests/", "pull-requests/"];
    let whole = if requests.iter().any(|kind| name.starts_with(kind)) {
        format!("refs/{name}")
    } else {
        name.to_owned()
    };
    (whole.starts_with("refs/") && git2::Reference::is_valid_name(&whole)).then_some(whole)
}

fn full_id(reference: &str) -> Option<Oid> {
    let is_full = reference.len() == 40 && reference.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_full.then(|| Oid::from_str(reference).ok()).flatten()
}

fn has_commit(repository: &Repository, id: Oid) -> bool {
    repository.find_object(id, None).and_then(|object| object.peel_to_commit()).is_ok()
}
