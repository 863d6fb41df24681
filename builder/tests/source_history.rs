//! What a source goes by in its repository, and what changed since another commit.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::Path, process::Command};

use staith_builder::source::{Called, Origin, Selection, SourceError, Sources};
use tempfile::TempDir;

struct World {
    directory: TempDir,
    sources: Sources,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("project")).unwrap();
        let sources = Sources::open(&directory.path().join("store"), None).unwrap();
        let world = Self { directory, sources };
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        world
    }

    fn git(&self, arguments: &[&str]) {
        let identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
        let mut git = Command::new("git");
        let done = git.args(identity).args(arguments).current_dir(self.project()).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn project(&self) -> std::path::PathBuf {
        self.directory.path().join("project")
    }

    fn commit(&self, file: &str, text: &str) {
        let path = self.project().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", file]);
    }

    fn origin(&self, folder: &str) -> Origin {
        Origin::parse(folder, &self.project()).unwrap()
    }

    fn called(&self, selection: &Selection) -> (Option<String>, Option<String>) {
        let resolved = self.sources.resolve(&self.origin("."), selection, &mut |_| {}).unwrap();
        let Called { branch, tag } = self.sources.called(&resolved, selection).unwrap();
        (branch, tag)
    }

    fn changed(&self, folder: &str, base: &str) -> Result<Vec<String>, SourceError> {
        let origin = self.origin(folder);
        let resolved = self.sources.resolve(&origin, &Selection::AsItIs, &mut |_| {}).unwrap();
        let paths = self.sources.changed_since(&origin, &resolved, base)?;
        Ok(paths.into_iter().map(String::from).collect())
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn named(text: &str) -> Selection {
    Selection::Reference(text.to_owned())
}

#[test]
fn branches_and_tags_are_found_as_git_would() {
    let world = World::new();
    assert_eq!(world.called(&Selection::AsItIs), (some("main"), None), "before the first commit");
    world.commit("a", "1");
    assert_eq!(world.called(&Selection::AsItIs), (some("main"), None));
    world.git(&["tag", "v1"]);
    world.git(&["tag", "--annotate", "v2", "--message", "two"]);
    assert_eq!(world.called(&Selection::AsItIs), (some("main"), some("v2")));
    world.git(&["pack-refs", "--all"]);
    assert_eq!(world.called(&Selection::Head), (some("main"), some("v2")), "packed");
    assert_eq!(world.called(&named("v1")), (None, some("v1")));
    fs::write(world.project().join("a"), "uncommitted").unwrap();
    assert_eq!(world.called(&Selection::AsItIs), (some("main"), None), "no tag has what is not committed");
    world.git(&["checkout", "--quiet", "--force", "-b", "topic"]);
    world.commit("b", "1");
    assert_eq!(world.called(&named("topic")), (some("topic"), None));
    assert_eq!(world.called(&named("refs/heads/main")), (some("main"), some("v2")));
    world.git(&["branch", "v1"]);
    assert_eq!(world.called(&named("v1")), (None, some("v1")), "tags come before branches");
    world.git(&["checkout", "--quiet", "--detach"]);
    assert_eq!(world.called(&Selection::Head), (None, None));
}

#[test]
fn changes_are_those_since_the_two_parted() {
    let world = World::new();
    world.commit("app/kept", "1");
    world.commit("app/changed", "1");
    world.commit("beside", "1");
    world.git(&["checkout", "--quiet", "-b", "topic"]);
    world.commit("app/changed", "2");
    world.commit("app/new", "1");
    world.git(&["checkout", "--quiet", "main"]);
    world.commit("app/elsewhere", "the base went on");
    world.git(&["checkout", "--quiet", "topic"]);
    fs::write(world.project().join("app/uncommitted"), "1").unwrap();
    fs::remove_file(world.project().join("app/kept")).unwrap();
    let inside = ["changed", "kept", "new", "uncommitted"];
    assert_eq!(world.changed("app", "main").unwrap(), inside);
    assert_eq!(world.changed(".", "main").unwrap(), inside.map(|path| format!("app/{path}")));
    assert_eq!(world.changed(".", "HEAD").unwrap(), ["app/kept", "app/uncommitted"]);
    assert!(matches!(world.changed(".", "mian"), Err(SourceError::NoSuchReference { .. })));
}

#[test]
fn without_a_repository_nothing_can_be_compared() {
    let directory = tempfile::tempdir().unwrap();
    let (plain, store) = (directory.path().join("plain"), directory.path().join("store"));
    fs::create_dir(&plain).unwrap();
    let sources = Sources::open(&store, None).unwrap();
    let origin = Origin::parse(".", Path::new(&plain)).unwrap();
    let resolved = sources.resolve(&origin, &Selection::AsItIs, &mut |_| {}).unwrap();
    assert_eq!(sources.called(&resolved, &Selection::AsItIs).unwrap(), Called::default());
    assert!(matches!(sources.changed_since(&origin, &resolved, "main"), Err(SourceError::NotARepository(_))));
}
