//! Sources of a server's runs, kept when they were planned, for the attempts that build them.
//!
//! What is kept is the list of a source's files and where their contents are: in the server's mirror of the repository, or in the
//! repository itself where that is on this machine. A list is kept for a project and a tree. So an attempt never gets from one
//! project what another one has, though both may have the same tree. What nobody has asked for in a long time goes: `collection`.

mod collection;

use std::{
    collections::BTreeSet,
    fmt,
    fs::{DirBuilder, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use staith_builder::source::{NotSent, ObjectId, Resolved, SourceError};
use staith_model::{Exit, Name};
use staith_server::source_transfer::{ContentId, SourceSupply, SupplyError};

use crate::{output::Problem, workshop::Workshop};

/// The sources of a server.
#[derive(Clone)]
pub(crate) struct KeptSources {
    dir: PathBuf,
    workshop: Arc<Workshop>,
}

impl fmt::Debug for KeptSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptSources").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl KeptSources {
    /// Keeps lists below a server's data; `workshop` is what its runs are planned with.
    pub(crate) fn below(data: &Path, workshop: Arc<Workshop>) -> Self {
        Self { dir: data.join("sources"), workshop }
    }

    /// Keeps a source of a project, so that attempts of its runs get it, also after a restart of the server. It is on the disk then.
    ///
    /// # Errors
    /// The disk refuses, or a path of the source can't be written down.
    pub(crate) fn keep(&self, project: &Name, source: &Resolved) -> Result<(), Problem> {
        let place = self.place(project, &source.source.tree);
        let refused = |error: io::Error| {
            Problem::new(Exit::Environment, format!("the source {} can't be kept", source.source.tree))
                .with_why(format!("{}: {error}", place.display()))
        };
        let bytes = source.to_bytes().ok_or_else(|| {
            Problem::new(Exit::Configuration, "the source has a path that can't be written down")
        })?;
        put(&place, &bytes).map_err(refused)
    }

    fn place(&self, project: &Name, tree: &str) -> PathBuf {
        self.dir.join(project.as_str()).join(tree)
    }

    fn kept(&self, project: &Name, tree: &str) -> Result<Resolved, SupplyError> {
        let unknown = || SupplyError::Unknown { project: project.clone(), tree: tree.to_owned() };
        if tree.is_empty() || !tree.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        let place = self.place(project, tree);
        let bytes = match collection::read(&place) {
            Ok(bytes) => bytes,
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => return Err(unknown()),
            Err(refused) => {
                let what = format!("{} can't be read: {refused}", place.display());
                return Err(SupplyError::Unavailable { what, remedy: None });
            }
        };
        self.workshop.sources().recall(&bytes).ok_or_else(|| SupplyError::Unavailable {
            what: format!("the list of the source {tree} is damaged"),
            remedy: Some("run it again for the same commit: planning makes the list anew".to_owned()),
        })
    }

    /// The source, with what git-lfs keeps of it here: found in a place that belongs to its repository, which shows that the
    /// project may have it.
    fn gathered(&self, project: &Name, tree: &str) -> Result<Resolved, SupplyError> {
        let source = self.kept(project, tree)?;
        self.workshop.sources().gather(&source, &[], &mut |_| {}).map_err(|error| unavailable(&error))?;
        Ok(source)
    }
}

impl SourceSupply for KeptSources {
    fn list(&self, project: &Name, tree: &str) -> Result<Vec<u8>, SupplyError> {
        let source = self.gathered(project, tree)?;
        source.list_to_send().ok_or_else(|| SupplyError::Unavailable {
            what: "the source has a path that can't be written down".to_owned(),
            remedy: None,
        })
    }

    fn contents(
        &self,
        project: &Name,
        tree: &str,
        ids: &[ContentId],
        to: &mut dyn Write,
    ) -> Result<(), SupplyError> {
        let source = self.gathered(project, tree)?;
        let ids: Vec<ObjectId> = ids.iter().copied().map(ObjectId::from_bytes).collect();
        self.workshop.sources().contents(&source, &ids, to).map_err(|failed| match failed {
            NotSent::NotOfTheSource(id) => SupplyError::NotOfTheSource(id),
            NotSent::Source(error) => unavailable(&error),
            NotSent::Writing(error) => SupplyError::Gone(error),
        })
    }

    fn collect(&self, in_use: &BTreeSet<(Name, String)>, now: SystemTime) -> io::Result<()> {
        collection::collect(&self.dir, in_use, now)
    }
}

fn unavailable(error: &SourceError) -> SupplyError {
    SupplyError::Unavailable { what: error.to_string(), remedy: error.remedy() }
}

/// Writes a file whole or not at all. Several may write the same at once.
fn put(place: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = place.parent().unwrap_or(place);
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if collection::read(place).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(bytes)?;
    new.as_file().sync_all()?;
    new.persist(place).map_err(|refused| refused.error)?;
    for folder in folder.ancestors().take(3) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use staith_builder::source::{Origin, Selection, Sources};

    use super::*;
    use crate::home::Home;

    fn git(at: &Path, arguments: &[&str]) {
        let who = ["-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false"];
        let output = Command::new("git").args(who).args(arguments).current_dir(at).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn a_bare_repository_of_the_server_is_built_by_a_runner_that_can_not_read_it() {
        let place = tempfile::tempdir().unwrap();
        let (work, bare) = (place.path().join("work"), place.path().join("shop.git"));
        fs::create_dir(&work).unwrap();
        git(&work, &["init", "-q", "-b", "main"]);
        fs::write(work.join("a"), "one").unwrap();
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "-m", "x"]);
        git(place.path(), &["clone", "-q", "--bare", "work", "shop.git"]);

        let open = || Arc::new(Workshop::open(&Home::at(place.path().join("home"))).unwrap());
        let workshop = open();
        let origin = Origin::parse(bare.to_str().unwrap(), Path::new("/")).unwrap();
        let resolved = workshop.source(&origin, &Selection::Head).unwrap();
        let kept = KeptSources::below(&place.path().join("data"), workshop);
        let (shop, blog): (Name, Name) = ("shop".parse().unwrap(), "blog".parse().unwrap());
        kept.keep(&shop, &resolved).unwrap();
        kept.keep(&shop, &resolved).unwrap();

        // Another server process, and a runner.
        let kept = KeptSources::below(&place.path().join("data"), open());
        let (tree, runner) =
            (resolved.source.tree.as_str(), Sources::open(&place.path().join("runner"), None).unwrap());
        let received = runner.received(&kept.list(&shop, tree).unwrap()).unwrap();
        let ids: Vec<ContentId> = runner.missing(&received).iter().map(|id| *id.as_bytes()).collect();
        let mut bytes = Vec::new();
        kept.contents(&shop, tree, &ids, &mut bytes).unwrap();
        runner.take_contents(&received, &mut bytes.as_slice()).unwrap();
        fs::rename(&bare, place.path().join("gone")).unwrap();
        let checkout = runner.checkout(&received, &[]).unwrap();
        assert_eq!(fs::read_to_string(checkout.join("a")).unwrap(), "one");

        for (project, tree) in [(&blog, tree), (&shop, "0123"), (&shop, "../shop"), (&shop, "")] {
            assert!(matches!(kept.list(project, tree), Err(SupplyError::Unknown { .. })), "{project} {tree}");
        }
        let place = kept.place(&shop, tree);
        fs::write(&place, &fs::read(&place).unwrap()[..40]).unwrap();
        assert!(matches!(kept.list(&shop, tree), Err(SupplyError::Unavailable { .. })));
    }
}
