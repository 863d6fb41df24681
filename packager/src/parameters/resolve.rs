//! Declarations and values together: every parameter gets one value, or everything that is wrong is told.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use staith_model::Secret;

use super::{
    Declarations, From, Parameter, Resolved, Rule, Value, Values, apply::Settled, declare::fold,
    mistake::nearest, secrecy::is_named_so,
};
use crate::secrecy::holds_secret;

/// Longest value that references may come to, in bytes: each may name another that holds several more.
const LONGEST: usize = 1 << 20;
/// Longest chain of references: each link is a call within a call.
const LONGEST_CHAIN: usize = 200;

/// One thing that keeps parameters from having values. Values are in it only where they are no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// A value for a parameter that is not declared.
    #[error(
        "{from}: there is no parameter `{name}`{}; there are {}",
        meant.as_ref().map(|meant| format!(" (did you mean `{meant}`?)")).unwrap_or_default(), names.join(", ")
    )]
    Unknown {
        /// The name.
        name: String,
        /// Where the value comes from.
        from: From,
        /// What may have been meant.
        meant: Option<String>,
        /// All names.
        names: Vec<String>,
    },
    /// No value.
    #[error("the parameter `{0}` has no default and was not set; set it")]
    NoValue(String),
    /// Set to nothing.
    #[error(
        "the parameter `{name}` was set to nothing ({from}), which it does not allow; set it to something, or leave it out to have \
         its default"
    )]
    Empty {
        /// The parameter.
        name: String,
        /// Where the value comes from.
        from: From,
    },
    /// A value that its validation refuses.
    #[error("the parameter `{name}` can't be {shown} ({from}): it takes {takes}")]
    Invalid {
        /// The parameter.
        name: String,
        /// The value, in quotes, or what may be said of it.
        shown: String,
        /// Where it comes from.
        from: From,
        /// What it takes.
        takes: String,
    },
    /// References that lead back to where they began.
    #[error("the values of these parameters refer to each other in a circle: {}; set one of them", .0.join(" → "))]
    Circle(Vec<String>),
    /// References that come to too much.
    #[error(
        "the value of the parameter `{0}` grows beyond 1 MiB, or refers to others more than 200 times deep"
    )]
    TooLong(String),
}

/// All that keeps parameters from having values. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveErrors(pub Vec<Unresolved>);

impl fmt::Display for ResolveErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if nth == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ResolveErrors {}

/// Gives every parameter its value: the one that was set, or else its default, with every `{Other Parameter}` in it replaced by
/// that one's value. What is between braces and names no parameter stays as it is.
///
/// # Errors
/// All that is wrong, at once: values for what is not declared, parameters without a value, circles, values that validation
/// refuses.
pub fn resolve(declarations: &Declarations, values: &Values) -> Result<Resolved, ResolveErrors> {
    let mut errors = unknown(declarations, values);
    // Letter case can change a name's length in bytes, threefold at most.
    let longest_name = declarations.parameters().iter().map(|parameter| parameter.name.len() * 3).max();
    let mut resolution = Resolution {
        longest_name: longest_name.unwrap_or_default(),
        by_name: declarations
            .parameters()
            .iter()
            .map(|parameter| (fold(&parameter.name), parameter))
            .collect(),
        values,
        done: BTreeMap::new(),
        errors: Vec::new(),
    };
    let mut settled = Vec::with_capacity(declarations.parameters().len());
    for parameter in declarations.parameters() {
        let value = resolution.value_of(&fold(&parameter.name), &mut Vec::new());
        let from = values.get(&parameter.name).map_or(From::Default, |given| given.from.clone());
        if let Some(value) = value {
            errors.extend(refusal(parameter, &value, &from));
            settled.push(Settled { parameter: parameter.clone(), value, from });
        }
    }
    errors.append(&mut resolution.errors);
    if errors.is_empty() { Ok(Resolved::new(settled)) } else { Err(ResolveErrors(errors)) }
}

fn unknown(declarations: &Declarations, values: &Values) -> Vec<Unresolved> {
    let names = || declarations.parameters().iter().map(|parameter| parameter.name.as_str());
    values
        .iter()
        .filter(|given| declarations.get(&given.name).is_none())
        .map(|given| Unresolved::Unknown {
            name: given.name.clone(),
            from: given.from.clone(),
            meant: nearest(&given.name, names()).map(str::to_owned),
            names: names().map(|name| format!("`{name}`")).collect(),
        })
        .collect()
}

