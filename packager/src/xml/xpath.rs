//! XPath 1.0 with a bound on what an answer costs.
//!
//! The grammar is the crate `xpath-eval`'s. Its evaluation has no bound, so that `//*[//*=//*]` over a large file would run for
//! hours; the one here counts what it does and stops. Expressions come from packages and from transform files.

mod axes;
mod check;
mod eval;
mod functions;
mod value;

use std::fmt;

use xpath_eval::Expr;

use crate::xml::Node;

/// Bytes of the longest expression.
const LONGEST: usize = 8 * 1024;
/// Brackets and parentheses within each other.
const MOST_NESTING: usize = 32;
/// Operators of one expression. Each may cost a level of recursion.
const MOST_OPERATORS: usize = 256;

/// A parsed expression.
#[derive(Clone)]
pub struct XPath {
    written: String,
    parsed: Expr,
    prefixes: Vec<String>,
}

/// What an expression comes to.
#[derive(Debug, Clone)]
pub enum Outcome<'d, 't> {
    /// Nodes in document order.
    Nodes(Vec<Node<'d, 't>>),
    /// True or false.
    Boolean(bool),
    /// A number; may be none (`NaN`).
    Number(f64),
    /// A string.
    Text(String),
}

/// What prefixes in expressions stand for. As the specification has it, a name without a prefix is in no namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces(Vec<(String, String)>);

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XPathError {
    /// It breaks the grammar, or uses what is not there.
    #[error("the XPath expression `{expression}` is wrong at column {column}: {why}")]
    Wrong {
        /// The expression, shortened where it is long.
        expression: String,
        /// In characters, from 1.
        column: usize,
        /// What is wrong.
        why: String,
    },
    /// It is longer or deeper than expressions are taken.
    #[error("the XPath expression `{expression}` is {why}; write a shorter one")]
    TooMuch {
        /// The expression, shortened.
        expression: String,
        /// What there is too much of.
        why: &'static str,
    },
    /// A prefix that stands for nothing.
    #[error(
        "the XPath expression `{expression}` uses the prefix `{prefix}` at column {column}, which stands for no namespace here; declare it with `xmlns:{prefix}=\"…\"`"
    )]
    Prefix {
        /// The expression, shortened.
        expression: String,
        /// The prefix.
        prefix: String,
        /// In characters, from 1.
        column: usize,
    },
    /// It gives a number, a string or a truth value where nodes are needed.
    #[error(
        "the XPath expression `{expression}` selects no nodes: it gives a value; write a path to what is meant"
    )]
    NoNodes {
        /// The expression, shortened.
        expression: String,
    },
    /// It would look at too much.
    #[error(
        "the XPath expression `{expression}` takes too many steps on this document; name the elements on the way in place of `//`"
    )]
    TooCostly {
        /// The expression, shortened.
        expression: String,
    },
}

impl Namespaces {
    /// Lets a prefix stand for a namespace; a later one takes the place of an earlier one.
    #[must_use]
    pub fn with(mut self, prefix: impl Into<String>, uri: impl Into<String>) -> Self {
        let prefix = prefix.into();
        self.0.retain(|(known, _)| *known != prefix);
        self.0.push((prefix, uri.into()));
        self
    }

    /// Those in scope at an element, and `default` as a prefix for the one without a prefix, if that is given.
    pub fn in_scope_at(element: roxmltree::Node<'_, '_>, default: Option<&str>) -> Self {
        let mut namespaces = Self::default();
        for namespace in element.namespaces() {
            match (namespace.name(), default) {
                (Some(prefix), _) => namespaces = namespaces.with(prefix, namespace.uri()),
                (None, Some(prefix)) => namespaces = namespaces.with(prefix, namespace.uri()),
                (None, None) => {}
            }
        }
        namespaces
    }

    /// What a prefix stands for.
    pub fn uri(&self, prefix: &str) -> Option<&str> {
        if prefix == "xml" {
            return Some("http://www.w3.org/XML/1998/namespace");
        }
        self.0.iter().find(|(known, _)| known == prefix).map(|(_, uri)| uri.as_str())
    }
}

impl XPath {
    /// Parses an expression, and refuses functions and variables that there are not.
    ///
    /// # Errors
    /// The expression is wrong, or longer or deeper than is taken.
    pub fn parse(expression: &str) -> Result<Self, XPathError> {
        check::bounds(expression)
            .map_err(|why| XPathError::TooMuch { expression: shorten(expression), why })?;
        let parsed = xpath_eval::parse(expression)
            .map_err(|error| wrong(expression, error.position, error.message))?;
        let prefixes =
            check::names(&parsed).map_err(|flaw| wrong(expression, flaw.offset_in(expression), flaw.why))?;
        Ok(Self { written: expression.to_owned(), parsed, prefixes })
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Evaluates the expression with `start` as its context node.
    ///
    /// # Errors
    /// A prefix stands for nothing, something that has to be nodes is not, or too many steps are needed.
    pub fn evaluate<'d, 't>(
        &self,
        start: Node<'d, 't>,
        namespaces: &Namespaces,
    ) -> Result<Outcome<'d, 't>, XPathError> {
        for prefix in &self.prefixes {
            if namespaces.uri(prefix).is_none() {
                let offset = self.written.find(&format!("{prefix}:")).unwrap_or_default();
                return Err(XPathError::Prefix {
                    expression: shorten(&self.written),
                    prefix: prefix.clone(),
                    column: column(&self.written, offset),
                });
            }
        }
        eval::Evaluation::new(namespaces).outcome(&self.parsed, start).map_err(|stop| match stop {
            eval::Stop::TooCostly => XPathError::TooCostly { expression: shorten(&self.written) },
            eval::Stop::NotNodes(what) => wrong(&self.written, 0, format!("{what} has to be a set of nodes")),
        })
    }

    pub(crate) fn gives_no_nodes(&self) -> XPathError {
        XPathError::NoNodes { expression: shorten(&self.written) }
    }
}

impl fmt::Debug for XPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("XPath").field(&self.written).finish()
    }
}

impl PartialEq for XPath {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for XPath {}

fn wrong(expression: &str, offset: usize, why: String) -> XPathError {
    XPathError::Wrong { expression: shorten(expression), column: column(expression, offset), why }
}

fn column(expression: &str, offset: usize) -> usize {
    expression.char_indices().take_while(|(at, _)| *at < offset).count() + 1
}

fn shorten(expression: &str) -> String {
    const SHOWN: usize = 200;
    match expression.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &expression[..end]),
        None => expression.to_owned(),
    }
}
