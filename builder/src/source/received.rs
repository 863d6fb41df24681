//! A source that another machine has: its list of files comes first, then the contents that are not here yet.
//!
//! Contents go over the wire as frames: the id by which the list names the content (20 bytes), its length (8 bytes, the lowest
//! first; the highest bit is set where git-lfs keeps the content and the id is that of its pointer), and its bytes. The other
//! machine vouches for the list, not for the bytes: each content is verified before it gets into the pool.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
};

use git2::ObjectType;
use staith_model::RelPath;

use super::{
    Resolved, Sources,
    contents::Contents,
    lfs::Pointer,
    listing::{DEEPEST, FileEntry, LONGEST_PATH, MOST_FILES, ObjectId, checked},
    pool::Item,
    snapshot::LARGEST_FILE,
};

/// The bit of a frame's length that says that git-lfs keeps the content.
pub(super) const IS_LARGE: u64 = 1 << 63;

/// Why a source of another machine is not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotReceived {
    /// The list of its files is not whole, or no directory could hold it.
    #[error("the list of the source's files is damaged: {0}")]
    List(&'static str),
    /// A content is not the one that it was sent for.
    #[error("a content was sent as {wanted} and is {found}")]
    Content {
        /// The id that it was sent under.
        wanted: String,
        /// The id that it has.
        found: String,
    },
    /// It came in no form that is known, or ended early.
    #[error("the contents of the source came damaged: {0}")]
    Damaged(&'static str),
    /// This machine can't keep it.
    #[error("the contents of the source can't be kept: {0}")]
    Io(#[from] io::Error),
}

/// What a list says of an id: a file's content, and what git-lfs keeps in the place of a pointer with this id. Hardly ever both.
#[derive(Clone, Copy, Default)]
pub(super) struct Meant<'a> {
    pub(super) plain: Option<&'a (RelPath, FileEntry)>,
    pub(super) large: Option<&'a (RelPath, FileEntry)>,
}

/// The contents of a source, by their ids.
pub(super) fn meant(resolved: &Resolved) -> BTreeMap<ObjectId, Meant<'_>> {
    let mut all: BTreeMap<ObjectId, Meant<'_>> = BTreeMap::new();
    for file in &resolved.files {
        let meant = all.entry(file.1.blob).or_default();
        if file.1.lfs { meant.large = Some(file) } else { meant.plain = Some(file) }
    }
    all
}

impl Sources {
    /// A source that another machine wrote down ([`Resolved::to_bytes`], [`Resolved::list_to_send`]). Where it is kept there means
    /// nothing here; contents are looked for in this store only. That machine vouches that the source may have what it names, also
    /// of what git-lfs keeps.
    ///
    /// # Errors
    /// The bytes are not whole, or name files that no directory can hold together.
    pub fn received(&self, bytes: &[u8]) -> Result<Resolved, NotReceived> {
        let resolved = self.recall(bytes).ok_or(NotReceived::List("it is not whole"))?;
        if resolved.files.len() > MOST_FILES {
            return Err(NotReceived::List("it has too many files"));
        }
        if !resolved.files.is_sorted_by(|one, next| one.0 < next.0) {
            return Err(NotReceived::List("its files are not in order"));
        }
        let too_deep = |path: &str| path.len() > LONGEST_PATH || path.split('/').count() > DEEPEST;
        if resolved.files.iter().any(|(path, _)| too_deep(path.as_str())) {
            return Err(NotReceived::List("a path is too long or too deep"));
        }
        // A file below a link would lead out of the checkout.
        let files = checked(resolved.files).map_err(|_| NotReceived::List("a file lies below another"))?;
        Ok(Resolved { files, contents: Contents::default(), ..resolved })
    }

    /// The contents of a source that are not here, each once; of what git-lfs keeps, the ids of the pointers.
    pub fn missing(&self, resolved: &Resolved) -> Vec<ObjectId> {
        let is_here = |entry: &FileEntry| self.pool.any_like(Item::first(entry)).is_some();
        let absent = resolved.files.iter().map(|(_, entry)| entry).filter(|entry| !is_here(entry));
        absent.map(|entry| entry.blob).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Takes contents of a source, as [`contents`](Self::contents) writes them. Returns how many there were. What the source does
    /// not have is refused, and so is a content that is not the one of its id.
    ///
    /// # Errors
    /// See [`NotReceived`]; what was taken before stays.
    pub fn take_contents(&self, resolved: &Resolved, from: &mut dyn Read) -> Result<usize, NotReceived> {
        let wanted = meant(resolved);
        let mut taken = 0;
        while let Some(id) = next_id(from)? {
            let meant = wanted.get(&id).ok_or(NotReceived::Damaged("it has a content that no file has"))?;
            let mut length = [0; 8];
            from.read_exact(&mut length).map_err(|_| ends_early())?;
            let length = u64::from_le_bytes(length);
            let (is_large, length) = (length & IS_LARGE != 0, length & !IS_LARGE);
            let entry = if is_large { meant.large } else { meant.plain };
            let (_, entry) = entry.ok_or(NotReceived::Damaged("it has a content that no file has"))?;
            if length != entry.size {
                return Err(NotReceived::Damaged("a content is not as long as its file"));
            }
            if is_large {
                self.take_large(entry, from)?
            } else {
                self.take_plain(entry, from)?
            }
            taken += 1;
        }
        self.pool.settle();
        Ok(taken)
    }

    fn take_plain(&self, entry: &FileEntry, from: &mut dyn Read) -> Result<(), NotReceived> {
        if entry.size > LARGEST_FILE {
            return Err(NotReceived::Damaged("a content is too large"));
        }
        // The length is only what somebody says: memory is taken as bytes come.
        let mut bytes = Vec::new();
        from.take(entry.size).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != entry.size {
            return Err(ends_early());
        }
        let found = ObjectId::of(ObjectType::Blob, &bytes)
            .map_err(|_| NotReceived::Damaged("a content can't be hashed"))?;
        if found != entry.blob {
            return Err(NotReceived::Content { wanted: entry.blob.to_string(), found: found.to_string() });
        }
        Ok(self.pool.insert(Item::first(entry), &bytes)?)
    }

    /// What git-lfs keeps may be larger than memory. Its id is that of its pointer, which follows from its bytes.
    fn take_large(&self, entry: &FileEntry, from: &mut dyn Read) -> Result<(), NotReceived> {
        let item = Item::first(entry);
        let (mut found, mut came) = (None, 0);
        let judge = |oid, size| {
            came = size;
            found = Pointer { oid, size }.id().ok();
            (size == entry.size && found == Some(entry.blob)).then(|| (item, self.pool.place_of(item)))
        };
        self.pool.allow(crate::upkeep::whole_blocks(entry.size))?;
        let mut bounded = from.take(entry.size);
        match self.pool.take_in(&mut bounded, entry.size, judge)? {
            Some(_) => Ok(()),
            None if came < entry.size => Err(ends_early()),
            None => {
                let found = found.map_or_else(|| "nothing known".to_owned(), |id| id.to_string());
                Err(NotReceived::Content { wanted: entry.blob.to_string(), found })
            }
        }
    }
}

const fn ends_early() -> NotReceived {
    NotReceived::Damaged("it ends early")
}

fn next_id(from: &mut dyn Read) -> Result<Option<ObjectId>, NotReceived> {
    let mut id = Vec::with_capacity(20);
    from.take(20).read_to_end(&mut id)?;
    match <[u8; 20]>::try_from(id) {
        Ok(id) => Ok(Some(ObjectId(id))),
        Err(none) if none.is_empty() => Ok(None),
        Err(_) => Err(ends_early()),
    }
}
