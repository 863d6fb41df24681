//! Why a report can't be read, and where.

use std::fmt;

/// A test report that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the test report `{path}` can't be read: {place}{problem}")]
pub struct ReportError {
    /// The file, as the caller named it.
    pub path: String,
    /// Where in the file.
    pub place: Place,
    /// What is wrong, and what to do.
    pub problem: ReportProblem,
}

/// A place in a file, both counted from 1; columns count bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The byte in that line.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)
    }
}

/// What is wrong with a report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportProblem {
    /// There is nothing in it.
    #[error("it is empty; the test runner probably ended before it wrote its results")]
    Empty,
    /// It is larger than [`LARGEST_REPORT`](super::LARGEST_REPORT).
    #[error("it has {0} bytes, and {limit} is the most; let the tests write several reports", limit = super::LARGEST_REPORT)]
    TooLarge(usize),
    /// It is not UTF-8.
    #[error("it is not in UTF-8; let the test runner write UTF-8")]
    NotUtf8,
    /// It says of itself that it is in another encoding.
    #[error("it says that it is in `{0}`; let the test runner write UTF-8")]
    OtherEncoding(String),
    /// It has a document type, which could make a small file into a huge one.
    #[error("it has a document type (`<!DOCTYPE`), which a JUnit report never needs; remove it")]
    DocumentType,
    /// It uses an entity that XML itself does not define.
    #[error("it uses the entity `&{0};`, which is not defined; write the character itself")]
    UnknownEntity(String),
    /// It is not XML.
    #[error("it is not well-formed XML: {0}")]
    Malformed(String),
    /// It ends too early.
    #[error("it ends inside `<{0}>`; the test runner was probably stopped while it wrote")]
    CutOff(String),
    /// It is XML, but of another kind.
    #[error(
        "it starts with `<{0}>`, but a JUnit report starts with `<testsuites>` or `<testsuite>`; look at `reports` of the step"
    )]
    NotJunit(String),
    /// Elements inside elements inside ...
    #[error("its elements are nested more than {0} deep, which no JUnit report needs")]
    TooDeep(usize),
}

impl ReportError {
    pub(super) fn new(path: &str, bytes: &[u8], offset: usize, problem: ReportProblem) -> Self {
        let before = &bytes[..offset.min(bytes.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let place = Place {
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: before.len() - line_start + 1,
        };
        Self { path: path.to_owned(), place, problem }
    }
}
