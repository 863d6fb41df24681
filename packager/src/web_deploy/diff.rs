//! How two packages differ: files, parameters, providers.
//!
//! Files are compared by what they are below their root, so that a package that was built in another directory compares with
//! one that was not. Digests say whether two files are the same where Staith made both packages. Otherwise lengths and checksums
//! tell files apart, and content has the last word: 32 bits of checksum are the same for many contents.

mod files;
mod texts;

use serde::Serialize;

use super::{PackageReader, ReadError};

/// How one package differs from another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Files, directories and links, by path.
    pub files: Vec<Change<FileFact>>,
    /// Declared parameters, by name.
    pub parameters: Vec<Change<TextFact>>,
    /// Providers, by their place in the tree: `iisApp/createApp`, `setAcl[2]`.
    pub providers: Vec<Change<TextFact>>,
}

impl Difference {
    /// Whether the packages bring the same. Their bytes may still differ: in times, order, compression.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.parameters.is_empty() && self.providers.is_empty()
    }
}

/// One thing that is not in both packages as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change<F> {
    /// Path, or name.
    pub name: String,
    /// What happened to it.
    pub what: What,
    /// What is different, where it is in both packages; what it is, where it is in one.
    pub facts: Vec<F>,
}

/// What happened to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It is in the second package only.
    Added,
    /// It is in the first package only.
    Removed,
    /// It is in both, and not the same.
    Changed,
}

/// What is different about a file; `None` stands for a package that does not have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
pub enum FileFact {
    /// Its bytes. Both lengths may be the same.
    Bytes {
        /// Length in bytes in the first package.
        old: Option<u64>,
        /// Length in bytes in the second package.
        new: Option<u64>,
    },
    /// Its Unix permission bits.
    Mode {
        /// In the first package.
        old: u32,
        /// In the second package.
        new: u32,
    },
    /// What a symbolic link says.
    Target {
        /// In the first package.
        old: Option<String>,
        /// In the second package.
        new: Option<String>,
    },
    /// Whether it is a file, a directory or a link.
    Kind {
        /// In the first package.
        old: Option<&'static str>,
        /// In the second package.
        new: Option<&'static str>,
    },
}

/// What is different about a parameter or a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TextFact {
    /// Which property.
    pub property: String,
    /// In the first package; `None` if it is not there.
    pub old: Option<String>,
    /// In the second package; `None` if it is not there.
    pub new: Option<String>,
}

/// Says how `new` differs from `old`. Inflates the files that lengths, checksums and digests leave in doubt, on all cores of the
/// caller's rayon pool; writes nothing.
///
/// Values that look like secrets are compared, and shown as `(hidden)`.
///
/// # Errors
/// An entry that had to be read is not what it says.
pub fn diff(old: &PackageReader, new: &PackageReader) -> Result<Difference, ReadError> {
    Ok(Difference {
        files: files::compare(old, new)?,
        parameters: texts::compare(&texts::parameters(old)?, &texts::parameters(new)?),
        providers: texts::compare(&texts::providers(old)?, &texts::providers(new)?),
    })
}

const fn what(was: bool, is: bool) -> What {
    match (was, is) {
        (false, _) => What::Added,
        (true, false) => What::Removed,
        (true, true) => What::Changed,
    }
}
