//! `staith sbom`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use staith_model::{CompanionKind, Exit, RelPath};
use staith_packager::{
    seal::{
        attached,
        sbom::{self, Bill, LockFile, Subject},
    },
    store::Store,
};

use super::package;
use crate::{
    home::Home,
    output::{self, OutputMode, Problem},
    sealing::lock_file,
};

/// Print what something is made of, as a CycloneDX bill of materials
///
/// Of a directory, from the lock files in it: of Cargo, npm, yarn, pnpm, pip, poetry, uv, Pipenv, Go, Composer, NuGet, Bundler,
/// Gradle and Maven. Of a package in this machine's store, the bill that was made with it. The same files give the same bytes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A directory, or NAME@VERSION, NAME@CHANNEL, NAME@DIGEST or NAME (its latest version) of this machine's store
    #[arg(value_name = "PACKAGE|DIR", default_value = ".")]
    of: String,
    /// Refuse what is incomplete: a lock file that can't be read, a dependency without a fixed version
    #[arg(long)]
    strict: bool,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let strict = self.strict;
        let work = tokio::task::spawn_blocking(move || self.find());
        let (json, gaps) = work.await.map_err(|panicked| Problem::bug(panicked.to_string()))??;
        if strict && !gaps.is_empty() {
            return Err(Problem::new(Exit::Configuration, "the bill of materials would be incomplete")
                .with_why(gaps.join("\n"))
                .with_remedy("mend these lock files, or leave --strict out"));
        }
        for gap in gaps {
            output::notice(&format!("the bill of materials is incomplete: {gap}"), mode);
        }
        output::document(&json, mode.is_json()).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }

    /// The bill, and what it lacks.
    fn find(&self) -> Result<(Vec<u8>, Vec<String>), Problem> {
        let directory = Path::new(&self.of);
        if directory.is_dir() {
            let Bill { json, gaps, .. } = sbom::bill(&about(directory)?, &lock_files(directory)?);
            return Ok((json, gaps.iter().map(ToString::to_string).collect()));
        }
        let opened = package::open(&self.of)?;
        if let Some(published) = &opened.published {
            let store = Store::open(&Home::find()?.packages())?;
            let attached = attached::find(&store, published)?;
            if let Some(bill) = attached.iter().find(|one| one.kind == CompanionKind::Sbom) {
                return Ok((store.get_bytes(&bill.digest)?, Vec::new()));
            }
        }
        match beside(&opened.path).filter(|_| opened.published.is_none()) {
            Some(path) => {
                let json = fs::read(&path).map_err(|refused| {
                    Problem::new(Exit::Environment, format!("{} can't be read", path.display()))
                        .with_why(refused.to_string())
                })?;
                Ok((json, Vec::new()))
            }
            None => {
                Err(Problem::new(Exit::Configuration, format!("{} has no bill of materials", opened.called))
                    .with_why("none lies beside it, and none can be made from the files of a package")
                    .with_remedy("make one where its source is: `staith sbom DIRECTORY`"))
            }
        }
    }
}

/// The bill beside a package file, where there is one.
fn beside(package: &Path) -> Option<PathBuf> {
    Some(package.with_extension("cdx.json")).filter(|path| path.is_file())
}

/// A project is called as its pipeline says, or else as its directory.
pub(super) fn about(directory: &Path) -> Result<Subject, Problem> {
    let pipeline = fs::read_to_string(directory.join(crate::workshop::PIPELINE_FILE)).ok();
    let said = pipeline.and_then(|text| super::place::name_in(&text)).map(|name| name.to_string());
    let called = || {
        let whole = directory.canonicalize().ok()?;
        whole.file_name().map(|name| name.to_string_lossy().into_owned())
    };
    let name = said.or_else(called).unwrap_or_else(|| "directory".to_owned());
    Ok(Subject { name, version: None, digest: None })
}

/// The lock files of a directory, in the order of their paths. Links are not followed.
pub(super) fn lock_files(root: &Path) -> Result<Vec<LockFile>, Problem> {
    let (mut found, mut open) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(directory) = open.pop() {
        let unreadable = |refused: std::io::Error| {
            Problem::new(Exit::Environment, format!("{} can't be listed", directory.display()))
                .with_why(refused.to_string())
        };
        for entry in fs::read_dir(&directory).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let (place, kind) = (entry.path(), entry.file_type().map_err(unreadable)?);
            let inside = place.strip_prefix(root).ok().and_then(Path::to_str);
            let Some(path) = inside.and_then(|path| RelPath::try_from(path).ok()) else { continue };
            if kind.is_dir() && sbom::may_hold_lock_files(&path) {
                open.push(place);
            } else if kind.is_file() && sbom::is_lock_file(&path) {
                found.extend(lock_file(root, &path)?);
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}
