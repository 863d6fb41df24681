//! A commit's tree as a listing. Repositories are hostile: nothing is taken over unchecked.

use std::path::Path;

use git2::{Index, ObjectType, Odb, Oid, Repository, Tree};
use staith_model::RelPath;

use super::{
    error::{SourceError, git},
    listing::{
        DEEPEST, FileEntry, FileMode, LONGEST_PATH, Listing, MOST_FILES, ObjectId, case_clashes, checked,
        is_lfs_pointer, tree_id,
    },
    record::{Link, Record, Recorded, Stamp},
    snapshot::LARGEST_FILE,
};

/// The bits of a mode that say what kind of thing it is.
const TYPE: u32 = 0o170_000;

/// Reads the tree `id` of a repository.
pub(super) fn read_tree(git_dir: &Path, id: Oid, lfs_above: bool) -> Result<Record, SourceError> {
    let repository = open(git_dir)?;
    let mut reader = Reader::new(&repository, git_dir, lfs_above)?;
    reader.folder(id, "", 0)?;
    reader.finish(Some(ObjectId::from(id)))
}

/// Reads what a merge made; `None` where it has nothing in `folder`. No tree of it is ever written.
pub(super) fn read_index(
    repository: &Repository,
    git_dir: &Path,
    index: &Index,
    folder: Option<&RelPath>,
) -> Result<Option<Record>, SourceError> {
    let mut reader = Reader::new(repository, git_dir, false)?;
    let prefix = folder.map(|folder| format!("{}/", RelPath::as_str(folder))).unwrap_or_default();
    for entry in index.iter() {
        let path = entry
            .path
            .split(|byte| *byte == b'/')
            .try_fold(String::new(), |above, name| joined(&above, name))?;
        if let Some(below) = path.strip_prefix(&prefix) {
            reader.entry(below, entry.id, entry.mode)?;
        } else if path.rsplit_once('/').is_none_or(|(above, _)| prefix.starts_with(&format!("{above}/"))) {
            reader.attributes(&path, entry.id)?;
        }
    }
    let nothing = folder.is_some() && reader.files.is_empty() && reader.links.is_empty();
    if nothing { Ok(None) } else { reader.finish(None).map(Some) }
}

/// Opens a repository by its own directory, for reading objects and references only.
///
/// Opened so, git's library looks at neither a working directory nor the owner of the files: someone else's repository
/// can be built. That is safe because nothing in it is run: no hook, no filter, no credential program.
pub(super) fn open(git_dir: &Path) -> Result<Repository, SourceError> {
    Repository::open_bare(git_dir).map_err(git("opening", git_dir))
}

struct Reader<'a> {
    git_dir: &'a Path,
    repository: &'a Repository,
    odb: Odb<'a>,
    files: Listing,
    links: Vec<Link>,
    uses_lfs: bool,
}

impl<'a> Reader<'a> {
    fn new(repository: &'a Repository, git_dir: &'a Path, uses_lfs: bool) -> Result<Self, SourceError> {
        let odb = repository.odb().map_err(git("opening the objects", git_dir))?;
        Ok(Self { git_dir, repository, odb, files: Vec::new(), links: Vec::new(), uses_lfs })
    }

    /// What was read, checked; `tree` is its id where that is known already.
    fn finish(mut self, tree: Option<ObjectId>) -> Result<Record, SourceError> {
        let files = checked(std::mem::take(&mut self.files))?;
        let mut links = std::mem::take(&mut self.links);
        links.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        if self.uses_lfs {
            self.refuse_pointers(&files)?;
        }
        let tree = match tree {
            Some(tree) => tree,
            None => tree_id(&files, &links).map_err(git("hashing", self.git_dir))?,
        };
        let notices = case_clashes(&files);
        let recorded = |(path, entry)| Recorded { path, entry, stamp: Stamp::default() };
        Ok(Record { tree, files: files.into_iter().map(recorded).collect(), links, notices })
    }

    fn folder(&mut self, id: Oid, above: &str, depth: usize) -> Result<(), SourceError> {
        if depth > DEEPEST {
            return Err(SourceError::Hostile { path: above.to_owned(), why: "it is too deep" });
        }
        let tree: Tree<'_> = self.repository.find_tree(id).map_err(git("reading a tree", self.git_dir))?;
        for entry in &tree {
            let path = joined(above, entry.name_bytes())?;
            match entry.filemode_raw().cast_unsigned() & TYPE {
                0o040_000 => self.folder(entry.id(), &path, depth + 1)?,
                _ => self.entry(&path, entry.id(), entry.filemode_raw().cast_unsigned())?,
            }
        }
        Ok(())
    }

