//! A sealed package, as everybody but the packager sees it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Digest, Name};

/// A package's version: what people order by. 1 to 100 of the characters that a semantic version may have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

/// What lies beside a package and speaks about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Companion {
    /// What it is.
    pub kind: CompanionKind,
    /// Where the file is.
    pub path: String,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// The kinds of files that lie beside a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CompanionKind {
    /// Paths, modes, sizes and hashes of what is packed.
    ContentManifest,
    /// Values of the package's parameters, for Web Deploy: `NAME.SetParameters.xml`.
    SetParameters,
    /// What the package is made of: a CycloneDX bill of materials.
    Sbom,
    /// How it was made: an in-toto statement in a signed DSSE envelope.
    Provenance,
}

impl CompanionKind {
    /// What it is called, in a word or two.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ContentManifest => "content manifest",
            Self::SetParameters => "parameters",
            Self::Sbom => "SBOM",
            Self::Provenance => "provenance",
        }
    }
}

/// Why a text is not a [`Version`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a version: use letters, digits, `.`, `-` and `+`, first a letter or a digit, 100 characters at most"
)]
pub struct NotAVersion(String);

impl Version {
    /// The version as text; safe as a file name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This version with the content it stands for as build metadata (`1.4.0+c.3f2a...`): such a version can't mean two
    /// things, so builds between two releases need no counter.
    pub fn of_content(&self, content: &Digest) -> Self {
        let separator = if self.0.contains('+') { '.' } else { '+' };
        Self(format!("{}{separator}c.{}", self.0, content.short()))
    }
}

impl TryFrom<String> for Version {
    type Error = NotAVersion;

    fn try_from(text: String) -> Result<Self, NotAVersion> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
        if starts_well && text.len() <= 100 && text.chars().all(allowed) {
            Ok(Self(text))
        } else {
            Err(NotAVersion(text))
        }
    }
}

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        Self::try_from(text.to_owned())
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A package's identity and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// What it is called.
    pub name: Name,
    /// Which version it is.
    pub version: Version,
    /// Digest of the package file: what travels.
    pub digest: Digest,
    /// Digest of the manifest (path, mode, size, hash) inside: what it is.
    pub content: Digest,
    /// Length of the package file in bytes.
    pub size: u64,
}

impl Package {
    /// The file name that people see: name, version and short digest.
    pub fn file_name(&self) -> String {
        format!("{}-{}-{}.zip", self.name, self.version, self.digest.short())
    }
}
