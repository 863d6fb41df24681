//! XPath expressions that name nodes.

use xpath_eval::{Expr, PathExpr, PrimaryExpr};

use crate::xml::{XPath, XPathError};

/// Understands an expression that gives nodes, whatever the document.
pub(super) fn of_nodes(source: &str) -> Result<XPath, XPathError> {
    let parsed = XPath::parse(source)?;
    // It has been parsed within its bounds, so it can be once more.
    let gives_nodes = xpath_eval::parse(source).is_ok_and(|expression| gives_nodes(&expression));
    if gives_nodes { Ok(parsed) } else { Err(parsed.gives_no_nodes()) }
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
        for good in ["//a", "/r/@a | /r/b/text()", "(//a)[1]", "//x:c/@a", "//comment()"] {
            of_nodes(good).unwrap_or_else(|bad| panic!("{bad}"));
        }
    }

    #[test]
    fn others_are_refused_with_their_place() {
        let told = of_nodes("//add[@key=").unwrap_err().to_string();
        assert!(told.contains("//add[@key=") && told.contains("column 12"), "{told}");
        for bad in ["", "count(//r)", "1", "'x'", "$x", "//a = 1", "-//a", "//a[", "//a | 1"] {
            assert!(of_nodes(bad).is_err(), "{bad}");
        }
        for deep in ["(".repeat(50) + "a" + &")".repeat(50), "-".repeat(500) + "a", "a".repeat(9000)] {
            assert!(matches!(of_nodes(&deep), Err(XPathError::TooMuch { .. })));
        }
    }
}