    /// A file or a submodule.
    fn entry(&mut self, path: &str, id: Oid, mode: u32) -> Result<(), SourceError> {
        let hostile = |why| SourceError::Hostile { path: path.to_owned(), why };
        let mode = match mode & TYPE {
            0o160_000 => {
                let path = RelPath::try_from(path).map_err(|_| hostile("it is not a path"))?;
                self.links.push(Link { path, commit: id.into() });
                return Ok(());
            }
            0o120_000 => FileMode::Symlink,
            0o100_000 if mode & 0o100 != 0 => FileMode::Executable,
            0o100_000 => FileMode::Regular,
            _ => return Err(hostile("its mode is none that git gives")),
        };
        self.file(path, id, mode)
    }

    fn file(&mut self, path: &str, id: Oid, mode: FileMode) -> Result<(), SourceError> {
        if self.files.len() >= MOST_FILES {
            return Err(SourceError::TooMany { at: self.git_dir.to_owned(), limit: MOST_FILES });
        }
        let (size, kind) = self.odb.read_header(id).map_err(git("looking at a file", self.git_dir))?;
        if kind != ObjectType::Blob {
            return Err(SourceError::Hostile {
                path: path.to_owned(),
                why: "it is no file in the repository",
            });
        }
        let size = size as u64;
        if size > LARGEST_FILE {
            return Err(SourceError::TooLarge { path: path.to_owned(), bytes: size, limit: LARGEST_FILE });
        }
        if size < 1 << 20 {
            self.attributes(path, id)?;
        }
        let hostile = |_| SourceError::Hostile { path: path.to_owned(), why: "it is not a path" };
        let entry = FileEntry { blob: id.into(), mode, size };
        self.files.push((RelPath::try_from(path).map_err(hostile)?, entry));
        Ok(())
    }

    /// Hears whether files are handed to git-lfs.
    fn attributes(&mut self, path: &str, id: Oid) -> Result<(), SourceError> {
        if !self.uses_lfs && path.rsplit('/').next() == Some(".gitattributes") {
            self.uses_lfs = mentions_lfs(&self.content(id)?);
        }
        Ok(())
    }

    fn refuse_pointers(&self, files: &Listing) -> Result<(), SourceError> {
        let mut pointers = Vec::new();
        for (path, entry) in files {
            let may_be = entry.mode != FileMode::Symlink && (100..=1024).contains(&entry.size);
            let id = entry.blob.oid().map_err(git("reading a file", self.git_dir))?;
            if may_be && is_lfs_pointer(&self.content(id)?) {
                pointers.push(path.to_string());
            }
        }
        if pointers.is_empty() { Ok(()) } else { Err(SourceError::LfsPointer(pointers)) }
    }

    fn content(&self, id: Oid) -> Result<Vec<u8>, SourceError> {
        let object = self.odb.read(id).map_err(git("reading a file", self.git_dir))?;
        Ok(object.data().to_vec())
    }
}

/// Whether a .gitattributes file hands some files to git-lfs.
pub(super) fn mentions_lfs(attributes: &[u8]) -> bool {
    String::from_utf8_lossy(attributes).contains("filter=lfs")
}

fn joined(above: &str, name: &[u8]) -> Result<String, SourceError> {
    let hostile = |why| Err(SourceError::Hostile { path: format!("{above}/{}", name.escape_ascii()), why });
    let Ok(text) = std::str::from_utf8(name) else {
        return Err(SourceError::NotUtf8(format!("{above}/{}", name.escape_ascii())));
    };
    if text.is_empty() || text.contains(['/', '\0']) || matches!(text, "." | "..") {
        return hostile("this is not a name");
    }
    if text.eq_ignore_ascii_case(".git") {
        return hostile("a repository must not hold another one's state");
    }
    let path = if above.is_empty() { text.to_owned() } else { format!("{above}/{text}") };
    if path.len() > LONGEST_PATH { hostile("its path is too long") } else { Ok(path) }
}
