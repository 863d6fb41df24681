//! All that a package is refused for.

use std::{io, path::PathBuf};

use staith_model::Digest;

use crate::{
    parameters::Mistakes,
    web_deploy::{archive::Mistake, portable::NameFlaw},
};

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The name is not UTF-8.
    #[error("its name is not UTF-8")]
    NameEncoding,
    /// The name leads elsewhere: absolute, with `..`, `.` or empty components, or empty.
    #[error("its name leads out of the package, or is absolute, empty, or not in its plainest form")]
    NameEscapes,
    /// The name can't be held by every system.
    #[error("{0}")]
    Name(#[from] NameFlaw),
    /// Longer than a path can be.
    #[error("its name is {0} bytes long, and no path is longer than 4,096")]
    NameTooLong(usize),
    /// Two entries of one name, where case is ignored.
    #[error("entry `{0}` has the same name, at least where case is ignored: it can't be said which is meant")]
    Duplicate(String),
    /// Something lies below a file.
    #[error("it is a file, yet `{0}` lies below it")]
    BelowFile(String),
    /// A symbolic link, a device, or anything but a file or a directory.
    #[error(
        "its attributes ({0:#010x}) make it a link, a device or a pipe; packages hold files and directories"
    )]
    Special(u32),
    /// A directory that has bytes.
    #[error("it is a directory, yet it has {0} bytes")]
    DirectoryWithBytes(u64),
    /// A compression that Web Deploy does not know.
    #[error("it is compressed by {0}; packages use Deflate, or nothing")]
    Method(String),
    /// It needs a password.
    #[error("it is encrypted")]
    Encrypted,
    /// Larger than a package's file may be.
    #[error("it says it is {0} bytes long; Web Deploy takes files of up to 2,147,483,647 bytes")]
    TooLarge(u64),
    /// Shrunk beyond what honest content does.
    #[error("{packed} bytes claim to become {size}: this is made to fill a disk")]
    Bomb {
        /// Bytes in the package.
        packed: u64,
        /// Bytes that come out.
        size: u64,
    },
    /// The two headers of the entry contradict each other.
    #[error(
        "its own header and the central directory differ in {0}: one program would read what another does not"
    )]
    HeadersDiffer(&'static str),
    /// It shares bytes with something else.
    #[error("its bytes are also those of {0}")]
    Overlap(String),
    /// Its bytes can't be inflated, or are not what its checksum says.
    #[error("its bytes are damaged ({0}); fetch the package again")]
    Damaged(String),
    /// It inflates to another length than it says.
    #[error("it says it is {said} bytes long, but {found} come out")]
    Size {
        /// What the headers say.
        said: u64,
        /// What came out, at least.
        found: u64,
    },
    /// The content is not what the manifest says.
    #[error(
        "its content is {found}, but the manifest says {expected}; the package was changed after it was made"
    )]
    Digest {
        /// In the manifest.
        expected: Digest,
        /// Of the bytes.
        found: Digest,
    },
    /// Manifest and zip differ about a file's length.
    #[error("it is {zip} bytes long, but the manifest says {manifest}")]
    OtherSize {
        /// In the manifest.
        manifest: u64,
        /// In the zip.
        zip: u64,
    },
    /// In the manifest only.
    #[error("the manifest lists it, but the package does not have it")]
    Missing,
    /// In the zip only.
    #[error("the package has it, but the manifest does not list it")]
    Unlisted,
    /// The manifest is none.
    #[error("it is no manifest of Staith's: {0}")]
    Manifest(String),
    /// Not well-formed XML.
    #[error("it is not well-formed at line {line}, column {column}: {why}")]
    Xml {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// What is wrong there.
        why: String,
    },
    /// XML that is well-formed, but can't be right.
    #[error(transparent)]
    Meaning(Box<Mistake>),
    /// Named by `archive.xml`, but not there.
    #[error("line {line}, column {column} names `{}`, which the package does not have", name.escape_debug())]
    Absent {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// The entry that is missing.
        name: String,
    },
    /// A directory without which Web Deploy would skip content, and delete what is at the destination.
    #[error(
        "this directory has no entry, and Web Deploy would silently skip, or delete, what belongs below it"
    )]
    NoDirectoryEntry,
    /// Its declarations of parameters are wrong.
    #[error("{0}")]
    Parameters(Mistakes),
    /// Longer than metadata ever is.
    #[error("it says it is {0} bytes long, which is more than this kind of file ever is")]
    TooLong(u64),
}

impl ReadError {
    /// The entry that is to blame, with line and column in it where it is XML; both are counted from 1.
    pub fn place(&self) -> Option<(&str, Option<usize>, Option<usize>)> {
        let Self::Refused { entry, flaw, .. } = self else { return None };
        let (line, column) = match flaw {
            Flaw::Xml { line, column, .. } | Flaw::Absent { line, column, .. } => (*line, *column),
            Flaw::Meaning(mistake) => (mistake.line, mistake.column),
            Flaw::Parameters(mistakes) if let Some(first) = mistakes.0.first() => {
                (first.line as usize, first.column as usize)
            }
            _ => return Some((entry, None, None)),
        };
        Some((entry, Some(line), Some(column)))
    }
}

/// Why a package can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file can't be opened or read.
    #[error("can't open the package {}: {source}; see that it is there and may be read", path.display())]
    Open {
        /// The package.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no zip, or not all of one.
    #[error("{} is no zip file, or not all of it is there ({why}); fetch the package again", path.display())]
    NotZip {
        /// The package.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The archive as a whole is out of bounds.
    #[error("the package {} is refused: {why}", path.display())]
    OutOfBounds {
        /// The package.
        path: PathBuf,
        /// Which bound.
        why: String,
    },
    /// A zip, but not a Web Deploy package.
    #[error("{} is a zip file but no Web Deploy package: {lacks} is missing from its root", path.display())]
    NotAPackage {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        lacks: &'static str,
    },
    /// An entry is refused, and the package with it.
    #[error("the package {} is refused because of its entry `{}`: {flaw}", path.display(), entry.escape_debug())]
    Refused {
        /// The package.
        path: PathBuf,
        /// The entry.
        entry: String,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// No manifest of Staith's.
    #[error(
        "the package {} was not made by Staith: it has no staith.manifest.json that says what its content must be",
        path.display()
    )]
    NotOurs {
        /// The package.
        path: PathBuf,
    },
    /// No such file.
    #[error("the package {} has no file `{}`", path.display(), file.escape_debug())]
    Absent {
        /// The package.
        path: PathBuf,
        /// The file that was asked for.
        file: String,
    },
    /// Whoever heard of the progress asked to stop.
    #[error("stopped as asked")]
    Stopped,
    /// What was extracted can't be written.
    #[error("can't write {}: {source}; see that its disk has room and that the directory may be written", to.display())]
    Output {
        /// Where to.
        to: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}
