//! What can be said of an expression before it is asked.

use xpath_eval::{Expr, FilterExpr, FunctionCall, LocationPath, NodeTest, PathExpr, PrimaryExpr, QName};

use crate::xml::xpath::{LONGEST, MOST_NESTING, MOST_OPERATORS, functions};

/// A name that there is not, and why it is wrong.
pub(super) struct Flaw {
    name: String,
    pub(super) why: String,
}

impl Flaw {
    /// Where the name is; the parser keeps no places, and the first of several is as good as the others.
    pub(super) fn offset_in(&self, expression: &str) -> usize {
        expression.find(&self.name).unwrap_or_default()
    }
}

/// Refuses what would cost the parser or the evaluation too deep a recursion, before either begins.
pub(super) fn bounds(expression: &str) -> Result<(), &'static str> {
    if expression.len() > LONGEST {
        return Err("too long");
    }
    let (mut nesting, mut operators) = (0_usize, 0_usize);
    let mut quote = None;
    let mut previous = ' ';
    for character in expression.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '(' | '[') => nesting += 1,
            (None, ')' | ']') => nesting = nesting.saturating_sub(1),
            (None, '|' | '=' | '<' | '>' | '+' | '*') => operators += 1,
            // Within a name it is a part of it.
            (None, '-') if !previous.is_alphanumeric() => operators += 1,
            _ => {}
        }
        previous = character;
        if nesting > MOST_NESTING {
            return Err("nested too deeply");
        }
    }
    let is_word = |word: &&str| matches!(*word, "or" | "and" | "div" | "mod");
    operators += expression.split(|c: char| !c.is_alphanumeric()).filter(is_word).count();
    if operators > MOST_OPERATORS { Err("made of too many operators") } else { Ok(()) }
}

/// The prefixes that an expression uses; an error where it calls a function or reads a variable that there is not.
pub(super) fn names(expression: &Expr) -> Result<Vec<String>, Flaw> {
    let mut names = Names::default();
    names.expression(expression)?;
    Ok(names.prefixes)
}

#[derive(Default)]
struct Names {
    prefixes: Vec<String>,
}

impl Names {
    fn expression(&mut self, expression: &Expr) -> Result<(), Flaw> {
        match expression {
            Expr::Or(left, right)
            | Expr::And(left, right)
            | Expr::Equality(left, _, right)
            | Expr::Relational(left, _, right)
            | Expr::Additive(left, _, right)
            | Expr::Multiplicative(left, _, right)
            | Expr::Union(left, right) => {
                self.expression(left)?;
                self.expression(right)
            }
            Expr::Negate(inner) => self.expression(inner),
            Expr::Path(PathExpr::Location(path)) => self.path(path),
            Expr::Path(PathExpr::Filter(filter)) => self.filter(filter),
            Expr::Path(PathExpr::FilterLocation(filter, path)) => {
                self.filter(filter)?;
                self.path(path)
            }
        }
    }

    fn path(&mut self, path: &LocationPath) -> Result<(), Flaw> {
        for step in &path.steps {
            match &step.node_test {
                NodeTest::NamespaceWildcard(prefix) | NodeTest::QName(QName { prefix: Some(prefix), .. }) => {
                    if !self.prefixes.contains(prefix) {
                        self.prefixes.push(prefix.clone());
                    }
                }
                _ => {}
            }
            step.predicates.iter().try_for_each(|predicate| self.expression(predicate))?;
        }
        Ok(())
    }

    fn filter(&mut self, filter: &FilterExpr) -> Result<(), Flaw> {
        match &filter.primary {
            PrimaryExpr::Variable(name) => {
                let name = format!("${}", written(name));
                return Err(Flaw { why: format!("there is no variable `{name}`"), name });
            }
            PrimaryExpr::Parenthesized(inner) => self.expression(inner)?,
            PrimaryExpr::Literal(_) | PrimaryExpr::Number(_) => {}
            PrimaryExpr::Function(call) => self.call(call)?,
        }
        filter.predicates.iter().try_for_each(|predicate| self.expression(predicate))
    }

    fn call(&mut self, call: &FunctionCall) -> Result<(), Flaw> {
        let name = written(&call.name);
        let takes = functions::arguments(&name)
            .ok_or_else(|| Flaw { why: format!("there is no function `{name}`"), name: name.clone() })?;
        if !takes.contains(&call.args.len()) {
            let why = format!("`{name}` does not take {} arguments", call.args.len());
            return Err(Flaw { name, why });
        }
        call.args.iter().try_for_each(|argument| self.expression(argument))
    }
}

fn written(name: &QName) -> String {
    match &name.prefix {
        Some(prefix) => format!("{prefix}:{}", name.local),
        None => name.local.clone(),
    }
}
