//! Variables put into files of settings, as the file transform of Azure Pipelines does it.
//!
//! In JSON a variable's name is a path, `ConnectionStrings.Default` or `servers.0.port`; letter case counts. What is there keeps
//! its type: a number becomes a number, an object one that is given as JSON. In XML a name is what the settings sections of
//! .NET's configuration files call `key` or `name`, or an attribute's name within them.
//!
//! Otherwise than there, the file keeps its comments and its layout, a value may hold any character, and a variable that is
//! found nowhere is an error unless it is marked as optional.

mod json;
mod xml;

use std::{collections::BTreeSet, fmt};

use staith_model::Secret;

use crate::xml::{Position, Text, XmlError};

/// A value for what a name leads to.
#[derive(Debug, Clone)]
pub struct Variable {
    /// The path, key or name.
    pub name: String,
    /// What comes there.
    pub value: VariableValue,
    /// Whether it may be found nowhere.
    pub optional: bool,
}

/// The value of a variable.
#[derive(Clone)]
pub enum VariableValue {
    /// One that anybody may see.
    Plain(String),
    /// One that nobody may.
    Secret(Secret),
}

impl VariableValue {
    /// Lets `reader` see the value.
    pub(crate) fn expose_to<R>(&self, reader: impl FnOnce(&str) -> R) -> R {
        match self {
            Self::Plain(value) => reader(value),
            Self::Secret(secret) => secret.expose_to(reader),
        }
    }
}

impl fmt::Debug for VariableValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(value) => f.debug_tuple("Plain").field(value).finish(),
            Self::Secret(secret) => secret.fmt(f),
        }
    }
}

/// Why variables can't be put into a file. No message holds a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariablesError {
    /// It is no JSON.
    #[error("line {}, column {}: it is not JSON: {why}", at.line, at.column)]
    Json {
        /// Where it stops being JSON.
        at: Position,
        /// What is wrong there.
        why: String,
    },
    /// It is no XML, or can't be edited so.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// The value is of another type than what is there.
    #[error("line {}, column {}: `{name}` is {there} there, and the value given is none", at.line, at.column)]
    Type {
        /// The variable.
        name: String,
        /// What is there: a number, `true` or `false`, an object, a list.
        there: &'static str,
        /// Where.
        at: Position,
    },
    /// One variable replaces what another is in.
    #[error("`{outer}` replaces all that `{inner}` is in; give one of them")]
    Nested {
        /// The one that replaces more.
        outer: String,
        /// The one within.
        inner: String,
    },
}

/// A file with variables put in.
#[derive(Debug)]
pub struct Substituted {
    /// The text, which is the same where nothing was found.
    pub text: Text,
    /// In how many places each variable was found, in the order of the variables.
    pub found: Vec<usize>,
    /// Names that are there, for those that were not found.
    pub(crate) names: BTreeSet<String>,
}

/// Puts variables into a JSON or XML file; which of the two it is, its first character tells.
///
/// # Errors
/// The file is neither, or a value does not fit to what is there.
pub fn substitute(file: &Text, variables: &[Variable]) -> Result<Substituted, VariablesError> {
    if file.as_str().trim_start().starts_with('<') {
        xml::substitute(file, variables)
    } else {
        json::substitute(file, variables)
    }
}
