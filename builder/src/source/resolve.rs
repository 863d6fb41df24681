//! From an origin and a selection to exact files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use git2::Oid;
use staith_model::{Digest, RelPath, Source};

use super::{
    Progress, Resolved, Selection, Sources,
    contents::{Contents, Kept},
    error::{SourceError, at, git},
    lfs::{Held, Pointer},
    listing::{Listing, ObjectId, checked},
    merge,
    origin::{Origin, WorkTree},
    record::{Link, Record},
    reference,
    remote::{Mirror, RemoteRepository},
    snapshot,
    submodules::{self, Parent, Whence},
    tree,
};

/// A repository on this machine, or the mirror of one that is not.
struct Place<'a> {
    git_dir: &'a Path,
    /// What people call it.
    name: &'a Path,
    /// The project's folder in it.
    folder: Option<&'a RelPath>,
    remote: Option<&'a RemoteRepository>,
}

/// How far down the submodules of submodules it goes.
struct Descent<'a> {
    depth: usize,
    left: usize,
    progress: &'a mut dyn FnMut(Progress),
}

/// What a selection comes to, before its submodules are looked for.
struct Selected {
    commit: Oid,
    record: Record,
    differs: bool,
    declarations: Vec<u8>,
    /// The .lfsconfig at the top.
    lfs_config: Vec<u8>,
}

