//! What must not be seen is masked: secrets in everything that a step writes, before it is stored or shown.
//!
//! A [`Masker`] knows the forms in which the secrets of a run are likely to appear (as they are, in base64 at any place, in
//! hexadecimal, escaped for URLs, JSON, XML and shells, backwards; `forms` has the list). A [`MaskStream`] finds them in
//! bytes that come in pieces of any size, also across the control sequences of a terminal (`letters`), and puts [`MASK`] in
//! their place. What can't be the beginning of a form is passed on at once, so masking delays nothing that people could read.
//!
//! This protects from carelessness, not from a step that wants to give a secret away: who has a secret can write it in a way
//! that nobody thought of. So only steps that name a secret get it, and pull requests get none.

mod admission;
mod automaton;
mod forms;
mod letters;
mod sieved;
mod stream;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

pub use admission::Unmaskable;
pub use stream::MaskStream;

use automaton::Automaton;
use staith_model::{Finding, Findings, Reason, Secret, StepResults, TestFailure, TestSummary};

/// What is shown where a secret was.
pub const MASK: &str = "***";

/// Knows the secrets of a run in all the forms that are looked for. A copy shares them.
#[derive(Clone, Default)]
pub struct Masker(Option<Arc<Forms>>);

struct Forms {
    /// All forms, byte by byte.
    exact: Automaton,
    /// Those that tools break into lines (base64, hexadecimal), with line ends left out of the text.
    folded: Automaton,
}

impl Forms {
    const fn begins_with(&self, byte: u8) -> bool {
        self.exact.begins_with(byte) || self.folded.begins_with(byte)
    }
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Masker(***)" } else { "Masker()" })
    }
}

impl Masker {
    /// A masker for secrets by their names.
    ///
    /// # Errors
    /// A secret is so short or so common that masking it would make every log unreadable, or too long to look for.
    pub fn new(secrets: &BTreeMap<String, Secret>) -> Result<Self, Unmaskable> {
        let (mut exact, mut folded) = (Vec::new(), Vec::new());
        for (name, secret) in secrets {
            admission::check(name, secret)?;
            secret.expose_to(|value| forms::collect(value, &mut exact, &mut folded));
        }
        if exact.is_empty() {
            return Ok(Self::default());
        }
        let build = |forms| Automaton::new(forms).map_err(|why| Unmaskable::TooMany { why });
        Ok(Self(Some(Arc::new(Forms { exact: build(exact)?, folded: build(folded)? }))))
    }

    /// Whether this value can be masked under this name.
    ///
    /// # Errors
    /// As [`Masker::new`].
    pub fn admits(name: &str, secret: &Secret) -> Result<(), Unmaskable> {
        admission::check(name, secret)
    }

    /// A masker for one stream of bytes.
    pub fn stream(&self) -> MaskStream {
        MaskStream::new(self.0.clone())
    }

    /// A whole text, masked.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.0.is_none() {
            return Cow::Borrowed(text);
        }
        let (mut stream, mut masked) = (self.stream(), Vec::with_capacity(text.len()));
        stream.push(text.as_bytes(), &mut masked);
        stream.finish(&mut masked);
        Cow::Owned(String::from_utf8_lossy(&masked).into_owned())
    }

    fn mask(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.text(text) {
            *text = masked;
        }
    }

    fn mask_some(&self, text: &mut Option<String>) {
        text.iter_mut().for_each(|text| self.mask(text));
    }

    /// Masks why something failed: names of files and words of programs are in it.
    pub fn reason(&self, reason: &mut Reason) {
        let Reason { blame: _, what, remedy } = reason;
        self.mask(what);
        self.mask_some(remedy);
    }

    /// Masks what a step's reports said.
    pub fn results(&self, results: &mut StepResults) {
        if self.0.is_none() {
            return;
        }
        let StepResults { tests, coverage: _, findings, .. } = results;
        if let Some(TestSummary { failures, .. }) = tests {
            for TestFailure { suite, name, message, file, .. } in failures {
                [suite, name, message].into_iter().for_each(|text| self.mask(text));
                self.mask_some(file);
            }
        }
        if let Some(Findings { shown, .. }) = findings {
            for Finding { path, rule, message, .. } in shown {
                [path, message].into_iter().for_each(|text| self.mask(text));
                self.mask_some(rule);
            }
        }
    }
}
