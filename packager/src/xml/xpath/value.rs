//! Values and how they become one another (XPath 1.0, sections 3.2, 3.4 and 4).

use crate::xml::{Node, xpath::Outcome};

pub(super) type Value<'d, 't> = Outcome<'d, 't>;

impl Outcome<'_, '_> {
    /// As `boolean()` has it.
    pub fn truth(&self) -> bool {
        match self {
            Self::Nodes(nodes) => !nodes.is_empty(),
            Self::Boolean(truth) => *truth,
            Self::Number(number) => *number != 0.0 && !number.is_nan(),
            Self::Text(text) => !text.is_empty(),
        }
    }

    /// As `number()` has it.
    pub fn number(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Boolean(truth) => f64::from(u8::from(*truth)),
            _ => number(&self.text()),
        }
    }

    /// As `string()` has it.
    pub fn text(&self) -> String {
        match self {
            Self::Nodes(nodes) => nodes.first().map(|node| node.string_value()).unwrap_or_default(),
            Self::Boolean(truth) => truth.to_string(),
            Self::Number(number) => written(*number),
            Self::Text(text) => text.clone(),
        }
    }
}

/// A number as the grammar writes it, with a sign and spaces around; anything else is none.
pub(super) fn number(text: &str) -> f64 {
    let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
    let digits = trimmed.strip_prefix('-').unwrap_or(trimmed);
    let plain =
        digits.chars().all(|c| c.is_ascii_digit() || c == '.') && digits.chars().any(|c| c.is_ascii_digit());
    if plain { trimmed.parse().unwrap_or(f64::NAN) } else { f64::NAN }
}

fn written(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else if number == 0.0 {
        "0".to_owned()
    } else {
        number.to_string()
    }
}

/// What a comparison asks of two numbers, or of two strings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub(super) fn numbers(self, left: f64, right: f64) -> bool {
        match self {
            // Exactly, as the specification has it.
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }

    /// Strings are compared as such only for being equal or not.
    pub(super) fn strings(self, left: &str, right: &str) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            _ => self.numbers(number(left), number(right)),
        }
    }

    pub(super) fn truths(self, left: bool, right: bool) -> bool {
        self.numbers(f64::from(u8::from(left)), f64::from(u8::from(right)))
    }

    /// The same question with its sides changed over.
    pub(super) const fn turned(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }

    const fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual)
    }
}

/// Compares two values of which at most one is a set of nodes that needs comparing one by one.
pub(super) fn plain(left: &Value<'_, '_>, comparison: Comparison, right: &Value<'_, '_>) -> bool {
    use Outcome::{Boolean, Number};
    match (left, right) {
        (Boolean(_), _) | (_, Boolean(_)) if comparison.is_equality() => {
            comparison.truths(left.truth(), right.truth())
        }
        (Number(_), _) | (_, Number(_)) => comparison.numbers(left.number(), right.number()),
        _ => comparison.strings(&left.text(), &right.text()),
    }
}

/// One text against a value that is no set of nodes.
pub(super) fn one(text: &str, comparison: Comparison, other: &Value<'_, '_>) -> bool {
    match other {
        Outcome::Number(number_) => comparison.numbers(number(text), *number_),
        _ => comparison.strings(text, &other.text()),
    }
}

/// In document order, each once.
pub(super) fn in_order(nodes: &mut Vec<Node<'_, '_>>) {
    nodes.sort_unstable();
    nodes.dedup();
}
