//! What an object looks like in a pack: a head, and what is compressed. Pure.

use git2::ObjectType;

use super::super::{listing::ObjectId, snapshot::LARGEST_FILE};

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Commit,
    Tree,
    Blob,
    Tag,
}

impl Kind {
    /// Git's id of an object of this kind.
    pub(super) fn id_of(self, content: &[u8]) -> Result<ObjectId, std::io::Error> {
        let kind = match self {
            Self::Commit => ObjectType::Commit,
            Self::Tree => ObjectType::Tree,
            Self::Blob => ObjectType::Blob,
            Self::Tag => ObjectType::Tag,
        };
        ObjectId::of(kind, content).map_err(std::io::Error::other)
    }
}

/// What an entry is to be understood from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// It is whole.
    None(Kind),
    /// It is a change to what begins so many bytes before.
    Before(u64),
    /// It is a change to this object.
    Object(ObjectId),
}

/// The head of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) base: Base,
    /// Length of what is compressed, before it was.
    pub(super) size: usize,
    /// Length of the head.
    pub(super) head: usize,
}

impl Entry {
    /// `None` where the bytes are no head, or that of something larger than anything that is read.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let first = *bytes.first()?;
        let (mut size, mut shift, mut head) = (u64::from(first & 15), 4, 1);
        let mut more = first & 0x80 != 0;
        while more {
            let byte = *bytes.get(head)?;
            size |= u64::from(byte & 0x7f).checked_shl(shift).filter(|_| shift < 57)?;
            (more, shift, head) = (byte & 0x80 != 0, shift + 7, head + 1);
        }
        let base = match (first >> 4) & 7 {
            1 => Base::None(Kind::Commit),
            2 => Base::None(Kind::Tree),
            3 => Base::None(Kind::Blob),
            4 => Base::None(Kind::Tag),
            6 => {
                let (distance, length) = distance(bytes.get(head..)?)?;
                head += length;
                Base::Before(distance)
            }
            7 => {
                let id = bytes.get(head..)?.first_chunk::<20>()?;
                head += id.len();
                Base::Object(ObjectId(*id))
            }
            _ => return None,
        };
        let size = usize::try_from(size).ok().filter(|_| size <= LARGEST_FILE)?;
        Some(Self { base, size, head })
    }

    /// The most bytes that any usual compressor makes of it: zlib's own bound, and some more.
    pub(super) const fn most_compressed(&self) -> usize {
        self.size + self.size / 1000 + 128
    }
}

/// How far back the base is, and the length of the number. Each byte but the last stands for one more than it says.
fn distance(bytes: &[u8]) -> Option<(u64, usize)> {
    let (mut value, mut length) = (0_u64, 0);
    loop {
        let byte = *bytes.get(length)?;
        length += 1;
        value = value.checked_mul(128)?.checked_add(u64::from(byte & 0x7f))?;
        if byte & 0x80 == 0 {
            return (value > 0).then_some((value, length));
        }
        value = value.checked_add(1)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn heads_are_read_as_git_writes_them() {
        let parsed = |bytes: &[u8]| Entry::parse(bytes);
        let entry = |base, size, head| Some(Entry { base, size, head });
        assert_eq!(parsed(&[0x35]), entry(Base::None(Kind::Blob), 5, 1));
        assert_eq!(parsed(&[0xb5, 0x01]), entry(Base::None(Kind::Blob), 21, 2));
        assert_eq!(parsed(&[0x61, 0x80, 0x00]), entry(Base::Before(128), 1, 3));
        assert_eq!(parsed(&[0x61, 0x7f]), entry(Base::Before(127), 1, 2));
        let named = [&[0x73][..], &[9; 20]].concat();
        assert_eq!(parsed(&named), entry(Base::Object(ObjectId([9; 20])), 3, 21));
        for bad in [&[][..], &[0x55], &[0x05], &[0xb5], &[0x61], &[0x61, 0x00], &[0x73, 1], &[0xff; 40]] {
            assert_eq!(parsed(bad), None, "{bad:?}");
        }
        // More than is ever read.
        assert_eq!(parsed(&[0xb0, 0x80, 0x80, 0x80, 0x80, 0x01]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Entry::parse(&bytes);
        }
    }
}
