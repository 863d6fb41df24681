//! Evaluation, each step of which is paid for.

use std::cell::Cell;

use xpath_eval::{
    AdditiveOp, EqualityOp, Expr, FilterExpr, LocationPath, MultiplicativeOp, NodeTest, PathExpr,
    PrimaryExpr, QName, RelationalOp, Step,
};

use crate::xml::{
    Node,
    xpath::{
        Namespaces, Outcome, axes, functions,
        value::{Comparison, Value, in_order, one, plain},
    },
};

/// Steps of one evaluation: nodes looked at, and pieces of text read. About a second's worth.
const STEPS: u64 = 8_000_000;
/// Nodes of one set, before those that were found twice are taken out.
const LARGEST_SET: usize = 1 << 20;
/// Bytes of text that are as much work as looking at a node.
const BYTES_A_STEP: u64 = 64;

/// Why there is no answer.
pub(super) enum Stop {
    TooCostly,
    NotNodes(&'static str),
}

/// What is left to spend.
pub(super) struct Budget(Cell<u64>);

impl Budget {
    pub(super) fn spend(&self, steps: u64) -> Result<(), Stop> {
        let left = self.0.get().checked_sub(steps).ok_or(Stop::TooCostly)?;
        self.0.set(left);
        Ok(())
    }
}

/// Where an expression is evaluated: at a node, which is the `position`th of `size`.
#[derive(Clone, Copy)]
pub(super) struct Context<'d, 't> {
    pub(super) node: Node<'d, 't>,
    pub(super) position: usize,
    pub(super) size: usize,
}

pub(super) struct Evaluation<'n> {
    namespaces: &'n Namespaces,
    pub(super) budget: Budget,
}

impl<'n> Evaluation<'n> {
    pub(super) fn new(namespaces: &'n Namespaces) -> Self {
        Self { namespaces, budget: Budget(Cell::new(STEPS)) }
    }

    pub(super) fn outcome<'d, 't>(
        &self,
        expression: &Expr,
        start: Node<'d, 't>,
    ) -> Result<Outcome<'d, 't>, Stop> {
        self.value(expression, Context { node: start, position: 1, size: 1 })
    }

    pub(super) fn value<'d, 't>(
        &self,
        expression: &Expr,
        context: Context<'d, 't>,
    ) -> Result<Value<'d, 't>, Stop> {
        self.budget.spend(1)?;
        match expression {
            Expr::Or(left, right) => Ok(Outcome::Boolean(
                self.value(left, context)?.truth() || self.value(right, context)?.truth(),
            )),
            Expr::And(left, right) => Ok(Outcome::Boolean(
                self.value(left, context)?.truth() && self.value(right, context)?.truth(),
            )),
            Expr::Equality(left, operator, right) => {
                let comparison = match operator {
                    EqualityOp::Eq => Comparison::Equal,
                    EqualityOp::Ne => Comparison::NotEqual,
                };
                self.compare(left, comparison, right, context)
            }
            Expr::Relational(left, operator, right) => {
                let comparison = match operator {
                    RelationalOp::Lt => Comparison::Less,
                    RelationalOp::Le => Comparison::LessOrEqual,
                    RelationalOp::Gt => Comparison::Greater,
                    RelationalOp::Ge => Comparison::GreaterOrEqual,
                };
                self.compare(left, comparison, right, context)
            }
            Expr::Additive(left, operator, right) => {
                let (left, right) = (self.number(left, context)?, self.number(right, context)?);
                Ok(Outcome::Number(match operator {
                    AdditiveOp::Add => left + right,
                    AdditiveOp::Sub => left - right,
                }))
            }
            Expr::Multiplicative(left, operator, right) => {
                let (left, right) = (self.number(left, context)?, self.number(right, context)?);
                Ok(Outcome::Number(match operator {
                    MultiplicativeOp::Mul => left * right,
                    MultiplicativeOp::Div => left / right,
                    MultiplicativeOp::Mod => left % right,
                }))
            }
            Expr::Negate(inner) => Ok(Outcome::Number(-self.number(inner, context)?)),
            Expr::Union(left, right) => {
                let mut nodes = self.nodes(left, context, "each side of `|`")?;
                nodes.extend(self.nodes(right, context, "each side of `|`")?);
                in_order(&mut nodes);
                Ok(Outcome::Nodes(nodes))
            }
            Expr::Path(PathExpr::Location(path)) => {
                self.path(path, vec![context.node], context.node).map(Outcome::Nodes)
            }
            Expr::Path(PathExpr::Filter(filter)) => self.filter(filter, context),
            Expr::Path(PathExpr::FilterLocation(filter, path)) => match self.filter(filter, context)? {
                Outcome::Nodes(nodes) => self.path(path, nodes, context.node).map(Outcome::Nodes),
                _ => Err(Stop::NotNodes("what comes before `/`")),
            },
        }
    }

    /// The text of a node, paid for by its length.
    pub(super) fn text_of(&self, node: Node<'_, '_>) -> Result<String, Stop> {
        let text = node.string_value();
        let elements = match node {
            Node::Tree(tree) => tree.range().len() as u64,
            _ => text.len() as u64,
        };
        self.budget.spend(1 + elements / BYTES_A_STEP)?;
        Ok(text)
    }

    pub(super) fn text(&self, expression: &Expr, context: Context<'_, '_>) -> Result<String, Stop> {
        match self.value(expression, context)? {
            Outcome::Nodes(nodes) => nodes.first().map_or(Ok(String::new()), |node| self.text_of(*node)),
            other => Ok(other.text()),
        }
    }

