//! The words of OCI Distribution: tags, references, ids of uploads. Nothing that came from outside becomes a path or a header
//! without being one of these.

use std::{fmt, str::FromStr};

use staith_model::{Digest, Name, Version};

/// A tag: 1 to 128 letters, digits, `_`, `.` and `-`, first a letter, a digit or `_`. Safe as a file name: it can't be `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// The id of an upload: 32 hexadecimal digits from the system's randomness, so that nobody guesses another's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(String);

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// Whatever the tag means now.
    Tag(Tag),
    /// Exactly this one.
    Digest(Digest),
}

/// Text that is not what its place needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadWord {
    /// No tag.
    #[error(
        "`{0}` is not a tag: use 1 to 128 letters, digits, `_`, `.` or `-`, first a letter, a digit or `_`"
    )]
    Tag(String),
    /// No digest, or one of another kind.
    #[error("`{0}` is not a digest that is known here: `sha256:` and 64 lower-case hexadecimal digits")]
    Digest(String),
    /// No upload's id.
    #[error("`{0}` is not the id of an upload")]
    Upload(String),
    /// A name that registries don't know.
    #[error(
        "`{0}` can't be the name of a repository: between letters and digits registries know one `.`, one or two `_`, or `-`, \
         and none of them at an end"
    )]
    Name(String),
}

impl Tag {
    /// The highest version.
    pub const LATEST: &str = "latest";

    /// The tag of a version: registries know no `+`, so it is `_`, which no version has.
    pub fn of_version(version: &Version) -> Self {
        Self(version.as_str().replace('+', "_"))
    }

    /// The version that this is the tag of, if it can be one.
    pub fn version(&self) -> Option<Version> {
        self.0.replace('_', "+").parse().ok()
    }

    /// Whether a tag that nobody has pushed yet would be a version, which then stays what it is: it begins with a digit, or with `v` and a
    /// digit. All others are channels, which move.
    pub fn reads_as_version(&self) -> bool {
        let number = self.0.strip_prefix('v').unwrap_or(&self.0);
        number.starts_with(|c: char| c.is_ascii_digit()) && self.version().is_some()
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if starts_well && text.len() <= 128 && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadWord::Tag(text.to_owned()))
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl UploadId {
    /// An id from 16 random bytes.
    pub fn of(random: [u8; 16]) -> Self {
        Self(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The id as text; safe as a file name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadId {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if text.len() == 32 && text.bytes().all(digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadWord::Upload(text.to_owned()))
        }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Reference {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        // A tag has no colon, so what has one was meant to be a digest.
        if text.contains(':') { digest(text).map(Self::Digest) } else { text.parse().map(Self::Tag) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// A digest that came from outside.
///
/// # Errors
/// It is none, or of another algorithm than SHA-256.
pub fn digest(text: &str) -> Result<Digest, BadWord> {
    text.parse().map_err(|_| BadWord::Digest(text.to_owned()))
}

/// A repository's name by the grammar of OCI Distribution that is a package's name too. Package names may have more (`a..b`,
/// `a-`), which no registry knows.
///
/// # Errors
/// It is not both.
pub fn repository(text: &str) -> Result<Name, BadWord> {
    let refused = || BadWord::Name(text.to_owned());
    if !is_repository_part(text) {
        return Err(refused());
    }
    text.parse().map_err(|_| refused())
}

/// Whether text is one part of a repository's path: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
pub fn is_repository_part(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let between = |gap: &str| matches!(gap, "." | "_" | "__") || gap.chars().all(|c| c == '-');
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.split(alphanumeric).filter(|gap| !gap.is_empty()).all(between)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn repositories_are_those_of_the_specification() {
        for good in ["shop", "a", "0", "a.b", "a_b", "a__b", "a---b", "shop-2.web"] {
            assert!(repository(good).is_ok(), "{good}");
        }
        for bad in
            ["", ".", "..", "a..b", "a.", "-a", "a_", "a___b", "a._b", "A", "a/b", "a b", "a%2f", "ä", "a\0"]
        {
            assert!(repository(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_and_channels_are_told_apart_by_how_they_begin() {
        for version in ["1.4.27", "0", "v2", "2026.11.21_c.0123456789ab", "1.0.0-rc.1"] {
            assert!(version.parse::<Tag>().unwrap().reads_as_version(), "{version}");
        }
        for channel in ["stable", "latest", "v", "vnext", "_1"] {
            assert!(!channel.parse::<Tag>().unwrap().reads_as_version(), "{channel}");
        }
    }

    #[test]
    fn references_lead_nowhere() {
        for bad in [
            "",
            "..",
            ".",
            "../x",
            "a/b",
            "a\0b",
            "sha256:../..",
            "sha256:",
            "sha512:00",
            "-a",
            &"x".repeat(129),
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
        assert!("../../../../etc/passwd-00000000".parse::<UploadId>().is_err());
    }

    proptest! {
        #[test]
        fn a_version_survives_being_a_tag(text in "[0-9a-z][0-9a-zA-Z.+-]{0,99}") {
            let version: Version = text.parse().unwrap();
            let tag = Tag::of_version(&version);
            prop_assert_eq!(tag.as_str().parse::<Tag>(), Ok(tag.clone()));
            prop_assert_eq!(tag.version(), Some(version));
        }

        #[test]
        fn any_text_is_taken_or_refused(text in ".{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text.clone());
            }
            let _ = repository(&text);
        }
    }
}
