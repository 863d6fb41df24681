//! Variables in JSON, comments and trailing commas included.

use std::{borrow::Cow, collections::BTreeSet, ops::Range};

use jsonc_parser::{CollectOptions, ParseOptions, ast::Value, common::Ranged as _};

use crate::{
    transform::variables::{Substituted, Variable, VariablesError},
    xml::{Position, Text, position},
};

/// Names that are kept for suggestions.
const MOST_NAMES: usize = 10_000;
/// Bytes of the longest of them. Keys may be long and deep, so that all paths of a file could be far longer than the file.
const LONGEST_NAME: usize = 500;

/// As .NET reads its settings: comments and trailing commas, and no other liberties.
const LIBERTIES: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_loose_object_property_names: false,
    allow_trailing_commas: true,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// A variable of which `rest` is the part of the name that has not been found so far.
#[derive(Clone, Copy)]
struct Sought<'v> {
    variable: usize,
    rest: &'v str,
}

struct Edit {
    range: Range<usize>,
    written: String,
    variable: usize,
}

struct Search<'v> {
    text: &'v str,
    variables: &'v [Variable],
    edits: Vec<Edit>,
    names: BTreeSet<String>,
}

pub(super) fn substitute(file: &Text, variables: &[Variable]) -> Result<Substituted, VariablesError> {
    let text = file.as_str();
    let parsed =
        jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &LIBERTIES).map_err(|error| {
            let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let at = Position { line: count(error.line_display()), column: count(error.column_display()) };
            VariablesError::Json { at, why: error.kind().to_string() }
        })?;
    let mut search = Search { text, variables, edits: Vec::new(), names: BTreeSet::new() };
    if let Some(value) = &parsed.value {
        let sought: Vec<Sought<'_>> = variables
            .iter()
            .enumerate()
            .map(|(variable, known)| Sought { variable, rest: known.name.as_str() })
            .collect();
        search.within(value, &sought, Some(""))?;
    }
    search.finish(file)
}

impl Search<'_> {
    /// Looks at what is in a value. The parser bounds how deep that goes.
    fn within(
        &mut self,
        value: &Value<'_>,
        sought: &[Sought<'_>],
        path: Option<&str>,
    ) -> Result<(), VariablesError> {
        match value {
            Value::Object(object) => {
                let children = object
                    .properties
                    .iter()
                    .map(|property| (Cow::Borrowed(property.name.as_str()), &property.value));
                children.into_iter().try_for_each(|(key, child)| self.child(&key, child, sought, path))
            }
            Value::Array(array) => {
                let children = array.elements.iter().enumerate();
                children
                    .into_iter()
                    .try_for_each(|(index, child)| self.child(&index.to_string(), child, sought, path))
            }
            _ => Ok(()),
        }
    }

    fn child(
        &mut self,
        key: &str,
        child: &Value<'_>,
        sought: &[Sought<'_>],
        path: Option<&str>,
    ) -> Result<(), VariablesError> {
        let path = path
            .map(|path| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") })
            .filter(|path| path.len() <= LONGEST_NAME && self.names.len() < MOST_NAMES);
        let mut deeper = Vec::new();
        for one in sought {
            match one.rest.strip_prefix(key) {
                Some("") => self.found(one.variable, child)?,
                Some(rest) => {
                    if let Some(rest) = rest.strip_prefix('.') {
                        deeper.push(Sought { variable: one.variable, rest });
                    }
                }
                None => {}
            }
        }
        self.within(child, &deeper, path.as_deref())?;
        self.names.extend(path);
        Ok(())
    }

    fn found(&mut self, variable: usize, there: &Value<'_>) -> Result<(), VariablesError> {
        let range = there.range();
        let known = &self.variables[variable];
        let written = known.value.expose_to(|value| written(value, there)).map_err(|there| {
            VariablesError::Type { name: known.name.clone(), there, at: position(self.text, range.start) }
        })?;
        self.edits.push(Edit { range: range.start..range.end, written, variable });
        Ok(())
    }

    fn finish(mut self, file: &Text) -> Result<Substituted, VariablesError> {
        self.edits.sort_by_key(|edit| (edit.range.start, std::cmp::Reverse(edit.range.end)));
        let mut found = vec![0; self.variables.len()];
        let mut changed = String::with_capacity(self.text.len());
        let mut end = 0;
        let mut outer = None;
        for edit in &self.edits {
            if let Some(outer) = outer.filter(|_| edit.range.start < end) {
                let name = |variable: usize| self.variables[variable].name.clone();
                return Err(VariablesError::Nested { outer: name(outer), inner: name(edit.variable) });
            }
            changed.push_str(&self.text[end..edit.range.start]);
            changed.push_str(&edit.written);
            end = edit.range.end;
            outer = Some(edit.variable);
            found[edit.variable] += 1;
        }
        changed.push_str(&self.text[end..]);
        Ok(Substituted { text: file.with(changed), found, names: self.names })
    }
}

/// The value in the type of what is there; that type's name where the value is none of it.
fn written(value: &str, there: &Value<'_>) -> Result<String, &'static str> {
    let json = || serde_json::from_str::<serde_json::Value>(value).ok();
    let raw = |fits: bool, there| if fits { Ok(value.trim().to_owned()) } else { Err(there) };
    let string = || serde_json::Value::from(value).to_string();
    match there {
        Value::StringLit(_) => Ok(string()),
        Value::NumberLit(_) => raw(json().is_some_and(|json| json.is_number()), "a number"),
        Value::BooleanLit(_) => raw(json().is_some_and(|json| json.is_boolean()), "`true` or `false`"),
        Value::Object(_) => raw(json().is_some_and(|json| json.is_object()), "an object"),
        Value::Array(_) => raw(json().is_some_and(|json| json.is_array()), "a list"),
        // Nothing says what it is to be: JSON where it is some, else a string.
        Value::NullKeyword(_) => Ok(json().map_or_else(string, |_| value.trim().to_owned())),
    }
}
