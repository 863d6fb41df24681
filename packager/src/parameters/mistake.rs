//! All that a file of declarations or values is refused for.

use std::fmt;

use super::NotAPosition;
use crate::{pattern::BadPattern, xml::XPathError};

/// What is wrong at a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not an encoding that these files have.
    #[error("it is not text in UTF-8 or UTF-16; save it as UTF-8")]
    Encoding,
    /// Too long to be one.
    #[error("it is {0} bytes long, and no such file is longer than 16 MiB")]
    TooLong(usize),
    /// Not well-formed XML.
    #[error("it is not well-formed XML: {0}")]
    Xml(String),
    /// Another kind of document.
    #[error("the outermost element is `{found}`, but should be `{expected}`")]
    Root {
        /// What it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A document of values where declarations belong, or the other way round.
    #[error("this file {0}")]
    OtherFile(&'static str),
    /// An attribute is missing, or empty.
    #[error("`{element}` needs the attribute `{attribute}`")]
    Missing {
        /// The element.
        element: &'static str,
        /// What it lacks.
        attribute: &'static str,
    },
    /// One thing said twice.
    #[error("`{0}` is given twice; keep one of them")]
    Twice(String),
    /// Two parameters of one name.
    #[error("there is a parameter `{0}` already; letter case does not tell parameters apart")]
    SameName(String),
    /// No kind of entry.
    #[error("`{given}` is no kind of entry{}; there are {}", suggestion(.meant.as_deref()), all_kinds())]
    Kind {
        /// What it says.
        given: String,
        /// What may have been meant.
        meant: Option<String>,
    },
    /// No kind of validation.
    #[error(
        "`{0}` is no kind of validation; there are AllowEmpty, Boolean, Enumeration and RegularExpression"
    )]
    ValidationKind(String),
    /// Web Deploy has room for one.
    #[error("a parameter has one rule for its values, beside AllowEmpty; leave one of them out")]
    TwoRules,
    /// Nothing to choose from.
    #[error("an Enumeration needs its values in `validationString`, with commas between them")]
    NoChoices,
    /// Not a regular expression.
    #[error("{attribute}: {source}")]
    Pattern {
        /// Where it stands.
        attribute: &'static str,
        /// What is wrong with it.
        source: BadPattern,
    },
    /// Not an XPath expression that gives nodes.
    #[error("match: {0}")]
    XPath(#[from] XPathError),
    /// Not a position.
    #[error("match: {0}")]
    Position(#[from] NotAPosition),
}

fn suggestion(meant: Option<&str>) -> String {
    meant.map(|meant| format!(" (did you mean `{meant}`?)")).unwrap_or_default()
}

fn all_kinds() -> String {
    super::Kind::ALL.map(super::Kind::as_str).join(", ")
}

/// Something wrong, with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {}{fault}", .parameter.as_ref().map(|name| format!("parameter `{name}`: ")).unwrap_or_default())]
pub struct Mistake {
    /// The line, counted from 1.
    pub line: u32,
    /// The column in characters, counted from 1.
    pub column: u32,
    /// The parameter that it is about, if it is known.
    pub parameter: Option<String>,
    /// What is wrong.
    pub fault: Fault,
}

/// All that is wrong in a file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, mistake) in self.0.iter().enumerate() {
            write!(f, "{}{mistake}", if nth == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// The name nearest to what was written, if one is near enough to be meant.
pub(super) fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase();
    let near = |name: &str| strsim::jaro_winkler(&given, &name.to_lowercase());
    names
        .into_iter()
        .map(|name| (near(name), name))
        .filter(|(near, _)| *near > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