/// Why a parameter does not take a value.
fn refusal(parameter: &Parameter, value: &Value, from: &From) -> Option<Unresolved> {
    let name = || parameter.name.clone();
    if value.expose_to(str::is_empty) {
        let is_allowed = parameter.validation.allow_empty || *from == From::Default;
        return (!is_allowed).then(|| Unresolved::Empty { name: name(), from: from.clone() });
    }
    let takes = match parameter.validation.rule.as_ref()? {
        Rule::Boolean => {
            let is_boolean =
                |text: &str| ["true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word));
            (!value.expose_to(is_boolean)).then(|| "`True` or `False`".to_owned())
        }
        Rule::Enumeration(choices) => {
            let is_chosen = value.expose_to(|text| choices.iter().any(|choice| choice == text));
            let choices = choices.iter().map(|choice| format!("`{choice}`"));
            (!is_chosen).then(|| choices.collect::<Vec<_>>().join(", "))
        }
        Rule::RegularExpression(pattern) => match value.expose_to(|text| pattern.is_match(text)) {
            Ok(true) => None,
            Ok(false) => Some(format!("what the regular expression `{}` matches", pattern.as_str())),
            Err(exhausted) => Some(format!("what can be told in time, and {exhausted}")),
        },
    }?;
    let shown = if value.is_secret() { "this secret".to_owned() } else { format!("`{}`", value.shown()) };
    Some(Unresolved::Invalid { name: name(), shown, from: from.clone(), takes })
}

/// What is known so far.
struct Resolution<'a> {
    by_name: HashMap<String, &'a Parameter>,
    longest_name: usize,
    values: &'a Values,
    /// By name without letter case; `None` where there is an error, which has been noted.
    done: BTreeMap<String, Option<Value>>,
    errors: Vec<Unresolved>,
}

impl Resolution<'_> {
    /// The value of a parameter; `path` is the chain of references that led here.
    fn value_of(&mut self, folded: &str, path: &mut Vec<String>) -> Option<Value> {
        if let Some(known) = self.done.get(folded) {
            return known.clone();
        }
        let parameter = *self.by_name.get(folded)?;
        if let Some(start) = path.iter().position(|name| name == folded) {
            let names = path[start..].iter().chain([&path[start]]);
            let names: Vec<_> = names.map(|name| self.by_name[name].name.clone()).collect();
            self.errors.push(Unresolved::Circle(names));
            // Whoever refers to the circle has no value either, and that is said once.
            for name in &path[start..] {
                self.done.insert(name.clone(), None);
            }
            return None;
        }
        if path.len() >= LONGEST_CHAIN {
            self.errors.push(Unresolved::TooLong(parameter.name.clone()));
            self.done.insert(folded.to_owned(), None);
            return None;
        }
        path.push(folded.to_owned());
        let value = self.replaced(parameter, path);
        path.pop();
        // A circle that was found on the way has said so.
        self.done.entry(folded.to_owned()).or_insert(value).clone()
    }

    /// A parameter's own value with its references replaced.
    fn replaced(&mut self, parameter: &Parameter, path: &mut Vec<String>) -> Option<Value> {
        let given = self.values.get(&parameter.name);
        let (text, is_secret) = match (given, &parameter.default) {
            (Some(given), _) => (given.text.clone(), given.is_secret),
            (None, Some(default)) => (Secret::new(default.as_str()), false),
            (None, None) => {
                self.errors.push(Unresolved::NoValue(parameter.name.clone()));
                return None;
            }
        };
        let is_secret = is_secret
            // A default is there for everybody who has the package.
            || (given.is_some() && is_named_so(parameter))
            || (parameter.is_secret() && !text.expose_to(str::is_empty))
            || text.expose_to(holds_secret);
        let pieces = text.expose_to(|text| self.pieces(text));
        if pieces.iter().all(|piece| matches!(piece, Piece::Text(_))) {
            return Some(Value::new(text, is_secret));
        }
        let (mut out, mut is_secret) = (String::new(), is_secret);
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.push_str(&text),
                Piece::Reference(folded) => {
                    let value = self.value_of(&folded, path)?;
                    is_secret |= value.is_secret();
                    value.expose_to(|text| out.push_str(text));
                }
            }
            if out.len() > LONGEST {
                self.errors.push(Unresolved::TooLong(parameter.name.clone()));
                return None;
            }
        }
        Some(Value::new(Secret::new(out), is_secret))
    }

    /// A text cut at its references. Only what names a parameter is one, so `{{Name}}` is the value in braces.
    fn pieces(&self, text: &str) -> Vec<Piece> {
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(start) = rest.find('{') {
            let (before, from) = rest.split_at(start);
            plain.push_str(before);
            // No further than a name reaches, or a text of braces would be searched over and over.
            let near = &from.as_bytes()[..from.len().min(self.longest_name + 2)];
            let end = near.iter().position(|byte| *byte == b'}');
            let reference = end.map(|end| (fold(&from[1..end]), end));
            match reference.filter(|(name, _)| self.by_name.contains_key(name)) {
                Some((name, end)) => {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    pieces.push(Piece::Reference(name));
                    rest = &from[end + 1..];
                }
                None => {
                    plain.push('{');
                    rest = &from[1..];
                }
            }
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        pieces
    }
}

enum Piece {
    Text(String),
    Reference(String),
}

#[cfg(test)]
mod tests;
