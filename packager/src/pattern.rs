//! Regular expressions as .NET means them: parameters, their validation and skip rules are written in that dialect.
//!
//! [`Pattern`] runs them with a bound on time and memory, because whoever wrote a package may have written one that never ends.

mod translate;

use std::fmt;

use fancy_regex::{Regex, RegexBuilder, RuntimeError};

/// Longest expression that is taken, in bytes. Visual Studio's own stay below 500.
const LONGEST: usize = 4096;
/// Steps of going back that one search may take, and as many more for each byte of the text.
const STEPS: usize = 1_000_000;
const STEPS_A_BYTE: usize = 16;
/// Instructions and bytes that an expression may be compiled to.
const LARGEST_PROGRAM: usize = 100_000;
const LARGEST_AUTOMATON: usize = 8 << 20;
/// Longest text that a replacement may come to, in bytes.
const LONGEST_RESULT: usize = 256 << 20;

/// A .NET regular expression that was understood.
#[derive(Clone)]
pub struct Pattern {
    source: String,
    translated: String,
    ignore_case: bool,
    regex: Regex,
}

/// A text that is no .NET regular expression, or one that can't be run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` can't be used as a .NET regular expression: {why}")]
pub struct BadPattern {
    /// The text.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

/// A search that was given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// It tries too many ways.
    #[error(
        "the regular expression `{0}` tries too many ways to match this text; write it with less repetition inside repetition"
    )]
    Steps(String),
    /// The text would grow beyond all measure.
    #[error("with the regular expression `{0}`, the text would grow beyond 256 MiB; let it match less often")]
    Size(String),
}

impl Pattern {
    /// Understands an expression. With `ignore_case`, letters match in either case unless the expression says otherwise.
    ///
    /// # Errors
    /// It is none, or it needs what is not supported here (balancing groups, conditions on names, named Unicode blocks).
    pub fn new(source: &str, ignore_case: bool) -> Result<Self, BadPattern> {
        let bad = |why: String| BadPattern { pattern: source.chars().take(200).collect(), why };
        if source.len() > LONGEST {
            return Err(bad(format!("it is longer than {LONGEST} bytes")));
        }
        let translated = translate::translate(source).map_err(bad)?;
        let regex = compile(&translated, ignore_case, STEPS).map_err(|error| bad(error.to_string()))?;
        Ok(Self { source: source.to_owned(), translated, ignore_case, regex })
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether it matches anywhere in `text`.
    ///
    /// # Errors
    /// The search was given up.
    pub fn is_match(&self, text: &str) -> Result<bool, Exhausted> {
        self.run(text, |regex| regex.is_match(text))
    }

    /// `text` with every match replaced by `value`, in which nothing has a special meaning; `None` when nothing matches.
    ///
    /// # Errors
    /// The search was given up, or the text would grow beyond all measure.
    pub fn replace_all(&self, text: &str, value: &str) -> Result<Option<String>, Exhausted> {
        let found = self.run(text, |regex| {
            let (mut out, mut end, mut matched) = (String::new(), 0, false);
            for found in regex.find_iter(text) {
                let found = found?;
                if out.len() + value.len() + text.len() > LONGEST_RESULT {
                    return Ok(None);
                }
                out.push_str(&text[end..found.start()]);
                out.push_str(value);
                (end, matched) = (found.end(), true);
            }
            out.push_str(&text[end..]);
            Ok(Some(matched.then_some(out)))
        })?;
        found.ok_or_else(|| Exhausted::Size(self.source.clone()))
    }

    /// Runs a search; once more with a bound that fits the text's length, when only that was too short.
    fn run<T>(
        &self,
        text: &str,
        search: impl Fn(&Regex) -> Result<T, fancy_regex::Error>,
    ) -> Result<T, Exhausted> {
        let exhausted = || Exhausted::Steps(self.source.clone());
        let refused = match search(&self.regex) {
            Ok(found) => return Ok(found),
            Err(refused) => refused,
        };
        let is_steps =
            matches!(&refused, fancy_regex::Error::RuntimeError(RuntimeError::BacktrackLimitExceeded));
        let more = text.len().saturating_mul(STEPS_A_BYTE);
        if !is_steps || more < STEPS {
            return Err(exhausted());
        }
        let patient = compile(&self.translated, self.ignore_case, STEPS + more).map_err(|_| exhausted())?;
        search(&patient).map_err(|_| exhausted())
    }
}

fn compile(translated: &str, ignore_case: bool, steps: usize) -> Result<Regex, fancy_regex::Error> {
    RegexBuilder::new(translated)
        .case_insensitive(ignore_case)
        .backtrack_limit(steps)
        .max_prog_size(LARGEST_PROGRAM)
        .delegate_size_limit(LARGEST_AUTOMATON)
        .build()
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.source).finish()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (&self.source, self.ignore_case) == (&other.source, other.ignore_case)
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests;
