//! A working directory as it is, as a tree. What a file held is remembered with how it looked, so that an unchanged
//! directory costs one look at each file. The user's repository is only read.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use git2::ObjectType;
use rustix::fs::OFlags;
use staith_model::RelPath;

use crate::upkeep::whole_blocks;

use super::{
    Progress,
    attributes::{self, AttributeFile, Attributes},
    error::{SourceError, at, git},
    lfs::{LARGEST_OBJECT, LONGEST_POINTER, Pointer, PointerRead},
    listing::{FileEntry, FileMode, Listing, ObjectId, case_clashes, parents, tree_id},
    origin::WorkTree,
    pool::{Item, Pool},
    record::{Link, Record, Recorded, Stamp},
    reference,
    tree::{open, own_attributes, too_many_rules},
    walk::{Nested, Seen, Walked, walk},
};
use crate::cores::{self, MANY};

/// No source file is larger; such a file is held in memory while it is hashed.
pub(super) const LARGEST_FILE: u64 = 1 << 30;

/// What is remembered of a directory is this long if it has some hundreds of files.
const LONG_NOTES: u64 = 100 * MANY as u64;
/// Files, and their bytes together, that are read before other threads could have been started to help.
const FEW_FILES: usize = 32;
const FEW_BYTES: u64 = 4 << 20;