    pub(super) fn number(&self, expression: &Expr, context: Context<'_, '_>) -> Result<f64, Stop> {
        match self.value(expression, context)? {
            Outcome::Nodes(nodes) => {
                let text = nodes.first().map_or(Ok(String::new()), |node| self.text_of(*node))?;
                Ok(Outcome::Text(text).number())
            }
            other => Ok(other.number()),
        }
    }

    pub(super) fn nodes<'d, 't>(
        &self,
        expression: &Expr,
        context: Context<'d, 't>,
        what: &'static str,
    ) -> Result<Vec<Node<'d, 't>>, Stop> {
        match self.value(expression, context)? {
            Outcome::Nodes(nodes) => Ok(nodes),
            _ => Err(Stop::NotNodes(what)),
        }
    }

    fn compare<'d, 't>(
        &self,
        left: &Expr,
        comparison: Comparison,
        right: &Expr,
        context: Context<'d, 't>,
    ) -> Result<Value<'d, 't>, Stop> {
        let (left, right) = (self.value(left, context)?, self.value(right, context)?);
        let truth = match (left, right) {
            (Outcome::Nodes(left), Outcome::Nodes(right)) => self.compare_sets(&left, comparison, &right)?,
            (Outcome::Nodes(nodes), other) => self.compare_set(&nodes, comparison, &other)?,
            (other, Outcome::Nodes(nodes)) => self.compare_set(&nodes, comparison.turned(), &other)?,
            (left, right) => plain(&left, comparison, &right),
        };
        Ok(Outcome::Boolean(truth))
    }

    fn compare_set(
        &self,
        nodes: &[Node<'_, '_>],
        comparison: Comparison,
        other: &Value<'_, '_>,
    ) -> Result<bool, Stop> {
        if let Outcome::Boolean(truth) = other {
            return Ok(comparison.truths(!nodes.is_empty(), *truth));
        }
        for node in nodes {
            if one(&self.text_of(*node)?, comparison, other) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn compare_sets(
        &self,
        left: &[Node<'_, '_>],
        comparison: Comparison,
        right: &[Node<'_, '_>],
    ) -> Result<bool, Stop> {
        let right = right.iter().map(|node| self.text_of(*node)).collect::<Result<Vec<_>, _>>()?;
        for node in left {
            let text = self.text_of(*node)?;
            for other in &right {
                self.budget.spend(1 + text.len().min(other.len()) as u64 / BYTES_A_STEP)?;
                if comparison.strings(&text, other) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn filter<'d, 't>(&self, filter: &FilterExpr, context: Context<'d, 't>) -> Result<Value<'d, 't>, Stop> {
        let value = match &filter.primary {
            PrimaryExpr::Parenthesized(inner) => self.value(inner, context)?,
            PrimaryExpr::Literal(text) => Outcome::Text(text.clone()),
            PrimaryExpr::Number(number) => Outcome::Number(*number),
            PrimaryExpr::Function(call) => functions::call(self, call, context)?,
            // Refused when the expression was parsed.
            PrimaryExpr::Variable(_) => Outcome::Text(String::new()),
        };
        if filter.predicates.is_empty() {
            return Ok(value);
        }
        let Outcome::Nodes(mut nodes) = value else { return Err(Stop::NotNodes("what comes before `[`")) };
        for predicate in &filter.predicates {
            nodes = self.filtered(nodes, predicate)?;
        }
        Ok(Outcome::Nodes(nodes))
    }

    fn path<'d, 't>(
        &self,
        path: &LocationPath,
        mut from: Vec<Node<'d, 't>>,
        context: Node<'d, 't>,
    ) -> Result<Vec<Node<'d, 't>>, Stop> {
        if path.is_absolute {
            from = vec![std::iter::successors(Some(context), |node| node.parent()).last().unwrap_or(context)];
        }
        for step in &path.steps {
            from = self.step(step, &from)?;
        }
        Ok(from)
    }

    fn step<'d, 't>(&self, step: &Step, from: &[Node<'d, 't>]) -> Result<Vec<Node<'d, 't>>, Stop> {
        let uri = match &step.node_test {
            NodeTest::NamespaceWildcard(prefix) | NodeTest::QName(QName { prefix: Some(prefix), .. }) => {
                self.namespaces.uri(prefix)
            }
            _ => None,
        };
        let mut all = Vec::new();
        for start in from {
            let mut found = Vec::new();
            axes::walk(step.axis, *start, &self.budget, &mut |node| {
                if axes::passes(node, step.axis, &step.node_test, uri) {
                    found.push(node);
                }
                Ok(())
            })?;
            for predicate in &step.predicates {
                found = self.filtered(found, predicate)?;
            }
            all.append(&mut found);
            if all.len() > LARGEST_SET {
                in_order(&mut all);
                if all.len() > LARGEST_SET / 2 {
                    return Err(Stop::TooCostly);
                }
            }
        }
        in_order(&mut all);
        Ok(all)
    }

    fn filtered<'d, 't>(
        &self,
        nodes: Vec<Node<'d, 't>>,
        predicate: &Expr,
    ) -> Result<Vec<Node<'d, 't>>, Stop> {
        let size = nodes.len();
        let mut kept = Vec::new();
        for (index, node) in nodes.into_iter().enumerate() {
            let position = index + 1;
            let keeps = match self.value(predicate, Context { node, position, size })? {
                // Positions are small whole numbers, which `f64` holds exactly.
                Outcome::Number(number) => number == position as f64,
                other => other.truth(),
            };
            if keeps {
                kept.push(node);
            }
        }
        Ok(kept)
    }
}
