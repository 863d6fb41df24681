//! Why a report can't be read, and where.

use std::fmt;

/// A report that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the report `{path}` {}: {place}{problem}", self.problem.is_what())]
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
    #[error("it is empty; the program probably ended before it wrote its results")]
    Empty,
    /// It is larger than [`LARGEST_REPORT`](super::LARGEST_REPORT).
    #[error("it has {0} bytes, and {limit} is the most; let the step write several reports", limit = super::LARGEST_REPORT)]
    TooLarge(usize),
    /// It is not UTF-8.
    #[error("it is not in UTF-8; let the program write UTF-8")]
    NotUtf8,
    /// It says of itself that it is in another encoding.
    #[error("it says that it is in `{0}`; let the program write UTF-8")]
    OtherEncoding(String),
    /// It has a document type, which could make a small file into a huge one.
    #[error("it has a document type (`<!DOCTYPE`), which no report needs; remove it")]
    DocumentType,
    /// It uses an entity that XML itself does not define.
    #[error("it uses the entity `&{0};`, which is not defined; write the character itself")]
    UnknownEntity(String),
    /// It is not XML.
    #[error("it is not well-formed XML: {0}")]
    Malformed(String),
    /// It is not JSON, or not the JSON that its format asks for.
    #[error("it is no valid SARIF: {0}")]
    MalformedJson(String),
    /// It is SARIF of another version.
    #[error("it is SARIF of version `{0}`, and 2.1.0 is read; let the program write that")]
    OtherSarif(String),
    /// It says that the program that wrote it did not come to its end.
    #[error(
        "the program that wrote it says that it failed{0}, so there may be more to find; see what it wrote, and let the step \
         fail where it does"
    )]
    Unfinished(String),
    /// It is TAP of a version that is not known.
    #[error("it is TAP of version `{0}`, and 12, 13 and 14 are read; let the program write one of these")]
    OtherTap(String),
    /// It is LCOV, but a line of it is not.
    #[error("`{0}` is not a line of an LCOV trace file; let the program write the file anew")]
    MalformedLcov(String),
    /// It ends too early.
    #[error("it ends inside {0}; the program was probably stopped while it wrote")]
    CutOff(String),
    /// It is of no kind that is known.
    #[error("it starts with `{start}`, which begins no report that is known; {KNOWN_KINDS}{hint}")]
    Unknown {
        /// How it starts.
        start: String,
        /// What to do, where its kind is one that can be changed; starts with `; ` then.
        hint: &'static str,
    },
    /// Elements inside elements inside ...
    #[error("its elements are nested more than {0} deep, which no report needs")]
    TooDeep(usize),
}

const KNOWN_KINDS: &str =
    "these are: tests as JUnit XML, TRX or TAP, coverage as Cobertura or LCOV, findings as SARIF";

impl ReportProblem {
    const fn is_what(&self) -> &'static str {
        match self {
            Self::Unfinished(_) => "is not whole",
            _ => "can't be read",
        }
    }

    /// The file ends inside an element.
    pub(super) fn cut_off_in(element: &str) -> Self {
        Self::CutOff(format!("`<{}>`", super::text::name(element)))
    }
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
