//! A commit's tree as a listing. Repositories are hostile: nothing is taken over unchecked.

use std::{fs, path::Path};

use git2::{Index, ObjectType, Odb, Oid, Repository, Tree};
use staith_model::RelPath;

use super::{
    attributes::{self, AttributeFile, Attributes},
    error::{SourceError, git},
    ignores::common_dir,
    lfs::{LARGEST_OBJECT, LONGEST_POINTER, Pointer, PointerRead},
    listing::{
        DEEPEST, FileEntry, FileMode, LONGEST_PATH, Listing, MOST_FILES, ObjectId, case_clashes, checked,
        tree_id,
    },
    record::{Link, Record, Recorded, Stamp},
    reference::Found,
    snapshot::LARGEST_FILE,
};

/// The bits of a mode that say what kind of thing it is.
const TYPE: u32 = 0o170_000;

/// Reads the tree that a commit has for a folder.
pub(super) fn read_tree(
    git_dir: &Path,
    found: &Found,
    folder: Option<&RelPath>,
) -> Result<Record, SourceError> {
    let repository = open(git_dir)?;
    let mut reader = Reader::new(&repository, git_dir, folder)?;
    reader.attributes.clone_from(&found.attributes_above);
    reader.folder(found.tree, "", 0)?;
    reader.finish(Some(ObjectId::from(found.tree)))
}

/// What the owner of a repository on this machine says about its files, beside what is in it.
pub(super) fn own_attributes(git_dir: &Path) -> Option<Vec<u8>> {
    let file = common_dir(git_dir).join("info/attributes");
    let is_usable =
        fs::symlink_metadata(&file).is_ok_and(|found| found.is_file() && found.len() <= attributes::LARGEST);
    is_usable.then(|| fs::read(file).ok()).flatten().filter(|text| attributes::may_matter(text))
}

