//! What is in a working directory: every file that git would add or tracks, as it is on the screen.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirEntry, Metadata},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use staith_model::RelPath;

use super::{
    error::{SourceError, at},
    ignores::{Rules, Tracked},
    listing::{DEEPEST, FileMode, LONGEST_PATH, MOST_FILES},
    origin::{WorkTree, git_dir_of},
    record::Stamp,
    submodules,
};
use crate::cores;

/// A file that is there, before anybody has read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) path: RelPath,
    pub(super) mode: FileMode,
    pub(super) size: u64,
    pub(super) stamp: Stamp,
}

impl Seen {
    pub(super) fn new(path: RelPath, found: &Metadata) -> Self {
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        let mode = match found.mode() {
            _ if found.is_symlink() => FileMode::Symlink,
            mode if mode & 0o100 != 0 => FileMode::Executable,
            _ => FileMode::Regular,
        };
        let stamp = Stamp {
            modified_ns: nanoseconds(found.mtime(), found.mtime_nsec()),
            changed_ns: nanoseconds(found.ctime(), found.ctime_nsec()),
            inode: found.ino(),
        };
        Self { path, mode, size: found.len(), stamp }
    }
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// In order of path.
    pub(super) files: Vec<Seen>,
    /// What people should know.
    pub(super) notices: Vec<String>,
    /// Submodules, whose files are among `files`.
    pub(super) nested: Vec<Nested>,
}

/// A submodule as it is on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nested {
    pub(super) path: RelPath,
    pub(super) git_dir: PathBuf,
}

/// Walks a project's directory, on all cores if it `is_large`. Nothing is read but directories and ignore rules; nothing is
/// written.
pub(super) fn walk(
    root: &Path,
    tree: Option<&WorkTree>,
    store: &Path,
    is_large: bool,
) -> Result<Walked, SourceError> {
    walk_within(root, tree, store, is_large, 0)
}

/// `level` counts the repositories around.
fn walk_within(
    root: &Path,
    tree: Option<&WorkTree>,
    store: &Path,
    is_large: bool,
    level: usize,
) -> Result<Walked, SourceError> {
    let tracked = Tracked::new(tree);
    let (rules, ignored) = Rules::around(tree, root)?;
    let walk = Walk { root, in_repository: tree.is_some(), tracked, store, is_large, level };
    let mut walked =
        walk.folder(&Folder { path: root.to_owned(), below: String::new(), depth: 0, ignored }, &rules)?;
    if ignored {
        let notice =
            format!("`{}` is listed in .gitignore: only files that git tracks are built", root.display());
        walked.notices.push(notice);
    }
    for path in walk.tracked.submodules()? {
        let is_there = walked.nested.iter().any(|nested| nested.path.as_str() == path);
        if !is_there {
            return Err(submodules::refused(
                path,
                "it is not checked out",
                "Run `git submodule update --init --recursive`.",
            ));
        }
    }
    walked.files.sort_unstable_by(|left, right| left.path.cmp(&right.path));
    Ok(walked)
}

struct Walk<'a> {
    root: &'a Path,
    in_repository: bool,
    tracked: Tracked<'a>,
    store: &'a Path,
    is_large: bool,
    level: usize,
}

struct Folder {
    path: PathBuf,
    /// Relative to the project; empty at its top.
    below: String,
    depth: usize,
    /// Rules ignore it, so only what is tracked counts.
    ignored: bool,
}

enum Kind {
    Folder,
    File,
    Other,
}

