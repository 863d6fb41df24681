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

use super::{
    Progress,
    error::{SourceError, at, git},
    listing::{FileEntry, FileMode, Listing, ObjectId, case_clashes, is_lfs_pointer, parents, tree_id},
    origin::WorkTree,
    pool::{Item, Pool},
    record::{Link, Record, Recorded, Stamp},
    reference,
    tree::open,
    walk::{Nested, Seen, walk},
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
    let remembered = pair(old.as_ref().map_or(&[], |old| &old.files), &walked.files);
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
    let read = |(seen, remembered): &(&Seen, &Option<FileEntry>)| match remembered {
        Some(entry) => Ok(Some(Recorded { path: seen.path.clone(), entry: *entry, stamp: seen.stamp })),
        None => read_file(root, seen, pool, looked_at),
    };
    let pairs: Vec<_> = walked.files.iter().zip(&remembered).collect();
    let files: Result<Vec<Option<Recorded>>, SourceError> = cores::each(&pairs, is_much, read);
    let files: Vec<Recorded> = files?.into_iter().flatten().collect();
    let listing: Listing = files.iter().map(|file| (file.path.clone(), file.entry)).collect();
    let tree = tree_with(&listing, &walked.nested)?;
    let mut record = Record { tree, files, links: Vec::new(), notices: case_clashes(&listing) };
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
fn pair(old: &[Recorded], new: &[Seen]) -> Vec<Option<FileEntry>> {
    let mut old = old.iter().peekable();
    let same = |old: &Recorded, seen: &Seen| {
        let looks = old.stamp == seen.stamp && old.stamp != Stamp::default();
        (looks && old.entry.mode == seen.mode && old.entry.size == seen.size).then_some(old.entry)
    };
    let find = |seen: &Seen| {
        while old.next_if(|file| file.path < seen.path).is_some() {}
        old.next_if(|file| file.path == seen.path).and_then(|file| same(file, seen))
    };
    new.iter().map(find).collect()
}

/// Hashes a file and keeps its content. `None` when it vanished since the directory was listed.
fn read_file(root: &Path, seen: &Seen, pool: &Pool, looked_at: i64) -> Result<Option<Recorded>, SourceError> {
    let path = root.join(seen.path.as_str());
    let (seen, bytes) = match content(&path, seen) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            let (path, bytes) = (seen.path.to_string(), seen.size);
            return Err(SourceError::TooLarge { path, bytes, limit: LARGEST_FILE });
        }
        // It became a directory or a link: somebody is moving files about right now.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::EISDIR)) => {
            return Err(SourceError::Changed(seen.path.to_string()));
        }
        read => read.map_err(at("reading", &path))?,
    };
    if seen.mode != FileMode::Symlink && is_lfs_pointer(&bytes) {
        return Err(SourceError::LfsPointer(vec![seen.path.to_string()]));
    }
    let blob = ObjectId::of(ObjectType::Blob, &bytes).map_err(git("hashing", &path))?;
    let item = Item::first(blob, seen.mode);
    if !pool.has(item) {
        pool.insert(item, &bytes).map_err(at("keeping the content of", &path))?;
    }
    let entry = FileEntry { blob, mode: seen.mode, size: bytes.len() as u64 };
    // What was written while it was read, or may be written without leaving a trace, is read again next time.
    let is_settled = !seen.stamp.is_racy(looked_at) && entry.size == seen.size;
    let stamp = if is_settled { seen.stamp } else { Stamp::default() };
    Ok(Some(Recorded { path: seen.path, entry, stamp }))
}

/// A file's content, and how it looked just before it was read.
fn content(path: &Path, seen: &Seen) -> std::io::Result<(Seen, Vec<u8>)> {
    if seen.mode == FileMode::Symlink {
        let target = fs::read_link(path)?;
        return Ok((seen.clone(), target.as_os_str().as_bytes().to_vec()));
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(std::io::Error::from_raw_os_error(libc::EISDIR));
    }
    let seen = Seen::new(seen.path.clone(), &found);
    if seen.size > LARGEST_FILE {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(seen.size).unwrap_or_default().saturating_add(1));
    file.take(LARGEST_FILE).read_to_end(&mut bytes)?;
    Ok((seen, bytes))
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
