//! What is wrong with a transform.

use roxmltree::Node as Tree;

use crate::xml::{Document, Position, XPathError, XmlError};

/// Why a transform file can't be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XdtError {
    /// The transform file is no XML.
    #[error("the transform file can't be read: {0}")]
    TransformFile(XmlError),
    /// The target is no XML.
    #[error("the file to transform can't be read: {0}")]
    Target(XmlError),
    /// A transform is wrong, or can't be carried out.
    #[error("line {}, column {} of the transform file: {fault}", at.line, at.column)]
    Transform {
        /// The attribute or element that says it.
        at: Position,
        /// What is wrong.
        fault: Fault,
    },
}

impl XdtError {
    pub(super) const fn transform_file(error: XmlError) -> Self {
        Self::TransformFile(error)
    }
}

/// What is wrong with one transform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The file never mentions the namespace of transforms.
    #[error(
        "the file has no transforms: declare xmlns:xdt=\"http://schemas.microsoft.com/XML-Document-Transform\" and use xdt:Transform"
    )]
    NoNamespace,
    /// The namespace is there, and nothing of it is used.
    #[error("no element of the file has xdt:Transform, so that it would change nothing")]
    NothingToDo,
    /// More than are taken.
    #[error("a file with more than {0} transforms is not taken; split it")]
    TooMany(usize),
    /// Not of the form `Name(arguments)`.
    #[error("`{value}` is no {what}: write a name, and its arguments in parentheses")]
    Malformed {
        /// Transform or locator.
        what: &'static str,
        /// What is there.
        value: String,
    },
    /// There is none of this name.
    #[error("there is no {what} {name}")]
    Unknown {
        /// Transform or locator.
        what: &'static str,
        /// Its name, and perhaps one that is meant.
        name: String,
    },
    /// A name that might come from a .NET assembly.
    #[error(
        "there is no {what} {name}; xdt:Import names .NET code, which is not run here; use the transforms that everybody has"
    )]
    Imported {
        /// Transform or locator.
        what: &'static str,
        /// Its name, and perhaps one that is meant.
        name: String,
    },
    /// An attribute in the namespace of transforms that means nothing.
    #[error("there is no attribute xdt:{0}")]
    UnknownAttribute(String),
    /// An element in the namespace of transforms that means nothing.
    #[error("there is no element xdt:{0}")]
    UnknownElement(String),
    /// An import that lacks what it needs, or has what it can't have.
    #[error("xdt:Import {0}")]
    Import(&'static str),
    /// Neither true nor false.
    #[error("`{0}` is neither `true` nor `false`")]
    NotATruth(String),
    /// Arguments that nobody reads.
    #[error("{0} takes no arguments; a choice of elements belongs into xdt:Locator")]
    TakesNothing(String),
    /// An expression is missing.
    #[error("{0} needs an XPath expression in parentheses")]
    NeedsExpression(String),
    /// `Match` without names.
    #[error("Match needs the names of attributes in parentheses, for example Match(name)")]
    NeedsNames,
    /// An attribute is named that the transform's own element lacks.
    #[error("{call} names the attribute `{name}`, which the element does not have")]
    NoSuchAttribute {
        /// The transform or locator.
        call: String,
        /// The attribute.
        name: String,
    },
    /// The transform has no attribute to set.
    #[error("the element has no attributes to set")]
    NoAttributes,
    /// A path that leads nowhere.
    #[error("nothing in the file matches {path}{}; correct the path or the locator, or write xdt:SupressWarnings=\"true\" if nothing may match", lost.as_ref().map(|lost| format!(" (up to {lost} nothing does)")).unwrap_or_default())]
    NoMatch {
        /// The path.
        path: String,
        /// The beginning of it that already matches nothing, where that is shorter.
        lost: Option<String>,
    },
    /// A path to an attribute or a text.
    #[error("the path leads to {0}, and transforms are about elements")]
    NotAnElement(&'static str),
    /// Directives for parameters, which Visual Studio's packaging reads.
    #[error(
        "`{{%…%}}` in `{0}` makes a parameter when Visual Studio packages; declare the parameter in the package instead"
    )]
    Directive(String),
    /// An expression is wrong.
    #[error(transparent)]
    XPath(#[from] XPathError),
    /// The change can't be made.
    #[error("{0}")]
    Edit(#[from] XmlError),
}

impl Fault {
    pub(super) fn at(self, document: &Document<'_>, offset: usize) -> XdtError {
        XdtError::Transform { at: document.position(offset), fault: self }
    }
}

/// A name in quotes, and one of the known that somebody may have meant.
pub(crate) fn with_suggestion(name: &str, known: &[&str]) -> String {
    const NEAR: f64 = 0.75;
    let likeness =
        |other: &&&str| (strsim::jaro_winkler(&name.to_lowercase(), &other.to_lowercase()) * 1000.0) as i64;
    if known.is_empty() {
        return format!("`{name}`");
    }
    match known.iter().max_by_key(likeness).filter(|best| likeness(best) as f64 >= NEAR * 1000.0) {
        Some(best) => format!("`{name}`; did you mean `{best}`?"),
        None => format!("`{name}`; there are {}", known.join(", ")),
    }
}

/// Elements of the namespace: imports, which are checked and not followed.
pub(super) fn check_own_element(element: Tree<'_, '_>) -> Result<(), Fault> {
    let name = element.tag_name().name();
    if name != "Import" {
        return Err(Fault::UnknownElement(with_suggestion(name, &["Import"])));
    }
    if element.attributes().any(|attribute| !matches!(attribute.name(), "assembly" | "namespace" | "path")) {
        return Err(Fault::Import("has the attributes `assembly` or `path`, and `namespace`, and no others"));
    }
    match (element.attribute("assembly"), element.attribute("path"), element.attribute("namespace")) {
        (Some(_), Some(_), _) => Err(Fault::Import("has either `assembly` or `path`, not both")),
        (None, None, _) => Err(Fault::Import("needs `assembly` or `path`")),
        (_, _, None) => Err(Fault::Import("needs `namespace`")),
        _ => Ok(()),
    }
}
