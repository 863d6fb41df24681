//! What git-lfs puts in a file's place. Pure.

use git2::ObjectType;
use staith_model::Digest;

use crate::source::listing::ObjectId;

/// Longer texts are no pointers: git-lfs's own rule.
pub(in crate::source) const LONGEST_POINTER: u64 = 1024;

/// An object of git-lfs: the hash of its bytes and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::source) struct Pointer {
    pub(in crate::source) oid: Digest,
    pub(in crate::source) size: u64,
}

/// What a text in a file's place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum Read {
    Pointer(Pointer),
    /// A pointer to something that a program of the project's own has changed before it was stored.
    Extended,
    /// Something else, which stays as it is.
    Other,
}

const VERSIONS: [&str; 3] = [
    "https://git-lfs.github.com/spec/v1",
    // What it was called before, which git-lfs still reads.
    "https://hawser.github.com/spec/v1",
    "http://git-media.io/v/2",
];

impl Pointer {
    /// Understands a text as git-lfs does: `version`, extensions, `oid` and `size`, in this order, a line each.
    pub(in crate::source) fn read(bytes: &[u8]) -> Read {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        if bytes.len() as u64 >= LONGEST_POINTER || text.is_empty() {
            return Read::Other;
        }
        let pairs: Option<Vec<(&str, &str)>> =
            text.trim().lines().map(|line| line.trim_end_matches('\r').split_once(' ')).collect();
        match pairs.as_deref() {
            Some([("version", version), between @ .., ("oid", oid), ("size", size)])
                if VERSIONS.contains(version) && between.iter().all(|(key, _)| key.starts_with("ext-")) =>
            {
                // Our digests are parsed more widely; git-lfs knows small letters only.
                let is_plain = !oid.bytes().any(|byte| byte.is_ascii_uppercase());
                let size = size.parse().ok().filter(|_| size.bytes().all(|byte| byte.is_ascii_digit()));
                match (oid.parse(), size) {
                    (Ok(_), Some(_)) if !between.is_empty() => Read::Extended,
                    (Ok(oid), Some(size)) if is_plain => Read::Pointer(Self { oid, size }),
                    _ => Read::Other,
                }
            }
            _ => Read::Other,
        }
    }

    /// The id of the pointer as git-lfs writes it.
    pub(in crate::source) fn id(&self) -> Result<ObjectId, git2::Error> {
        ObjectId::of(ObjectType::Blob, self.text().as_bytes())
    }

    /// The text that git-lfs writes.
    pub(in crate::source) fn text(&self) -> String {
        format!("version {}\noid {}\nsize {}\n", VERSIONS[0], self.oid, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";

    #[test]
    fn pointers_are_read_as_git_lfs_reads_them() {
        let whole =
            |version: &str, more: &str| format!("version {version}\n{more}oid sha256:{HEX}\nsize 12345\n");
        let expected = Pointer { oid: format!("sha256:{HEX}").parse().unwrap(), size: 12345 };
        for version in VERSIONS {
            let text = whole(version, "");
            assert_eq!(Pointer::read(text.as_bytes()), Read::Pointer(expected));
            assert_eq!(Pointer::read(text.trim_end().as_bytes()), Read::Pointer(expected));
            assert_eq!(Pointer::read(text.replace('\n', "\r\n").as_bytes()), Read::Pointer(expected));
        }
        assert_eq!(expected.text(), whole(VERSIONS[0], ""));
        let extended = whole(VERSIONS[0], &format!("ext-0-foo sha256:{HEX}\n"));
        assert_eq!(Pointer::read(extended.as_bytes()), Read::Extended);
        for other in [
            String::new(),
            "version https://git-lfs.github.com/spec/v1\n".to_owned(),
            whole("https://git-lfs.github.com/spec/v9", ""),
            whole(VERSIONS[0], "more x\n"),
            whole(VERSIONS[0], "").replace("size 12345", "size -1"),
            whole(VERSIONS[0], "").replace("size 12345", "size +1"),
            whole(VERSIONS[0], "").replace("size 12345", "size 99999999999999999999999"),
            whole(VERSIONS[0], "").replace(HEX, &HEX[1..]),
            whole(VERSIONS[0], "").replace(HEX, &HEX.to_uppercase()),
            whole(VERSIONS[0], "").replace("sha256:", "sha512:"),
            whole(VERSIONS[0], "") + &"\n".repeat(1024),
            whole(VERSIONS[0], "") + "and more\n",
        ] {
            assert_eq!(Pointer::read(other.as_bytes()), Read::Other, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(content: Vec<u8>, size: u64) {
            let pointer = Pointer { oid: Digest::of(&content), size };
            prop_assert_eq!(Pointer::read(pointer.text().as_bytes()), Read::Pointer(pointer));
            Pointer::read(&content);
        }
    }
}
