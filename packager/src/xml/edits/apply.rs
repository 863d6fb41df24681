//! All changes at once.

use std::ops::Range;

use crate::xml::{Document, Text, XmlError};

/// One change to a text.
#[derive(Debug)]
pub(super) struct Change {
    range: Range<usize>,
    written: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Replacement,
    Insertion,
    /// Given up where anything else touches it.
    Trim,
}

impl Change {
    pub(super) const fn replacement(range: Range<usize>, written: String) -> Self {
        Self { range, written, kind: Kind::Replacement }
    }

    pub(super) const fn insertion(range: Range<usize>, written: String) -> Self {
        Self { range, written, kind: Kind::Insertion }
    }

    pub(super) const fn trim(range: Range<usize>) -> Self {
        Self { range, written: String::new(), kind: Kind::Trim }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.range.start < other.range.end && other.range.start < self.range.end
            || (self.range.start > other.range.start && self.range.end < other.range.end)
            || (other.range.start > self.range.start && other.range.end < self.range.end)
    }
}

/// The text with the changes made, which may come in any order; those at the same place keep theirs.
pub(super) fn apply(document: &Document<'_>, changes: Vec<Change>) -> Result<Text, XmlError> {
    let (trims, mut changes): (Vec<_>, Vec<_>) =
        changes.into_iter().partition(|change| change.kind == Kind::Trim);
    // The outer one first, so that it swallows what lies in it.
    changes.sort_by_key(|change| (change.range.start, std::cmp::Reverse(change.range.end)));
    let mut kept: Vec<Change> = Vec::with_capacity(changes.len());
    for change in changes {
        let within = kept.iter().rev().take_while(|before| before.range.end > change.range.start);
        match within.last().filter(|outer| outer.overlaps(&change)) {
            Some(outer) if outer.kind == Kind::Replacement && change.range.end <= outer.range.end => {}
            Some(_) => return Err(XmlError::Overlap { at: document.position(change.range.start) }),
            None => kept.push(change),
        }
    }
    // What was put in at a place in that space, or replaces a part of it, knows better.
    let is_free = |trim: &Change| {
        let at = kept.partition_point(|change| change.range.end <= trim.range.start);
        !kept[at..]
            .iter()
            .take_while(|change| change.range.start < trim.range.end)
            .any(|change| change.overlaps(trim))
    };
    let mut free: Vec<Change> = trims.into_iter().filter(is_free).collect();
    free.sort_by_key(|trim| trim.range.start);
    free.dedup_by(|later, earlier| later.overlaps(earlier) || later.range == earlier.range);
    kept.extend(free);
    kept.sort_by_key(|change| (change.range.start, change.range.end));
    let text = document.text().as_str();
    let mut changed = String::with_capacity(text.len());
    let mut at = 0;
    for change in kept {
        changed.push_str(&text[at..change.range.start]);
        changed.push_str(&change.written);
        at = change.range.end;
    }
    changed.push_str(&text[at..]);
    Ok(document.text().with(changed))
}