/// Takes the snapshot. Contents that are new go into the pool, and so does what is remembered of the directory: the two
/// belong together, because what is remembered is not read again.
pub(super) fn snapshot(
    root: &Path,
    tree: Option<&WorkTree>,
    store: &Path,
    pool: &Pool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Record, SourceError> {
    let looked_at = now_ns();
    let cache = pool.notes_on(root);
    let remember = || fs::read(&cache).ok().and_then(|bytes| Record::from_bytes(&bytes));
    // A directory that nobody has looked at yet may be of any size.
    let is_large = fs::metadata(&cache).map_or(true, |notes| notes.len() > LONG_NOTES);
    let (old, walked) = cores::both(is_large, remember, || walk(root, tree, store, is_large));
    let walked = walked?;
    let filters = Filters::of(root, tree, &walked)?;
    let remembered = pair(old.as_ref().map_or(&[], |old| &old.files), &walked.files, &filters);
    let to_read = to_read(&walked.files, &remembered);
    progress(to_read);
    let unchanged =
        |old: &Record| old.files.len() == walked.files.len() && remembered.iter().all(Option::is_some);
    // Which commits submodules are at is not seen by looking at files.
    if walked.nested.is_empty()
        && let Some(mut old) = old.filter(unchanged)
    {
        old.notices.extend(walked.notices);
        return Ok(old);
    }
    let is_much = is_large || to_read.files_to_read > FEW_FILES || to_read.bytes_to_read > FEW_BYTES;
    let reading = Reading { root, pool, looked_at, filters: &filters };
    let read = |(seen, remembered): &(&Seen, &Option<FileEntry>)| match remembered {
        Some(entry) => {
            let file = Recorded { path: seen.path.clone(), entry: *entry, stamp: seen.stamp };
            Ok(Some(ReadFile { file, pointer: None }))
        }
        None => reading.read_file(seen),
    };
    let pairs: Vec<_> = walked.files.iter().zip(&remembered).collect();
    let files: Result<Vec<Option<ReadFile>>, SourceError> = cores::each(&pairs, is_much, read);
    let (files, pointers): (Vec<Recorded>, Vec<Option<(ObjectId, Pointer)>>) =
        files?.into_iter().flatten().map(|read| (read.file, read.pointer)).unzip();
    let pointers: Vec<_> = pointers.into_iter().flatten().collect();
    let listing: Listing = files.iter().map(|file| (file.path.clone(), file.entry)).collect();
    let tree = tree_with(&listing, &walked.nested)?;
    let mut notices = case_clashes(&listing);
    if let count @ 1.. = pointers.len() {
        let files =
            if count == 1 { "1 file is a pointer".to_owned() } else { format!("{count} files are pointers") };
        notices.push(format!("{files} of git-lfs in the working directory; the contents are taken from where git-lfs keeps them"));
    }
    let mut record = Record { tree, files, links: Vec::new(), notices, pointers };
    pool.note(&cache, &record.to_bytes()).map_err(at("writing", &cache))?;
    // Those of the walk come anew with every walk.
    record.notices.extend(walked.notices);
    Ok(record)
}

/// The id of the tree in which each submodule that is as one of its commits is that commit, as git would write it. One with
/// changes of its own is as no commit; there its files count.
fn tree_with(files: &Listing, nested: &[Nested]) -> Result<ObjectId, SourceError> {
    let mut inner_first: Vec<&Nested> = nested.iter().collect();
    inner_first.sort_unstable_by_key(|nested| std::cmp::Reverse(nested.path.as_str().len()));
    let mut clean: Vec<Link> = Vec::new();
    for nested in inner_first {
        let repository = open(&nested.git_dir)?;
        let Some(head) = reference::head(&repository, &nested.git_dir)? else { continue };
        let (files, links) = (within(files, &nested.path)?, links_within(&clean, &nested.path)?);
        let id = tree_of(&files, &links).map_err(git("hashing", &nested.git_dir))?;
        if ObjectId::from(head.tree_id()) == id {
            clean.push(Link { path: nested.path.clone(), commit: head.id().into() });
        }
    }
    tree_of(files, &clean).map_err(git("hashing", Path::new(".")))
}

/// As [`tree_id`], with files and submodules below a submodule left out.
fn tree_of(files: &Listing, links: &[Link]) -> Result<ObjectId, git2::Error> {
    if links.is_empty() {
        return tree_id(files, links);
    }
    let inside = |path: &str| parents(path).any(|above| links.iter().any(|link| link.path.as_str() == above));
    let files: Listing = files.iter().filter(|(path, _)| !inside(path.as_str())).cloned().collect();
    let links: Vec<Link> = links.iter().filter(|link| !inside(link.path.as_str())).cloned().collect();
    tree_id(&files, &links)
}

fn within(files: &Listing, folder: &RelPath) -> Result<Listing, SourceError> {
    files.iter().filter_map(|(path, entry)| Some(below(path, folder)?.map(|path| (path, *entry)))).collect()
}

fn links_within(links: &[Link], folder: &RelPath) -> Result<Vec<Link>, SourceError> {
    let relative =
        |link: &Link| Some(below(&link.path, folder)?.map(|path| Link { path, commit: link.commit }));
    links.iter().filter_map(relative).collect()
}

/// The path relative to `folder`, if it is below it.
fn below(path: &RelPath, folder: &RelPath) -> Option<Result<RelPath, SourceError>> {
    let rest = path.as_str().strip_prefix(folder.as_str())?.strip_prefix('/')?;
    let hostile = |_| SourceError::Hostile { path: path.to_string(), why: "it is not a path" };
    Some(RelPath::try_from(rest).map_err(hostile))
}

fn to_read(files: &[Seen], remembered: &[Option<FileEntry>]) -> Progress {
    let unread = files.iter().zip(remembered).filter(|(_, remembered)| remembered.is_none());
    unread.fold(Progress { files: files.len(), ..Progress::default() }, |sum, (seen, _)| Progress {
        files_to_read: sum.files_to_read + 1,
        bytes_to_read: sum.bytes_to_read.saturating_add(seen.size),
        ..sum
    })
}

/// For each file that is there, what is remembered of it, if it still looks the same. Both are sorted by path.
fn pair(old: &[Recorded], new: &[Seen], filters: &Filters) -> Vec<Option<FileEntry>> {
    let mut old = old.iter().peekable();
    let same = |old: &Recorded, seen: &Seen| {
        let looks = old.stamp == seen.stamp && old.stamp != Stamp::default();
        // Attributes may say something else by now.
        let looks = looks && old.entry.lfs == filters.hand_over(seen);
        (looks && old.entry.mode == seen.mode && old.entry.size == seen.size).then_some(old.entry)
    };
    let find = |seen: &Seen| {
        while old.next_if(|file| file.path < seen.path).is_some() {}
        old.next_if(|file| file.path == seen.path).and_then(|file| same(file, seen))
    };
    new.iter().map(find).collect()
}

/// Which files of a working directory are handed to git-lfs: what the repositories say, each about its own files.
struct Filters {
    /// Where a repository begins, below the project; what the paths of its attributes begin with; and what they say. Inner ones
    /// first.
    repositories: Vec<(String, String, Attributes)>,
}

impl Filters {
    fn of(root: &Path, tree: Option<&WorkTree>, walked: &Walked) -> Result<Self, SourceError> {
        let mut repositories = Vec::new();
        let mut nested: Vec<&Nested> = walked.nested.iter().collect();
        nested.sort_unstable_by_key(|nested| std::cmp::Reverse(nested.path.as_str().len()));
        let mut files: Vec<&str> = walked.files.iter().filter_map(attribute_folder).collect();
        for nested in nested {
            let start = format!("{}/", nested.path);
            let inner = |folder: &&str| format!("{folder}/").starts_with(&start);
            let own: Vec<&str> = files.iter().copied().filter(inner).collect();
            files.retain(|folder| !inner(folder));
            let texts = own.iter().filter_map(|folder| {
                let below = folder.strip_prefix(start.as_str()).unwrap_or_default();
                attribute_file(&root.join(folder), below)
            });
            let said = said_by(texts.collect(), Some(&nested.git_dir))?;
            repositories.push((start, String::new(), said));
        }
        let prefix =
            tree.and_then(|tree| tree.folder.as_ref()).map(|folder| format!("{}/", RelPath::as_str(folder)));
        let prefix = prefix.unwrap_or_default();
        let below = |folder: &str| format!("{prefix}{folder}").trim_end_matches('/').to_owned();
        let mut texts: Vec<AttributeFile> =
            files.iter().filter_map(|folder| attribute_file(&root.join(folder), &below(folder))).collect();
        if let Some(tree) = tree {
            for above in root.ancestors().skip(1).take_while(|above| above.starts_with(&tree.top)) {
                let folder = above.strip_prefix(&tree.top).ok().and_then(Path::to_str).unwrap_or_default();
                texts.extend(attribute_file(above, folder));
            }
        }
        let said = said_by(texts, tree.map(|tree| tree.git_dir.as_path()))?;
        repositories.push((String::new(), prefix, said));
        repositories.retain(|(start, _, said)| said.hand_over_some() || !start.is_empty());
        Ok(Self { repositories })
    }

    fn hand_over(&self, seen: &Seen) -> bool {
        let path = seen.path.as_str();
        let around = self.repositories.iter().find(|(start, ..)| path.starts_with(start.as_str()));
        seen.mode != FileMode::Symlink
            && seen.size > 0
            && around.is_some_and(|(start, prefix, said)| {
                said.hand_over_some() && said.hand_over(&format!("{prefix}{}", &path[start.len()..]))
            })
    }
}

fn said_by(texts: Vec<AttributeFile>, git_dir: Option<&Path>) -> Result<Attributes, SourceError> {
    let own = git_dir.and_then(own_attributes);
    Attributes::new(&texts, own.as_deref()).map_err(|_| too_many_rules())
}

/// The folder of a file with attributes.
fn attribute_folder(seen: &Seen) -> Option<&str> {
    let (folder, name) = seen.path.as_str().rsplit_once('/').unwrap_or(("", seen.path.as_str()));
    (name == ".gitattributes" && seen.mode != FileMode::Symlink).then_some(folder)
}

fn attribute_file(dir: &Path, folder: &str) -> Option<AttributeFile> {
    let file = dir.join(".gitattributes");
    let is_usable =
        fs::symlink_metadata(&file).is_ok_and(|found| found.is_file() && found.len() <= attributes::LARGEST);
    let text = is_usable.then(|| fs::read(file).ok()).flatten()?;
    attributes::may_matter(&text).then(|| (folder.to_owned(), text))
}

/// A file that was read, and what it stands for where it is a pointer of git-lfs.
struct ReadFile {
    file: Recorded,
    pointer: Option<(ObjectId, Pointer)>,
}

/// What is needed to read files.
struct Reading<'a> {
    root: &'a Path,
    pool: &'a Pool,
    looked_at: i64,
    filters: &'a Filters,
}

