//! XPath expressions that name nodes.

use xpath_eval::{Expr, PathExpr, PrimaryExpr};

/// Longest expression that is taken, in bytes, and the most brackets within brackets: the parser calls itself for each.
const LONGEST: usize = 4096;
const DEEPEST: usize = 40;

/// An XPath 1.0 expression that gives nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct XPath {
    source: String,
    pub(super) parsed: Expr,
}

impl Eq for XPath {}

/// A text that is no such expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadXPath {
    /// Not an expression.
    #[error("`{text}` is no XPath expression: {why} at its character {column}")]
    Syntax {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: String,
        /// Where, counted from 1.
        column: usize,
    },
    /// An expression that gives something else.
    #[error("the XPath expression `{0}` does not select nodes, but gives a value")]
    NoNodes(String),
    /// Too long, or too deep.
    #[error("the XPath expression is longer than 4,096 bytes, or has more than 40 brackets within brackets")]
    TooComplex,
}

impl XPath {
    /// Understands an expression.
    ///
    /// # Errors
    /// It is none, or gives no nodes.
    pub fn new(source: &str) -> Result<Self, BadXPath> {
        if source.len() > LONGEST || depth(source) > DEEPEST {
            return Err(BadXPath::TooComplex);
        }
        let parsed = xpath_eval::parse(source).map_err(|error| BadXPath::Syntax {
            text: source.to_owned(),
            why: error.message,
            column: source.get(..error.position).unwrap_or(source).chars().count() + 1,
        })?;
        if !gives_nodes(&parsed) {
            return Err(BadXPath::NoNodes(source.to_owned()));
        }
        Ok(Self { source: source.to_owned(), parsed })
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

/// How deep brackets and signs are nested, at most.
fn depth(source: &str) -> usize {
    let (mut depth, mut deepest, mut signs) = (0usize, 0, 0);
    for c in source.chars() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        signs = if c == '-' {
            signs + 1
        } else if c.is_whitespace() {
            signs
        } else {
            0
        };
        deepest = deepest.max(depth).max(signs);
    }
    deepest
}

fn gives_nodes(expression: &Expr) -> bool {
    match expression {
        Expr::Union(a, b) => gives_nodes(a) && gives_nodes(b),
        Expr::Path(PathExpr::Location(_)) => true,
        Expr::Path(PathExpr::Filter(filter) | PathExpr::FilterLocation(filter, _)) => match &filter.primary {
            PrimaryExpr::Parenthesized(inside) => gives_nodes(inside),
            PrimaryExpr::Function(call) => call.name.prefix.is_none() && call.name.local == "id",
            PrimaryExpr::Variable(_) | PrimaryExpr::Literal(_) | PrimaryExpr::Number(_) => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_name_nodes_are_taken() {
        for good in ["//a", "/r/@a | /r/b/text()", "(//a)[1]", "id('x')/b", "//x:c/@a", "//comment()"] {
            XPath::new(good).unwrap_or_else(|bad| panic!("{bad}"));
        }
    }

    #[test]
    fn others_are_refused_with_their_place() {
        let told = XPath::new("//add[@key=").unwrap_err().to_string();
        assert!(told.contains("//add[@key=") && told.contains("character 12"), "{told}");
        for bad in ["", "count(//r)", "1", "'x'", "$x", "//a = 1", "-//a", "//a[", "//a | 1"] {
            assert!(XPath::new(bad).is_err(), "{bad}");
        }
        for deep in ["(".repeat(50) + "a" + &")".repeat(50), "-".repeat(50) + "a", "a".repeat(5000)] {
            assert_eq!(XPath::new(&deep), Err(BadXPath::TooComplex));
        }
    }
}
