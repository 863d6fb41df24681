//! Listings on disk: what a tree holds, and for a working directory what each file looked like when it was hashed.

use staith_model::{Digest, RelPath};

use super::{
    lfs::Pointer,
    listing::{FileEntry, FileMode, ObjectId},
};

/// How a file looked to `lstat`. While it looks the same its content is the same, unless it was [racy](Self::is_racy).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) modified_ns: i64,
    pub(super) changed_ns: i64,
    pub(super) inode: u64,
}

impl Stamp {
    /// A change within the clock's granularity leaves no trace, so a file that changed this close to the moment when it
    /// was looked at is looked at again. The kernel sets the time of change itself, so nobody can make it older.
    pub(super) const fn is_racy(&self, looked_at_ns: i64) -> bool {
        self.changed_ns >= looked_at_ns.saturating_sub(2_000_000_000)
    }
}

/// A file of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recorded {
    pub(super) path: RelPath,
    pub(super) entry: FileEntry,
    pub(super) stamp: Stamp,
}

/// A submodule: where, and which commit of the other repository is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) path: RelPath,
    pub(super) commit: ObjectId,
}

/// A listing with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) tree: ObjectId,
    pub(super) files: Vec<Recorded>,
    /// Submodules whose files are not among `files`.
    pub(super) links: Vec<Link>,
    pub(super) notices: Vec<String>,
    /// What the pointers of git-lfs among `files` stand for, by their ids; not those whose contents were there.
    pub(super) pointers: Vec<(ObjectId, Pointer)>,
}

const MAGIC: &[u8] = b"staith listing 3\n";

impl Record {
    /// The record as bytes, with a digest that finds torn ones out.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.files.len() * 100);
        body.extend(self.tree.0);
        put_count(&mut body, self.files.len());
        for file in &self.files {
            put_text(&mut body, file.path.as_str());
            body.push(file.entry.letter() as u8);
            body.extend(file.entry.blob.0);
            body.extend(file.entry.size.to_le_bytes());
            body.extend(file.stamp.modified_ns.to_le_bytes());
            body.extend(file.stamp.changed_ns.to_le_bytes());
            body.extend(file.stamp.inode.to_le_bytes());
        }
        put_count(&mut body, self.links.len());
        for link in &self.links {
            put_text(&mut body, link.path.as_str());
            body.extend(link.commit.0);
        }
        put_count(&mut body, self.notices.len());
        self.notices.iter().for_each(|notice| put_text(&mut body, notice));
        put_count(&mut body, self.pointers.len());
        for (blob, pointer) in &self.pointers {
            body.extend(blob.0);
            body.extend(pointer.oid.as_bytes());
            body.extend(pointer.size.to_le_bytes());
        }
        [MAGIC, Digest::of(&body).as_bytes(), &body].concat()
    }

    /// `None` where the bytes are not a whole record.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (digest, body) = bytes.strip_prefix(MAGIC)?.split_at_checked(32)?;
        if Digest::of(body).as_bytes() != digest {
            return None;
        }
        let mut rest = Bytes(body);
        let tree = ObjectId(rest.array()?);
        let files = (0..rest.count()?).map(|_| rest.file()).collect::<Option<_>>()?;
        let links = (0..rest.count()?).map(|_| rest.link()).collect::<Option<_>>()?;
        let notices = (0..rest.count()?).map(|_| rest.text().map(str::to_owned)).collect::<Option<_>>()?;
        let pointers = (0..rest.count()?).map(|_| rest.pointer()).collect::<Option<_>>()?;
        rest.0.is_empty().then_some(Self { tree, files, links, notices, pointers })
    }
}

fn put_count(to: &mut Vec<u8>, count: usize) {
    to.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    put_count(to, text.len());
    to.extend(text.as_bytes());
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn count(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.count()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn link(&mut self) -> Option<Link> {
        let path = RelPath::try_from(self.text()?).ok()?;
        Some(Link { path, commit: ObjectId(self.array()?) })
    }

    fn pointer(&mut self) -> Option<(ObjectId, Pointer)> {
        let blob = ObjectId(self.array()?);
        let oid = Digest::from_bytes(self.array()?);
        Some((blob, Pointer { oid, size: u64::from_le_bytes(self.array()?) }))
    }

    fn file(&mut self) -> Option<Recorded> {
        let path = RelPath::try_from(self.text()?).ok()?;
        let [mode] = self.array()?;
        let (mode, lfs) = match mode {
            b'r' | b'R' => (FileMode::Regular, mode == b'R'),
            b'x' | b'X' => (FileMode::Executable, mode == b'X'),
            b'l' => (FileMode::Symlink, false),
            _ => return None,
        };
        let blob = ObjectId(self.array()?);
        let entry = FileEntry { blob, mode, size: u64::from_le_bytes(self.array()?), lfs };
        let stamp = Stamp {
            modified_ns: i64::from_le_bytes(self.array()?),
            changed_ns: i64::from_le_bytes(self.array()?),
            inode: u64::from_le_bytes(self.array()?),
        };
        Some(Recorded { path, entry, stamp })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_record() -> impl Strategy<Value = Record> {
        let mode = prop::sample::select(vec![FileMode::Regular, FileMode::Executable, FileMode::Symlink]);
        let file =
            ("[a-zé\n]{1,5}(/[b.]x){0,2}", mode, any::<[u8; 20]>(), any::<(u64, i64, i64, u64, bool)>());
        let file =
            file.prop_map(|(path, mode, blob, (size, modified_ns, changed_ns, inode, lfs))| Recorded {
                path: path.try_into().unwrap(),
                entry: FileEntry { blob: ObjectId(blob), mode, size, lfs: lfs && mode != FileMode::Symlink },
                stamp: Stamp { modified_ns, changed_ns, inode },
            });
        let link = ("[a-z]{1,5}", any::<[u8; 20]>())
            .prop_map(|(path, commit)| Link { path: path.try_into().unwrap(), commit: ObjectId(commit) });
        let (files, links) = (prop::collection::vec(file, 0..6), prop::collection::vec(link, 0..3));
        let pointer = any::<([u8; 20], [u8; 32], u64)>()
            .prop_map(|(blob, oid, size)| (ObjectId(blob), Pointer { oid: Digest::from_bytes(oid), size }));
        let notices = prop::collection::vec(".{0,9}", 0..3);
        (any::<[u8; 20]>(), files, links, notices, prop::collection::vec(pointer, 0..3)).prop_map(
            |(tree, files, links, notices, pointers)| Record {
                tree: ObjectId(tree),
                files,
                links,
                notices,
                pointers,
            },
        )
    }

    proptest! {
        #[test]
        fn bytes_and_back(record in any_record()) {
            prop_assert_eq!(Record::from_bytes(&record.to_bytes()), Some(record));
        }

        #[test]
        fn a_torn_record_is_none(record in any_record(), keep in 0.0..1.0f64) {
            let bytes = record.to_bytes();
            let kept = (bytes.len() as f64 * keep) as usize;
            prop_assert_eq!(Record::from_bytes(&bytes[..kept]), None);
        }
    }

    #[test]
    fn what_changed_just_now_is_racy() {
        let stamp = Stamp { changed_ns: 10_000_000_000, ..Stamp::default() };
        assert!(stamp.is_racy(10_000_000_000) && stamp.is_racy(11_999_999_999) && stamp.is_racy(5));
        assert!(!stamp.is_racy(12_000_000_001));
    }
}