impl Reading<'_> {
    /// Hashes a file and keeps its content. `None` when it vanished since the directory was listed.
    fn read_file(&self, seen: &Seen) -> Result<Option<ReadFile>, SourceError> {
        let path = self.root.join(seen.path.as_str());
        let is_large = self.filters.hand_over(seen);
        let limit = if is_large { LARGEST_OBJECT } else { LARGEST_FILE };
        let read = if is_large { self.large(&path, seen) } else { self.plain(&path, seen) };
        let (seen, entry, pointer) = match read {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
                let (path, bytes) = (seen.path.to_string(), seen.size);
                return Err(SourceError::TooLarge { path, bytes, limit });
            }
            // It became a directory or a link: somebody is moving files about right now.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::EISDIR)) => {
                return Err(SourceError::Changed(seen.path.to_string()));
            }
            read => read.map_err(at("reading", &path))?,
        };
        // What was written while it was read, or may be written without leaving a trace, is read again next time.
        let is_settled = !seen.stamp.is_racy(self.looked_at) && entry.size == seen.size;
        let stamp = if is_settled { seen.stamp } else { Stamp::default() };
        Ok(Some(ReadFile { file: Recorded { path: seen.path, entry, stamp }, pointer }))
    }

    fn plain(&self, path: &Path, seen: &Seen) -> std::io::Result<Read> {
        let (seen, bytes) = content(path, seen)?;
        let blob = ObjectId::of(ObjectType::Blob, &bytes).map_err(std::io::Error::other)?;
        let entry = FileEntry { blob, mode: seen.mode, size: bytes.len() as u64, lfs: false };
        let item = Item::first(&entry);
        if !self.pool.has(item) {
            self.pool.insert(item, &bytes)?;
        }
        Ok((seen, entry, None))
    }

    /// A file that git-lfs keeps. Git's trees have its pointer, so that is what the snapshot's tree has, too.
    fn large(&self, path: &Path, seen: &Seen) -> std::io::Result<Read> {
        if seen.size < LONGEST_POINTER {
            let (seen, bytes) = content(path, seen)?;
            // Git-lfs has not put the content in its place yet.
            if let PointerRead::Pointer(pointer) = Pointer::read(&bytes) {
                let blob = pointer.id().map_err(std::io::Error::other)?;
                let entry = FileEntry { blob, mode: seen.mode, size: pointer.size, lfs: true };
                return Ok((seen, entry, Some((blob, pointer))));
            }
        }
        let (seen, mut file) = opened(path, seen)?;
        if seen.size > LARGEST_OBJECT {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.pool.allow(whole_blocks(seen.size))?;
        let mut entry = None;
        let name = |oid, size| {
            let blob = Pointer { oid, size }.id().ok()?;
            let found = *entry.insert(FileEntry { blob, mode: seen.mode, size, lfs: true });
            let item = Item::first(&found);
            Some((item, self.pool.place_of(item)))
        };
        self.pool.take_in(&mut file, LARGEST_OBJECT, name)?;
        let entry = entry.ok_or_else(|| std::io::Error::other("it can't be hashed"))?;
        Ok((seen, entry, None))
    }
}

