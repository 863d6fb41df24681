//! `when`: the small language in which a step says in which runs it takes part, and after what.
//!
//! [`lex`] finds words and texts, [`parse`] makes a tree of them, [`check`] says what each part means and refuses what means
//! nothing, [`fold`] decides all that is known when a plan is made; what is left is a [`Condition`](staith_model::Condition)
//! over what earlier steps came to.

mod check;
mod explain;
mod fold;
mod functions;
mod lex;
mod parse;
#[cfg(test)]
mod tests;

use std::ops::Range;

use staith_model::Ending;

use super::{
    flaw::Flaw,
    values,
    walk::{Placed, Table},
};

pub(super) use check::Known;
pub(crate) use fold::{Decision, Facts};

/// A condition that was understood, with no name in it that means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    text: String,
    truth: Truth,
    /// Steps that it names, and where in the text.
    steps: Vec<(String, Range<usize>)>,
    asks_outcomes: bool,
}

/// What a condition means.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Truth {
    Literal(bool),
    Not(Box<Truth>),
    All(Vec<Truth>),
    Any(Vec<Truth>),
    /// The fact is one of these; of a branch, a target and a tag these are globs.
    Is {
        fact: Fact,
        one_of: Vec<String>,
        as_globs: bool,
    },
    /// There is a branch, a target, a tag.
    Present(Fact),
    /// The parameter is true.
    Flag(String),
    /// A path that changed is matched by one of these globs.
    Changed(Vec<String>),
    /// The steps that are needed came to this.
    Needs(Ending),
    /// A step came to this; of a step with a matrix, all its variants; of `Failed`, at least one.
    Step {
        step: String,
        is: Ending,
    },
}

/// What a condition can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fact {
    Event,
    Branch,
    Target,
    Tag,
    Parameter(String),
    Matrix(String),
}

impl Fact {
    fn word(&self) -> String {
        match self {
            Self::Event => "event".into(),
            Self::Branch => "branch".into(),
            Self::Target => "target".into(),
            Self::Tag => "tag".into(),
            Self::Parameter(name) => format!("parameters.{name}"),
            Self::Matrix(name) => format!("matrix.{name}"),
        }
    }
}

/// `when` of a table, and where it is written.
pub(super) fn read(table: &Table<'_>, known: &Known<'_>) -> Option<Placed<When>> {
    let text = table.text("when", values::plain)?;
    match When::understand(&text.value, known) {
        Ok(when) => Some(Placed { value: when, place: text.place }),
        Err(flaws) => {
            flaws.into_iter().for_each(|flaw| table.complain_inside("when", text.place.clone(), flaw));
            None
        }
    }
}

impl When {
    /// Understands a condition.
    ///
    /// # Errors
    /// All that is wrong with it; of mistakes in its form, the first.
    pub(super) fn understand(text: &str, known: &Known<'_>) -> Result<Self, Vec<Flaw>> {
        let tree = parse::parse(text).map_err(|flaw| vec![flaw])?;
        check::check(text, &tree, known)
    }

    /// The condition as it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The steps whose outcomes it asks for by name, each with its place in the text.
    pub(super) fn steps(&self) -> &[(String, Range<usize>)] {
        &self.steps
    }
}
