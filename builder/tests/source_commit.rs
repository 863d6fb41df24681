//! Commits: which one is meant, and what hostile repositories can't do.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::{fs, path::PathBuf, process::Command};

use git2::{Oid, Repository, Signature};
use staith_builder::source::{FileMode, Origin, Resolved, Selection, SourceError, Sources};

struct Place {
    dir: tempfile::TempDir,
    repository: Repository,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repository = Repository::init(dir.path().join("project")).unwrap();
        repository.set_head("refs/heads/main").unwrap();
        Self { dir, repository }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    /// Objects are written as they are, so that trees which git would never make can be made.
    fn object(&self, kind: git2::ObjectType, bytes: &[u8]) -> Oid {
        self.repository.odb().unwrap().write(kind, bytes).unwrap()
    }

    fn blob(&self, text: &str) -> Oid {
        self.object(git2::ObjectType::Blob, text.as_bytes())
    }

    fn tree(&self, entries: &[(&str, &[u8], Oid)]) -> Oid {
        let line = |(mode, name, id): &(&str, &[u8], Oid)| {
            [mode.as_bytes(), b" ", name, b"\0", id.as_bytes()].concat()
        };
        self.object(git2::ObjectType::Tree, &entries.iter().flat_map(line).collect::<Vec<u8>>())
    }

    fn commit(&self, tree: Oid, branch: &str) -> Oid {
        let who = "x <x@x> 1700000000 +0000";
        let text = format!("tree {tree}\nauthor {who}\ncommitter {who}\n\n{branch}\n");
        let id = self.object(git2::ObjectType::Commit, text.as_bytes());
        self.repository.reference(&format!("refs/heads/{branch}"), id, true, "test").unwrap();
        id
    }

    fn simple(&self, text: &str, branch: &str) -> Oid {
        self.commit(self.tree(&[("100644", b"file", self.blob(text))]), branch)
    }

    fn resolve_at(&self, place: &str, selection: &Selection) -> Result<Resolved, SourceError> {
        let sources = Sources::open(&self.dir.path().join("store"), None).unwrap();
        let origin = Origin::parse(place, self.dir.path())?;
        sources.resolve(&origin, selection, &mut |_| {})
    }

    fn reference(&self, reference: &str) -> Result<Resolved, SourceError> {
        self.resolve_at("project", &Selection::Reference(reference.to_owned()))
    }

    fn refused(&self, entries: &[(&str, &[u8], Oid)]) -> SourceError {
        self.commit(self.tree(entries), "main");
        self.resolve_at("project", &Selection::Head).unwrap_err()
    }
}

#[test]
fn branches_tags_and_ids_name_commits() {
    let place = Place::new();
    let main = place.simple("one", "main");
    let side = place.simple("two", "feature/side");
    let who = Signature::now("x", "x@x").unwrap();
    let tagged = place.repository.find_object(side, None).unwrap();
    place.repository.tag("v1.0", &tagged, &who, "annotated", false).unwrap();
    place.repository.reference("refs/remotes/origin/far", side, true, "x").unwrap();
    let commit = |reference: &str| place.reference(reference).unwrap().source.commit.unwrap();
    assert_eq!(commit("main"), main.to_string());
    for reference in
        ["feature/side", "v1.0", "refs/tags/v1.0", "far", &side.to_string(), &side.to_string()[..9]]
    {
        assert_eq!(commit(reference), side.to_string(), "{reference}");
    }
    let head = place.resolve_at("project", &Selection::Head).unwrap();
    assert_eq!(head.source.commit, Some(main.to_string()));
    assert!(!head.source.dirty);
    assert_eq!(head.files[0].1.mode, FileMode::Regular);
    assert_eq!(head.files[0].1.size, 3);
    // A second time from what the store remembers.
    assert_eq!(place.resolve_at("project", &Selection::Head).unwrap(), head);
}

#[test]
fn a_repository_without_working_directory_is_an_origin() {
    let place = Place::new();
    let main = place.simple("one", "main");
    let bare = place.dir.path().join("bare.git");
    let cloned =
        Command::new("git").args(["clone", "-q", "--bare"]).arg(place.root()).arg(&bare).status().unwrap();
    assert!(cloned.success());
    for selection in [Selection::AsItIs, Selection::Head, Selection::Reference("main".into())] {
        for text in [bare.display().to_string(), format!("file://{}", bare.display())] {
            let resolved = place.resolve_at(&text, &selection).unwrap();
            assert_eq!(resolved.source.commit, Some(main.to_string()));
        }
    }
}