/// Reads what a merge made; `None` where it has nothing in `folder`. No tree of it is ever written.
pub(super) fn read_index(
    repository: &Repository,
    git_dir: &Path,
    index: &Index,
    folder: Option<&RelPath>,
) -> Result<Option<Record>, SourceError> {
    let mut reader = Reader::new(repository, git_dir, folder)?;
    let prefix = reader.prefix.clone();
    for entry in index.iter() {
        let path = entry
            .path
            .split(|byte| *byte == b'/')
            .try_fold(String::new(), |above, name| joined(&above, name))?;
        if let Some(below) = path.strip_prefix(&prefix) {
            reader.entry(below, entry.id, entry.mode)?;
        } else if path.rsplit_once('/').is_none_or(|(above, _)| prefix.starts_with(&format!("{above}/"))) {
            reader.attributes(&path, entry.id, entry.mode)?;
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
    /// Where the project is in the repository, with a slash at the end; empty at the top.
    prefix: String,
    attributes: Vec<AttributeFile>,
    pointers: Vec<(ObjectId, Pointer)>,
    notices: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(
        repository: &'a Repository,
        git_dir: &'a Path,
        folder: Option<&RelPath>,
    ) -> Result<Self, SourceError> {
        let odb = repository.odb().map_err(git("opening the objects", git_dir))?;
        let prefix = folder.map(|folder| format!("{}/", RelPath::as_str(folder))).unwrap_or_default();
        let (files, links, attributes) = (Vec::new(), Vec::new(), Vec::new());
        let (pointers, notices) = (Vec::new(), Vec::new());
        Ok(Self { git_dir, repository, odb, files, links, prefix, attributes, pointers, notices })
    }

    /// What was read, checked; `tree` is its id where that is known already.
    fn finish(mut self, tree: Option<ObjectId>) -> Result<Record, SourceError> {
        let mut files = checked(std::mem::take(&mut self.files))?;
        let mut links = std::mem::take(&mut self.links);
        links.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        let tree = match tree {
            Some(tree) => tree,
            None => tree_id(&files, &links).map_err(git("hashing", self.git_dir))?,
        };
        // Git's trees know pointers only, so this comes after them.
        self.find_pointers(&mut files)?;
        let mut notices = case_clashes(&files);
        notices.append(&mut self.notices);
        let recorded = |(path, entry)| Recorded { path, entry, stamp: Stamp::default() };
        let files = files.into_iter().map(recorded).collect();
        Ok(Record { tree, files, links, notices, pointers: self.pointers })
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
        if mode != FileMode::Symlink && size <= attributes::LARGEST {
            self.attributes(&format!("{}{path}", self.prefix), id, 0o100_000)?;
        }
        let hostile = |_| SourceError::Hostile { path: path.to_owned(), why: "it is not a path" };
        let entry = FileEntry { blob: id.into(), mode, size, lfs: false };
        self.files.push((RelPath::try_from(path).map_err(hostile)?, entry));
        Ok(())
    }

    /// Keeps what may hand files to git-lfs. The path is one from the top of the repository.
    fn attributes(&mut self, path: &str, id: Oid, mode: u32) -> Result<(), SourceError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        // As git has it: a link is not followed.
        if name == ".gitattributes" && mode & TYPE == 0o100_000 {
            let text = self.content(id)?;
            if attributes::may_matter(&text) {
                self.attributes.push((folder.to_owned(), text));
            }
        }
        Ok(())
    }

    /// Finds the files whose contents git-lfs keeps. Attributes decide, as with git-lfs: what only looks like a pointer stays
    /// as it is, and so does what is to be kept by git-lfs and is no pointer.
    fn find_pointers(&mut self, files: &mut Listing) -> Result<(), SourceError> {
        let own = own_attributes(self.git_dir);
        let attributes = Attributes::new(&self.attributes, own.as_deref()).map_err(|_| too_many_rules())?;
        if !attributes.hand_over_some() {
            return Ok(());
        }
        let mut plain = Vec::new();
        for (path, entry) in files {
            let is_meant = entry.mode != FileMode::Symlink
                && entry.size > 0
                && attributes.hand_over(&format!("{}{path}", self.prefix));
            if !is_meant {
                continue;
            }
            let id = entry.blob.oid().map_err(git("reading a file", self.git_dir))?;
            let text = if entry.size < LONGEST_POINTER { self.content(id)? } else { Vec::new() };
            match Pointer::read(&text) {
                PointerRead::Pointer(pointer) => {
                    if pointer.size > LARGEST_OBJECT {
                        let (path, bytes) = (path.to_string(), pointer.size);
                        return Err(SourceError::TooLarge { path, bytes, limit: LARGEST_OBJECT });
                    }
                    let blob = pointer.id().map_err(git("hashing a pointer", self.git_dir))?;
                    *entry = FileEntry { blob, size: pointer.size, lfs: true, ..*entry };
                    self.pointers.push((blob, pointer));
                }
                PointerRead::Extended => return Err(SourceError::LfsExtension(path.to_string())),
                PointerRead::Other => plain.push(path.to_string()),
            }
        }
        self.pointers.sort_unstable();
        self.pointers.dedup();
        self.notices.extend(not_kept(&plain));
        Ok(())
    }

    fn content(&self, id: Oid) -> Result<Vec<u8>, SourceError> {
        let object = self.odb.read(id).map_err(git("reading a file", self.git_dir))?;
        Ok(object.data().to_vec())
    }
}

/// What is said of files that attributes hand to git-lfs, and that are no pointers.
fn not_kept(paths: &[String]) -> Option<String> {
    let (first, more) = paths.split_first()?;
    let others = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    let first = first.escape_debug();
    Some(format!(
        "`{first}`{others}: .gitattributes says git-lfs, but the file itself is in the repository; it is used"
    ))
}

pub(super) fn too_many_rules() -> SourceError {
    SourceError::Hostile { path: ".gitattributes".to_owned(), why: "it has too many rules for filters" }
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