impl Walk<'_> {
    fn folder(&self, folder: &Folder, above: &Rules) -> Result<Walked, SourceError> {
        let named = |entry: std::io::Result<DirEntry>| entry.map(|entry| (entry.file_name(), entry));
        let entries: Result<Vec<(OsString, DirEntry)>, _> =
            fs::read_dir(&folder.path).and_then(|entries| entries.map(named).collect());
        let entries = entries.map_err(at("listing", &folder.path))?;
        if self.in_repository
            && folder.depth > 0
            && entries.iter().any(|(name, entry)| name == ".git" && is_other_repository(entry))
        {
            return self.submodule(folder);
        }
        let has_rules = entries.iter().any(|(name, _)| name == ".gitignore");
        let rules = if has_rules { above.in_folder(&folder.path)? } else { above.clone() };
        let (mut walked, mut folders) = (Walked::default(), Vec::new());
        for (name, entry) in entries.iter().filter(|(name, _)| name != ".git") {
            self.entry(folder, &rules, name, entry, &mut walked, &mut folders)?;
        }
        let spread = self.is_large && folders.len() > 1;
        let inner: Result<Vec<Walked>, _> =
            cores::each(&folders, spread, |folder| self.folder(folder, &rules));
        for inner in inner? {
            walked.files.extend(inner.files);
            walked.notices.extend(inner.notices);
            walked.nested.extend(inner.nested);
        }
        if walked.files.len() > MOST_FILES {
            return Err(SourceError::TooMany { at: self.root.to_owned(), limit: MOST_FILES });
        }
        Ok(walked)
    }

    /// A submodule is on the screen like everything else, but follows the rules of its own repository.
    fn submodule(&self, folder: &Folder) -> Result<Walked, SourceError> {
        if !self.tracked.is_submodule(&folder.below)? {
            return Err(SourceError::OtherRepository(folder.below.clone()));
        }
        if self.level >= submodules::DEEPEST {
            let remedy = "Take the files that the build needs into the repository itself.";
            return Err(submodules::refused(&folder.below, "it is too deep within others", remedy));
        }
        let git_dir = git_dir_of(&folder.path)?;
        let git_dir = git_dir.ok_or_else(|| SourceError::OtherRepository(folder.below.clone()))?;
        let tree = WorkTree { top: folder.path.clone(), git_dir: git_dir.clone(), folder: None };
        let mut inner = walk_within(&folder.path, Some(&tree), self.store, self.is_large, self.level + 1)?;
        let within = |path: &RelPath| rel_path(format!("{}/{path}", folder.below));
        for seen in &mut inner.files {
            seen.path = within(&seen.path)?;
        }
        for nested in &mut inner.nested {
            nested.path = within(&nested.path)?;
        }
        inner.nested.push(Nested { path: rel_path(folder.below.clone())?, git_dir });
        Ok(inner)
    }

    fn entry(
        &self,
        folder: &Folder,
        rules: &Rules,
        name: &OsStr,
        entry: &DirEntry,
        walked: &mut Walked,
        folders: &mut Vec<Folder>,
    ) -> Result<(), SourceError> {
        let path = folder.path.join(name);
        let kind = kind_of(entry).map_err(at("looking at", &path))?;
        let ignored = folder.ignored || rules.ignore(&path, matches!(kind, Kind::Folder));
        let Some(name) = name.to_str() else {
            let escaped = path.strip_prefix(self.root).unwrap_or(&path).as_os_str().as_bytes().escape_ascii();
            return if ignored { Ok(()) } else { Err(SourceError::NotUtf8(escaped.to_string())) };
        };
        let below =
            if folder.below.is_empty() { name.to_owned() } else { format!("{}/{name}", folder.below) };
        match kind {
            Kind::Folder if ignored && !self.tracked.has_below(&below)? => {}
            Kind::File | Kind::Other if ignored && !self.tracked.has(&below)? => {}
            Kind::Other => walked.notices.push(format!("`{below}` is no regular file and is not built")),
            Kind::Folder if path == self.store => {}
            Kind::Folder => folders.push(inner(folder, path, below, ignored)?),
            Kind::File => match entry.metadata() {
                // It vanished since the folder was listed, as editors' temporary files do.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                found => {
                    let found = found.map_err(at("looking at", &path))?;
                    walked.files.push(Seen::new(rel_path(below)?, &found));
                }
            },
        }
        Ok(())
    }
}

fn inner(folder: &Folder, path: PathBuf, below: String, ignored: bool) -> Result<Folder, SourceError> {
    let depth = folder.depth + 1;
    if depth > DEEPEST || below.len() > LONGEST_PATH {
        return Err(SourceError::Hostile { path: below, why: "it is too deep" });
    }
    Ok(Folder { path, below, depth, ignored })
}

/// Whether this `.git` makes the folder around it a submodule or a clone.
fn is_other_repository(entry: &DirEntry) -> bool {
    entry.path().is_file() || entry.path().join("HEAD").exists()
}

fn kind_of(entry: &DirEntry) -> std::io::Result<Kind> {
    let kind = entry.file_type()?;
    Ok(match kind {
        _ if kind.is_dir() => Kind::Folder,
        _ if kind.is_file() || kind.is_symlink() => Kind::File,
        _ => Kind::Other,
    })
}

fn rel_path(below: String) -> Result<RelPath, SourceError> {
    if below.len() > LONGEST_PATH {
        return Err(SourceError::Hostile { path: below, why: "its path is too long" });
    }
    RelPath::try_from(below.clone())
        .map_err(|_| SourceError::Hostile { path: below, why: "it is not a path" })
}
