//! Which files were verified, so that they need not be read again: each by its inode, with what would change if it were written.

pub(crate) mod shared;

use std::{collections::HashMap, fs::Metadata, os::unix::fs::MetadataExt as _};

use rustix::fs::Stat;
use staith_model::Digest;

use crate::{durable, layout::Layout};

/// Bytes of one record: inode, length, two times in nanoseconds, digest.
const RECORD: usize = 8 * 4 + 32;

/// What the file system says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) inode: u64,
    pub(crate) size: u64,
    /// Kind and permission bits.
    pub(crate) mode: u32,
    /// How many names it has.
    pub(crate) names: u64,
    changed: i64,
    status_changed: i64,
}

/// A time in nanoseconds.
const fn nanos(seconds: i64, nanos: i64) -> i64 {
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos)
}

impl From<&Metadata> for Node {
    fn from(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            mode: metadata.mode(),
            names: metadata.nlink(),
            changed: nanos(metadata.mtime(), metadata.mtime_nsec()),
            status_changed: nanos(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl From<&Stat> for Node {
    #[allow(clippy::useless_conversion, reason = "the number of names has another type on other machines")]
    fn from(stat: &Stat) -> Self {
        let part = |nanos| i64::try_from(nanos).unwrap_or_default();
        Self {
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mode: stat.st_mode,
            names: u64::from(stat.st_nlink),
            changed: nanos(stat.st_mtime, part(stat.st_mtime_nsec)),
            status_changed: nanos(stat.st_ctime, part(stat.st_ctime_nsec)),
        }
    }
}

/// What a file was like when it was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    size: u64,
    changed: i64,
    status_changed: i64,
    digest: Digest,
}

impl Mark {
    /// A file that has just been verified.
    pub(crate) fn of(node: impl Into<Node>, digest: Digest) -> Self {
        let Node { size, changed, status_changed, .. } = node.into();
        Self { size, changed, status_changed, digest }
    }
}

/// All marks of a folder. A hint: what is not in it is hashed again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verified {
    marks: HashMap<u64, Mark>,
}

impl Verified {
    /// What was written down. What can't be read or is damaged counts as nothing.
    pub(crate) fn read(layout: &Layout) -> Self {
        std::fs::read(layout.verified()).ok().and_then(|bytes| Self::decode(&bytes)).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        // A loss of power may have left anything: it is not synchronised.
        let (records, check) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
        if Digest::of(records).as_bytes() != check || records.len() % RECORD != 0 {
            return None;
        }
        let marks = records.chunks_exact(RECORD).filter_map(|record| {
            let number = |nth: usize| -> Option<u64> {
                Some(u64::from_le_bytes(record.get(nth * 8..nth * 8 + 8)?.try_into().ok()?))
            };
            let digest = Digest::from_bytes(record.get(32..)?.try_into().ok()?);
            let (changed, status_changed) = (number(2)?.cast_signed(), number(3)?.cast_signed());
            Some((number(0)?, Mark { size: number(1)?, changed, status_changed, digest }))
        });
        Some(Self { marks: marks.collect() })
    }

    /// Writes it down; a failure costs time later and nothing else.
    pub(crate) fn write(&self, layout: &Layout) {
        let mut bytes = Vec::with_capacity(self.marks.len() * RECORD + 32);
        for (inode, mark) in &self.marks {
            bytes.extend_from_slice(&inode.to_le_bytes());
            bytes.extend_from_slice(&mark.size.to_le_bytes());
            bytes.extend_from_slice(&mark.changed.to_le_bytes());
            bytes.extend_from_slice(&mark.status_changed.to_le_bytes());
            bytes.extend_from_slice(mark.digest.as_bytes());
        }
        let check = *Digest::of(&bytes).as_bytes();
        bytes.extend_from_slice(&check);
        let _ = durable::replace(&layout.verified(), &bytes, 0o600);
    }

    /// Whether this very file was verified to have this content and was not touched since.
    pub(crate) fn holds(&self, node: impl Into<Node>, digest: Digest) -> bool {
        let node = node.into();
        self.marks.get(&node.inode) == Some(&Mark::of(node, digest))
    }

    /// Whether there is nothing in it: then nothing that is there can be taken for verified.
    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Marks files as verified.
    pub(crate) fn extend(&mut self, marks: impl IntoIterator<Item = (u64, Mark)>) {
        self.marks.extend(marks);
    }

    /// Whether this very file was verified, whatever it holds, and was not touched since.
    pub(crate) fn is_untouched(&self, node: impl Into<Node>) -> bool {
        let node = node.into();
        let mark = self.marks.get(&node.inode);
        mark.is_some_and(|mark| *mark == Mark::of(node, mark.digest))
    }

    /// Marks a file anew that lost a name, which changed its status and nothing else.
    fn renew(&mut self, node: impl Into<Node>) {
        let node = node.into();
        if let Some(mark) = self.marks.get_mut(&node.inode) {
            let now = Mark::of(node, mark.digest);
            if (now.size, now.changed) == (mark.size, mark.changed) {
                *mark = now;
            }
        }
    }

    /// Keeps to what became of files that lost names.
    pub(crate) fn settle(&mut self, lost: impl IntoIterator<Item = Lost>) {
        for lost in lost {
            match lost {
                Lost::Name(node) => self.renew(node),
                Lost::File(inode) => {
                    self.marks.remove(&inode);
                }
            }
        }
    }

    /// Forgets files that are no more.
    fn keep_only(&mut self, inodes: &std::collections::HashSet<u64>) {
        self.marks.retain(|inode, _| inodes.contains(inode));
    }
}

/// What became of a file that lost a name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lost {
    /// It has others, and is as it was verified.
    Name(Node),
    /// It was its last: the inode will be another file's some day.
    File(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_touched_is_not_taken_for_verified_and_damage_forgets_all() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let digest = Digest::of(b"x");
        let before = std::fs::metadata(&path).unwrap();
        let mut verified = Verified::default();
        verified.extend([(before.ino(), Mark::of(&before, digest))]);
        verified.write(&layout);
        assert_eq!(Verified::read(&layout), verified);
        assert!(verified.holds(&before, digest) && !verified.holds(&before, Digest::of(b"y")));
        // The same length, and the time of the content put back as it was.
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::io::Write::write_all(&mut &file, b"y").unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
        drop(file);
        assert!(!verified.holds(&std::fs::metadata(&path).unwrap(), digest));
        let mut bytes = std::fs::read(layout.verified()).unwrap();
        bytes[3] ^= 1;
        std::fs::write(layout.verified(), bytes).unwrap();
        assert_eq!(Verified::read(&layout), Verified::default());
    }
}
