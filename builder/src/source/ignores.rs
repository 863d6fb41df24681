//! Which files of a working directory git would not add.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use git2::Index;
use ignore::{Match, gitignore::GitignoreBuilder};
use staith_model::RelPath;

use super::{
    error::{SourceError, at, git},
    origin::WorkTree,
};

/// The rules that hold in one folder: its own .gitignore, then those of the folders above, then `info/exclude`, then
/// the user's own file. The first that says something decides.
#[derive(Debug, Clone)]
pub(super) struct Rules(Option<Arc<Level>>);

#[derive(Debug)]
struct Level {
    rules: ignore::gitignore::Gitignore,
    above: Rules,
}

impl Rules {
    /// The rules above a project's folder, and whether they ignore the folder itself.
    pub(super) fn around(tree: Option<&WorkTree>, root: &Path) -> Result<(Self, bool), SourceError> {
        let mut rules = Self(None);
        let Some(tree) = tree else { return Ok((rules, false)) };
        let excludes = [user_excludes(&tree.git_dir), Some(common_dir(&tree.git_dir).join("info/exclude"))];
        for file in excludes.into_iter().flatten() {
            rules = rules.with_file(&tree.top, &file)?;
        }
        let mut ignored = false;
        let mut folders: Vec<_> = root.ancestors().take_while(|folder| *folder != tree.top).collect();
        folders.reverse();
        let mut above = tree.top.as_path();
        for folder in folders {
            rules = rules.with_file(above, &above.join(".gitignore"))?;
            ignored |= rules.ignore(folder, true);
            above = folder;
        }
        Ok((rules, ignored))
    }

    /// The rules in `folder`, which has a file .gitignore.
    pub(super) fn in_folder(&self, folder: &Path) -> Result<Self, SourceError> {
        self.with_file(folder, &folder.join(".gitignore"))
    }

    fn with_file(&self, folder: &Path, file: &Path) -> Result<Self, SourceError> {
        // As git does: a link is not followed, because it may lead anywhere.
        let is_file = fs::symlink_metadata(file).is_ok_and(|found| found.is_file());
        if !is_file {
            return Ok(self.clone());
        }
        let text = fs::read(file).map_err(at("reading", file))?;
        let mut builder = GitignoreBuilder::new(folder);
        for line in String::from_utf8_lossy(&text).trim_start_matches('\u{feff}').lines() {
            if let Err(error) = builder.add_line(None, line) {
                tracing::debug!(file = %file.display(), %error, "a line that git would not understand either");
            }
        }
        match builder.build() {
            Ok(rules) => Ok(Self(Some(Arc::new(Level { rules, above: self.clone() })))),
            Err(error) => {
                let why = std::io::Error::other(error.to_string());
                Err(SourceError::Io { doing: "understanding", path: file.to_owned(), source: why })
            }
        }
    }

    /// Whether git would not add this, which is in the folder of these rules or below.
    pub(super) fn ignore(&self, path: &Path, is_directory: bool) -> bool {
        let mut rules = self;
        while let Some(level) = &rules.0 {
            match level.rules.matched(path, is_directory) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => rules = &level.above,
            }
        }
        false
    }
}

/// For a linked working directory, the repository that it shares with others.
pub(super) fn common_dir(git_dir: &Path) -> PathBuf {
    match fs::read_to_string(git_dir.join("commondir")) {
        Ok(shared) => git_dir.join(shared.trim_end()),
        Err(_) => git_dir.to_owned(),
    }
}

fn user_excludes(git_dir: &Path) -> Option<PathBuf> {
    let repository = git2::Repository::open_bare(git_dir).ok()?;
    let configured = repository.config().ok().and_then(|config| config.get_path("core.excludesfile").ok());
    configured.or_else(|| {
        let home = |name, below: &str| std::env::var_os(name).map(|home| PathBuf::from(home).join(below));
        home("XDG_CONFIG_HOME", "git/ignore").or_else(|| home("HOME", ".config/git/ignore"))
    })
}

/// The files that git tracks in a project, which count even where rules ignore them. Read only when first needed.
#[derive(Debug)]
pub(super) struct Tracked<'a> {
    tree: Option<&'a WorkTree>,
    listed: OnceLock<Listed>,
}

const GITLINK: u32 = 0o160_000;

impl<'a> Tracked<'a> {
    pub(super) const fn new(tree: Option<&'a WorkTree>) -> Self {
        Self { tree, listed: OnceLock::new() }
    }

    pub(super) fn has(&self, path: &str) -> Result<bool, SourceError> {
        Ok(self.paths()?.binary_search_by(|tracked| tracked.as_str().cmp(path)).is_ok())
    }

    pub(super) fn has_below(&self, folder: &str) -> Result<bool, SourceError> {
        let prefix = format!("{folder}/");
        let paths = self.paths()?;
        let first = paths.partition_point(|tracked| *tracked < prefix);
        Ok(paths.get(first).is_some_and(|tracked| tracked.starts_with(&prefix)))
    }

    /// Whether git has a submodule there.
    pub(super) fn is_submodule(&self, path: &str) -> Result<bool, SourceError> {
        Ok(self.index()?.submodules.iter().any(|submodule| submodule == path))
    }

    /// The submodules that must be there. The working directory may show them as empty folders.
    pub(super) fn submodules(&self) -> Result<&[String], SourceError> {
        let has_some = self.tree.is_some_and(|tree| tree.top.join(".gitmodules").exists());
        if has_some { Ok(&self.index()?.submodules) } else { Ok(&[]) }
    }

    fn paths(&self) -> Result<&[String], SourceError> {
        Ok(&self.index()?.paths)
    }

    fn index(&self) -> Result<&Listed, SourceError> {
        if let Some(listed) = self.listed.get() {
            return Ok(listed);
        }
        let read = self.tree.map(read_index).transpose()?.unwrap_or_default();
        Ok(self.listed.get_or_init(|| read))
    }
}

/// What the index lists below the project's folder, sorted.
#[derive(Debug, Default)]
struct Listed {
    paths: Vec<String>,
    submodules: Vec<String>,
}

/// Reads the index without refreshing or writing it.
fn read_index(tree: &WorkTree) -> Result<Listed, SourceError> {
    let file = tree.git_dir.join("index");
    if !file.exists() {
        return Ok(Listed::default());
    }
    let index = Index::open(&file).map_err(git("reading the index", &tree.git_dir))?;
    let prefix = tree.folder.as_ref().map(|folder| format!("{}/", RelPath::as_str(folder)));
    let (mut paths, mut submodules) = (Vec::new(), Vec::new());
    for entry in index.iter() {
        // A name that is not UTF-8 is refused where it is found on the disk.
        let Ok(path) = std::str::from_utf8(&entry.path) else { continue };
        let below = prefix.as_ref().map_or(Some(path), |prefix| path.strip_prefix(prefix.as_str()));
        let Some(below) = below else { continue };
        let list = if entry.mode == GITLINK { &mut submodules } else { &mut paths };
        list.push(below.to_owned());
    }
    for list in [&mut paths, &mut submodules] {
        list.sort_unstable();
        list.dedup();
    }
    Ok(Listed { paths, submodules })
}