impl Sources {
    pub(super) fn find(
        &self,
        origin: &Origin,
        selection: &Selection,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Resolved, SourceError> {
        let descent = &mut Descent { depth: 0, left: submodules::MOST, progress };
        match (origin, selection) {
            (Origin::Directory { root, repository }, Selection::AsItIs) => {
                self.as_it_is(root, repository.as_ref(), descent.progress)
            }
            (Origin::Directory { root, repository: None }, _) => {
                Err(SourceError::NotARepository(root.clone()))
            }
            (Origin::Directory { root, repository: Some(tree) }, _) => {
                let folder = tree.folder.as_ref();
                let place = Place { git_dir: &tree.git_dir, name: root, folder, remote: None };
                self.of_commit(&place, selection, descent)
            }
            (Origin::Repository { git_dir }, _) => {
                let place = Place { git_dir, name: git_dir, folder: None, remote: None };
                self.of_commit(&place, selection, descent)
            }
            (Origin::Remote(remote), _) => self.of_remote(remote, selection, descent),
        }
    }

    fn as_it_is(
        &self,
        root: &Path,
        tree: Option<&WorkTree>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Resolved, SourceError> {
        let record = snapshot::snapshot(root, tree, &self.store, &self.pool, progress)?;
        self.pool.settle();
        self.bench.may_need(record.files.iter().map(|file| file.entry.blob.as_bytes()));
        let (commit, committed) = match tree {
            None => (None, None),
            Some(tree) => committed(tree)?,
        };
        let source = Source { tree: record.tree.to_string(), commit, dirty: committed != Some(record.tree) };
        let repository = tree.map(|tree| Kept { git_dir: tree.git_dir.clone(), is_mirror: false });
        let repositories = repository.into_iter().collect();
        let held = tree.map_or_else(Vec::new, |tree| held_on_screen(tree, &record.pointers));
        let contents = Contents { repositories, root: Some(root.to_owned()), held };
        let (files, notices) = parts(record);
        Ok(Resolved { source, files, notices, contents })
    }

    fn of_remote(
        &self,
        remote: &RemoteRepository,
        selection: &Selection,
        descent: &mut Descent<'_>,
    ) -> Result<Resolved, SourceError> {
        let mirror = Mirror::new(&self.store, &self.bench, &self.reach, remote).within(self.pool.allowance());
        let git_dir = mirror.with(selection, &mut self.counted(descent.progress))?;
        self.pool.settle();
        let place = Place { git_dir: &git_dir, name: remote.place(), folder: None, remote: Some(remote) };
        match self.of_commit(&place, selection, descent) {
            Err(SourceError::Git { source, .. }) if mirror.is_damaged() => {
                tracing::warn!(error = %source, "the mirror is damaged and is fetched anew");
                mirror.with(selection, &mut self.counted(descent.progress))?;
                self.pool.settle();
                self.of_commit(&place, selection, descent)
            }
            found => found,
        }
    }

    fn of_commit(
        &self,
        place: &Place<'_>,
        selection: &Selection,
        descent: &mut Descent<'_>,
    ) -> Result<Resolved, SourceError> {
        let mut selected = match selection {
            Selection::Merge { head, base } => self.merged(place, head, base)?,
            _ => self.committed(place, selection)?,
        };
        let links = std::mem::take(&mut selected.record.links);
        let held = Held::of(place.git_dir, place.remote, &selected.lfs_config, &selected.record.pointers);
        let source = Source {
            tree: selected.record.tree.to_string(),
            commit: Some(selected.commit.to_string()),
            dirty: selected.differs,
        };
        let (files, notices) = parts(selected.record);
        let kept = Kept { git_dir: place.git_dir.to_owned(), is_mirror: place.remote.is_some() };
        let held = held.into_iter().collect();
        let contents = Contents { repositories: vec![kept], root: None, held };
        let mut resolved = Resolved { source, files, notices, contents };
        self.add_submodules(&mut resolved, &links, place, &selected.declarations, descent)?;
        (descent.progress)(Progress { files: resolved.files.len(), ..Progress::default() });
        Ok(resolved)
    }

    fn merged(&self, place: &Place<'_>, head: &str, base: &str) -> Result<Selected, SourceError> {
        let merged = merge::merged(place.git_dir, place.folder, (head, base), place.name, &self.pool)?;
        let mut record = merged.record;
        record.notices.push(merged.notice);
        let (commit, differs, declarations) = (merged.head, merged.differs, merged.declarations);
        Ok(Selected { commit, record, differs, declarations, lfs_config: merged.lfs_config })
    }

    fn committed(&self, place: &Place<'_>, selection: &Selection) -> Result<Selected, SourceError> {
        let repository = tree::open(place.git_dir)?;
        let commit = match selection {
            Selection::Reference(reference) => reference::commit(&repository, reference, place.name)?,
            Selection::AsItIs | Selection::Head | Selection::Merge { .. } => {
                let head = reference::head(&repository, place.name)?;
                head.ok_or_else(|| SourceError::NoCommit(place.name.to_owned()))?
            }
        };
        let found = reference::folder_of(&repository, &commit, place.folder, place.name)?;
        let cache = self.store.join("trees").join(listing_name(&found, place));
        let known = fs::read(&cache).ok().and_then(|bytes| Record::from_bytes(&bytes));
        let record = match known.filter(|record| record.tree == ObjectId::from(found.tree)) {
            Some(record) => record,
            None => {
                let record = tree::read_tree(place.git_dir, &found, place.folder)?;
                self.write(&cache, &record.to_bytes()).map_err(at("writing", &cache))?;
                record
            }
        };
        let at_the_top = |name, is_needed: bool| {
            if !is_needed {
                return Ok(Vec::new());
            }
            let top = commit.tree().map_err(git("reading the commit's tree", place.name))?;
            submodules::file_at_the_top(&repository, &top, place.git_dir, name)
        };
        let declarations = at_the_top(".gitmodules", !record.links.is_empty())?;
        let lfs_config = at_the_top(".lfsconfig", !record.pointers.is_empty())?;
        Ok(Selected { commit: found.commit, record, differs: false, declarations, lfs_config })
    }

    /// Adds the files of submodules, at the commits that the tree records, and of their submodules.
    fn add_submodules(
        &self,
        resolved: &mut Resolved,
        links: &[Link],
        place: &Place<'_>,
        declarations: &[u8],
        descent: &mut Descent<'_>,
    ) -> Result<(), SourceError> {
        let caution = &self.reach.caution;
        let parent = Parent { git_dir: place.git_dir, remote: place.remote, declarations, caution };
        for link in links {
            let path = submodules::below(place.folder, &link.path);
            if descent.depth >= submodules::DEEPEST || descent.left == 0 {
                return Err(submodules::refused(
                    &path,
                    "there are too many submodules, or too deep",
                    TOO_MANY,
                ));
            }
            let whence = parent.whence(&path, link)?;
            descent.left -= 1;
            descent.depth += 1;
            let inner = self.submodule(&whence, link, descent);
            descent.depth -= 1;
            let inner =
                inner.map_err(|source| SourceError::InSubmodule { path, source: Box::new(source) })?;
            for (below, entry) in inner.files {
                let path = format!("{}/{below}", link.path);
                let hostile = |_| SourceError::Hostile { path: path.clone(), why: "it is not a path" };
                resolved.files.push((RelPath::try_from(path.clone()).map_err(hostile)?, entry));
            }
            resolved
                .notices
                .extend(inner.notices.iter().map(|notice| format!("in `{}`: {notice}", link.path)));
            resolved.contents.repositories.extend(inner.contents.repositories);
            resolved.contents.held.extend(inner.contents.held);
        }
        if !links.is_empty() {
            resolved.files = checked(std::mem::take(&mut resolved.files))?;
        }
        Ok(())
    }

    fn submodule(
        &self,
        whence: &Whence,
        link: &Link,
        descent: &mut Descent<'_>,
    ) -> Result<Resolved, SourceError> {
        let selection = Selection::Reference(link.commit.to_string());
        match whence {
            Whence::There(remote) => self.of_remote(remote, &selection, descent),
            Whence::Here(git_dir) => {
                let place = Place { git_dir, name: git_dir, folder: None, remote: None };
                self.of_commit(&place, &selection, descent)
            }
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let new: PathBuf = self.bench.fresh_path();
        fs::write(&new, bytes).and_then(|()| fs::rename(&new, path))
    }
}

/// What a listing is remembered as. What is above the folder of a project has a say in what git-lfs keeps of it, and so has
/// what the repository's owner has set.
fn listing_name(found: &reference::Found, place: &Place<'_>) -> String {
    let own = tree::own_attributes(place.git_dir);
    if found.attributes_above.is_empty() && own.is_none() {
        return found.tree.to_string();
    }
    let said = (place.folder.map(ToString::to_string), &found.attributes_above, own);
    format!("{}-{}", found.tree, Digest::of_value("staith.attributes.v1", &said).hex())
}

/// What the repository around a working directory has given to git-lfs. What its submodules have is found there as well, as
/// far as they share a server.
fn held_on_screen(tree: &WorkTree, pointers: &[(ObjectId, Pointer)]) -> Vec<Held> {
    let config = tree.top.join(".lfsconfig");
    let is_file = fs::symlink_metadata(&config).is_ok_and(|found| found.is_file() && found.len() < 1 << 20);
    let config = is_file.then(|| fs::read(config).ok()).flatten().unwrap_or_default();
    Held::of(&tree.git_dir, None, &config, pointers).into_iter().collect()
}

const TOO_MANY: &str = "Take the files that the build needs into the repository itself.";

fn parts(record: Record) -> (Listing, Vec<String>) {
    (record.files.into_iter().map(|file| (file.path, file.entry)).collect(), record.notices)
}

/// HEAD's commit and the tree that it has for the project's folder.
fn committed(tree: &WorkTree) -> Result<(Option<String>, Option<ObjectId>), SourceError> {
    let repository = tree::open(&tree.git_dir)?;
    let Some(commit) = reference::head(&repository, &tree.top)? else { return Ok((None, None)) };
    match reference::folder_of(&repository, &commit, tree.folder.as_ref(), &tree.top) {
        Ok(found) => Ok((Some(found.commit.to_string()), Some(found.tree.into()))),
        // The whole folder is new.
        Err(SourceError::FolderNotInCommit { commit, .. }) => Ok((Some(commit), None)),
        Err(error) => Err(error),
    }
}
