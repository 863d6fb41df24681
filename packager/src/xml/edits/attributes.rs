//! Changes to the attributes of one element.

use std::ops::Range;

use roxmltree::Node as Tree;

use crate::xml::{Document, StartTag, edits::apply::Change};

/// The attributes of an element as they are and as they shall be.
#[derive(Debug)]
pub(super) struct Changes {
    name_end: usize,
    there: Vec<There>,
    /// Names and escaped values, in the order in which they were asked for.
    new: Vec<(String, String)>,
}

#[derive(Debug)]
struct There {
    name: String,
    /// From the name to the closing quote.
    range: Range<usize>,
    value: Range<usize>,
    fate: Fate,
}

#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    Becomes(String),
    Goes,
}

impl Changes {
    pub(super) fn of(element: Tree<'_, '_>) -> Self {
        let tag = StartTag::of(element);
        let there = tag.attributes().map(|attribute| There {
            name: attribute.name().to_owned(),
            range: attribute.name_range().start..attribute.value_range().end + 1,
            value: attribute.value_range(),
            fate: Fate::Stays,
        });
        Self { name_end: tag.name_range().end, there: there.collect(), new: Vec::new() }
    }

    pub(super) fn set(&mut self, name: &str, written: String) {
        if let Some(there) = self.there.iter_mut().find(|there| there.name == name) {
            there.fate = Fate::Becomes(written);
        } else if let Some(new) = self.new.iter_mut().find(|new| new.0 == name) {
            new.1 = written;
        } else {
            self.new.push((name.to_owned(), written));
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(there) = self.there.iter_mut().find(|there| there.name == name) {
            there.fate = Fate::Goes;
        }
        self.new.retain(|new| new.0 != name);
    }

    pub(super) fn collect(&self, document: &Document<'_>, changes: &mut Vec<Change>) {
        let text = document.text().as_str();
        for there in &self.there {
            if let Fate::Becomes(written) = &there.fate {
                changes.push(Change::replacement(there.value.clone(), written.clone()));
            }
        }
        self.collect_removals(text, changes);
        let gap = self.gap_of_new(text);
        let at = self.there.last().map_or(self.name_end, |last| last.range.end);
        let new: String = self.new.iter().map(|(name, value)| format!("{gap}{name}=\"{value}\"")).collect();
        if !new.is_empty() {
            changes.push(Change::insertion(at..at, new));
        }
    }

    /// Attributes that go, run by run: what comes next keeps its own space, unless it comes first now, or was in the middle of a
    /// line that one of them began.
    fn collect_removals(&self, text: &str, changes: &mut Vec<Change>) {
        let mut end_of_kept = self.name_end;
        let mut nothing_kept = true;
        let mut run: Option<Range<usize>> = None;
        let mut before = self.name_end;
        for there in &self.there {
            let own_gap = before..there.range.start;
            before = there.range.end;
            let has_line = |gap: &Range<usize>| text[gap.clone()].contains('\n');
            let gap = match run.take() {
                Some(first) if nothing_kept || (has_line(&first) && !has_line(&own_gap)) => first,
                _ => own_gap,
            };
            if there.fate == Fate::Goes {
                run = Some(gap);
                continue;
            }
            if gap != (end_of_kept..there.range.start) {
                changes.push(Change::replacement(end_of_kept..there.range.start, text[gap].to_owned()));
            }
            end_of_kept = there.range.end;
            nothing_kept = false;
        }
        if run.is_some() {
            changes.push(Change::replacement(end_of_kept..before, String::new()));
        }
    }

    /// A line of its own where each attribute after the first has one.
    fn gap_of_new<'s>(&self, text: &'s str) -> &'s str {
        let gaps = self.there.windows(2).map(|pair| &text[pair[0].range.end..pair[1].range.start]);
        match gaps.clone().last() {
            Some(last) if gaps.clone().all(|gap| gap.contains('\n')) => last,
            _ => " ",
        }
    }
}
