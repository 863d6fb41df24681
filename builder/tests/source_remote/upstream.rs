//! A repository for others to fetch from, and a store that fetches.

use std::{
    fs,
    path::{Path, PathBuf},
};

use git2::{Oid, Repository};
use staith_builder::source::{Origin, Reach, Resolved, Selection, SourceError, Sources};

/// A bare repository `x.git` below a directory that servers serve, and a store beside it.
pub(crate) struct Upstream {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) repository: Repository,
}

impl Upstream {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(dir.path().join("srv/x.git")).unwrap();
        repository.set_head("refs/heads/main").unwrap();
        Self { dir, repository }
    }

    pub(crate) fn served(&self) -> PathBuf {
        self.dir.path().join("srv")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// A commit on a branch, above what the branch has, with one file.
    pub(crate) fn commit(&self, branch: &str, content: &str) -> String {
        let repository = &self.repository;
        let mut tree = repository.treebuilder(None).unwrap();
        tree.insert("file", repository.blob(content.as_bytes()).unwrap(), 0o100_644).unwrap();
        let tree = repository.find_tree(tree.write().unwrap()).unwrap();
        let who = git2::Signature::new("x", "x@x", &git2::Time::new(1_700_000_000, 0)).unwrap();
        let name = format!("refs/heads/{branch}");
        let above = repository.refname_to_id(&name).ok().map(|id| repository.find_commit(id).unwrap());
        let above: Vec<_> = above.iter().collect();
        repository.commit(Some(&name), &who, &who, content, &tree, &above).unwrap().to_string()
    }

    pub(crate) fn set(&self, reference: &str, id: &str) {
        self.repository.reference(reference, Oid::from_str(id).unwrap(), true, "test").unwrap();
    }

    pub(crate) fn delete(&self, reference: &str) {
        self.repository.find_reference(reference).unwrap().delete().unwrap();
    }

    /// What a fetch brings, and how many objects came for it.
    pub(crate) fn fetch(
        &self,
        reach: &Reach,
        url: &str,
        selection: &Selection,
    ) -> Result<(Resolved, usize), SourceError> {
        fetch(&self.store(), reach, url, selection)
    }

    /// The commit that a fetch finds.
    pub(crate) fn commit_of(&self, reach: &Reach, url: &str, reference: &str) -> String {
        let selection = Selection::Reference(reference.to_owned());
        self.fetch(reach, url, &selection).unwrap().0.source.commit.unwrap()
    }

    /// Why a fetch of HEAD fails, in all words that there are for it.
    pub(crate) fn refusal(&self, reach: &Reach, url: &str) -> String {
        let error = self.fetch(reach, url, &Selection::Head).unwrap_err();
        format!("{error} | {} | {error:?}", error.remedy().unwrap())
    }

    /// The only mirror.
    pub(crate) fn mirror(&self) -> PathBuf {
        let mut mirrors = entries(&self.store().join("mirrors"));
        mirrors.retain(|path| path.extension().is_some_and(|end| end == "git"));
        assert_eq!(mirrors.len(), 1, "{mirrors:?}");
        mirrors.remove(0)
    }
}

pub(crate) fn fetch(
    store: &Path,
    reach: &Reach,
    url: &str,
    selection: &Selection,
) -> Result<(Resolved, usize), SourceError> {
    let sources = Sources::open(store, None).unwrap().reaching(reach.clone());
    let origin = Origin::parse(url, Path::new("/"))?;
    let mut objects = 0;
    let mut progress = |told: staith_builder::source::Progress| {
        objects = told.fetched.map_or(objects, |fetched| fetched.objects);
    };
    let resolved = sources.resolve(&origin, selection, &mut progress)?;
    let files = sources.checkout(&resolved, &[]).unwrap();
    assert!(files.join("file").is_file());
    Ok((resolved, objects))
}

pub(crate) fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}