type Read = (Seen, FileEntry, Option<(ObjectId, Pointer)>);

/// A file's content, and how it looked just before it was read.
fn content(path: &Path, seen: &Seen) -> std::io::Result<(Seen, Vec<u8>)> {
    if seen.mode == FileMode::Symlink {
        let target = fs::read_link(path)?;
        return Ok((seen.clone(), target.as_os_str().as_bytes().to_vec()));
    }
    let (seen, file) = opened(path, seen)?;
    if seen.size > LARGEST_FILE {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(seen.size).unwrap_or_default().saturating_add(1));
    file.take(LARGEST_FILE).read_to_end(&mut bytes)?;
    Ok((seen, bytes))
}

fn opened(path: &Path, seen: &Seen) -> std::io::Result<(Seen, File)> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(std::io::Error::from_raw_os_error(libc::EISDIR));
    }
    Ok((Seen::new(seen.path.clone(), &found), file))
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Reads one file of a working directory again, if it still has the content that a snapshot saw.
pub(super) fn read_again(root: &Path, path: &RelPath, entry: &FileEntry) -> Option<Vec<u8>> {
    let whole: PathBuf = root.join(path.as_str());
    let seen = Seen::new(path.clone(), &fs::symlink_metadata(&whole).ok()?);
    let (_, bytes) = content(&whole, &seen).ok()?;
    (ObjectId::of(ObjectType::Blob, &bytes).ok()? == entry.blob).then_some(bytes)
}