#[test]
fn what_names_nothing_is_refused_with_suggestions() {
    let place = Place::new();
    assert!(matches!(place.resolve_at("project", &Selection::Head), Err(SourceError::NoCommit(_))));
    assert!(matches!(place.reference("main"), Err(SourceError::NoCommit(_))));
    place.simple("one", "main");
    place.simple("two", "release/2024");
    let refusal = place.reference("relaese/2024").unwrap_err();
    assert!(refusal.to_string().contains("relaese/2024"), "{refusal}");
    assert_eq!(refusal.remedy().unwrap(), "Did you mean `release/2024`?");
    let refusal = place.reference("zzz").unwrap_err();
    assert!(refusal.remedy().unwrap().contains("`main`"));
    for odd in ["", "-x", "--all", "main:file", "a b", "refs/heads/", "0000000", "main^{tree}", "@{-1}", "\0"]
    {
        assert!(place.reference(odd).is_err(), "{odd:?}");
    }
}

#[test]
fn a_short_id_that_fits_two_commits_is_refused() {
    let place = Place::new();
    let mut seen = std::collections::HashSet::new();
    let clash = (0..).find_map(|n| {
        let id = place.simple(&n.to_string(), &format!("b{n}")).to_string();
        (!seen.insert(id[..4].to_owned())).then(|| id[..4].to_owned())
    });
    let refusal = place.reference(&clash.unwrap()).unwrap_err();
    assert!(matches!(refusal, SourceError::Ambiguous { .. }), "{refusal}");
}

#[test]
fn a_folder_is_looked_up_in_the_commit() {
    let place = Place::new();
    let inner = place.tree(&[("100755", b"run", place.blob("x"))]);
    place.commit(place.tree(&[("40000", b"app", inner)]), "main");
    place.simple("no folder", "other");
    fs::create_dir_all(place.root().join("app")).unwrap();
    let found = place.resolve_at("project/app", &Selection::Head).unwrap();
    assert_eq!(found.source.tree, inner.to_string());
    assert_eq!(found.files[0].1.mode, FileMode::Executable);
    let refusal = place.resolve_at("project/app", &Selection::Reference("other".into())).unwrap_err();
    assert!(matches!(refusal, SourceError::FolderNotInCommit { .. }), "{refusal}");
}

#[test]
fn hostile_trees_are_refused() {
    let place = Place::new();
    let blob = place.blob("/tmp");
    let inner = place.tree(&[("100644", b"x", blob)]);
    let names: [&[u8]; 7] = [b".git", b".GIT", b"..", b".", b"", b"a/b", b"/etc"];
    for name in names {
        let refusal = place.refused(&[("40000", name, inner)]);
        assert!(
            matches!(refusal, SourceError::Hostile { .. } | SourceError::Git { .. }),
            "{}: {refusal}",
            name.escape_ascii()
        );
    }
    // A link and a folder of one name: writing the folder's file would follow the link.
    let refusal = place.refused(&[("120000", b"a", blob), ("40000", b"a", inner)]);
    assert!(matches!(refusal, SourceError::Hostile { .. }), "{refusal}");
    let refusal = place.refused(&[("100644", b"a", blob), ("100644", b"a", inner)]);
    assert!(matches!(refusal, SourceError::Hostile { .. }), "{refusal}");
    let refusal = place.refused(&[("100644", b"caf\xe9", blob)]);
    assert!(refusal.to_string().contains(r"caf\xe9"), "{refusal}");
    let refusal = place.refused(&[("160000", b"lib", blob)]);
    assert!(matches!(&refusal, SourceError::Submodule { path, .. } if path == "lib"), "{refusal}");
}

#[test]
fn trees_that_repeat_themselves_are_refused() {
    let place = Place::new();
    let mut tree = place.tree(&[("100644", b"x", place.blob("x"))]);
    for _ in 0..250 {
        tree = place.tree(&[("40000", b"d", tree)]);
    }
    place.commit(tree, "main");
    let refusal = place.resolve_at("project", &Selection::Head).unwrap_err();
    assert!(matches!(refusal, SourceError::Hostile { .. }), "{refusal}");
}

#[test]
fn somebody_elses_repository_can_be_built() {
    let place = Place::new();
    let main = place.simple("one", "main");
    if rustix::process::geteuid().is_root() {
        let given = Command::new("chown").args(["-R", "65534:65534"]).arg(place.root()).status().unwrap();
        assert!(given.success());
    }
    assert_eq!(place.reference("main").unwrap().source.commit, Some(main.to_string()));
}
