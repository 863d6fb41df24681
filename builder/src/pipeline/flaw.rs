//! What is wrong with a part of a text, and where in it.

use std::ops::Range;

/// One mistake inside a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    /// Bytes of the text.
    pub(super) place: Range<usize>,
    /// Continues a sentence that starts with the key: "can't be read".
    pub(super) what: String,
    pub(super) label: String,
    pub(super) help: String,
}

impl Flaw {
    pub(super) fn at(
        place: Range<usize>,
        what: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { place, what: what.into(), label: label.into(), help: help.into() }
    }

    /// The same mistake in a text that has `offset` more bytes before it.
    pub(super) fn moved_by(self, offset: usize) -> Self {
        Self { place: self.place.start + offset..self.place.end + offset, ..self }
    }
}
