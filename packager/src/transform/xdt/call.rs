//! `Name(arguments)`, as transforms and locators are written.

use crate::transform::xdt::fault::{Fault, with_suggestion};

/// A name with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    /// All that is between the parentheses, if there is something.
    arguments: Option<String>,
}

impl Call {
    /// Reads a call of something that is known.
    pub(super) fn parse(
        value: &str,
        known: &[&str],
        what: &'static str,
        imports: bool,
    ) -> Result<Self, Fault> {
        let malformed = || Fault::Malformed { what, value: value.to_owned() };
        let trimmed = value.trim();
        let (name, arguments) = match trimmed.split_once('(') {
            Some((name, rest)) => (name.trim_end(), Some(rest.strip_suffix(')').ok_or_else(malformed)?)),
            None => (trimmed, None),
        };
        if name.is_empty() || !name.chars().all(|character| character.is_alphanumeric() || character == '_') {
            return Err(malformed());
        }
        if !known.contains(&name) {
            let name = with_suggestion(name, known);
            return Err(if imports { Fault::Imported { what, name } } else { Fault::Unknown { what, name } });
        }
        let arguments = arguments.filter(|arguments| !arguments.is_empty()).map(str::to_owned);
        Ok(Self { name: name.to_owned(), arguments })
    }

    /// The arguments, separated by commas that are in no parentheses.
    pub(super) fn list(&self) -> Vec<&str> {
        let Some(arguments) = &self.arguments else { return Vec::new() };
        let mut list = Vec::new();
        let (mut depth, mut start) = (0_i32, 0);
        for (at, character) in arguments.char_indices() {
            match character {
                '(' => depth += 1,
                ')' => depth -= 1,
                ',' if depth == 0 => {
                    list.push(arguments[start..at].trim());
                    start = at + 1;
                }
                _ => {}
            }
        }
        list.push(arguments[start..].trim());
        list
    }

    /// All arguments as one expression, which may hold commas.
    pub(super) fn expression(&self) -> Result<&str, Fault> {
        let given = self.arguments.as_deref().map(str::trim).filter(|given| !given.is_empty());
        given.ok_or_else(|| Fault::NeedsExpression(self.name.clone()))
    }

    pub(super) fn takes_nothing(&self) -> Result<(), Fault> {
        if self.arguments.is_some() { Err(Fault::TakesNothing(self.name.clone())) } else { Ok(()) }
    }
}

/// `true` or `false`, as .NET reads them.
pub(super) fn truth(value: &str) -> Result<bool, Fault> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Fault::NotATruth(value.to_owned())),
    }
}
