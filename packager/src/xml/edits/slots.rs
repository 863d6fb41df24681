//! Where elements come in, and the space around them.

use std::ops::Range;

use roxmltree::Node as Tree;

use crate::xml::{
    Node, StartTag,
    layout::{Layout, indent_of, is_blank},
    tag,
};

/// On which side of what a slot is; two slots may begin at the same byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    After,
    First,
    Last,
    Before,
}

/// A place for one element or several.
#[derive(Debug)]
pub(super) struct Slot {
    /// What goes: nothing, or space that the new lines take the place of.
    pub(super) range: Range<usize>,
    lead: String,
    between: String,
    tail: String,
    pub(super) pieces: Vec<String>,
}

impl Slot {
    pub(super) fn first(parent: Tree<'_, '_>, layout: Option<&Layout>) -> Self {
        let start = tag::content(parent).start;
        let text = parent.document().input_text();
        let mut slot = Self::new(start..start, layout);
        if let Some(layout) = layout {
            slot.lead = layout.child_line();
            if !begins_line(&text[start..]) {
                slot.tail = layout.child_line();
            }
        }
        slot
    }

    pub(super) fn last(parent: Tree<'_, '_>, empty_end: Range<usize>, layout: Option<&Layout>) -> Self {
        let tag = StartTag::of(parent);
        let own_line = layout.map(Layout::own_line).unwrap_or_default();
        let lead = layout.map(Layout::child_line).unwrap_or_default();
        if tag.is_empty_element() {
            let mut slot = Self::new(empty_end, layout);
            slot.lead = format!(">{lead}");
            slot.tail = format!("{own_line}</{}>", tag.name());
            return slot;
        }
        let content = tag::content(parent);
        let text = &parent.document().input_text()[content.clone()];
        let last = parent.last_child();
        // Space at the end stands before the end tag and stays there; in mixed content it belongs to the text.
        let blank = match last {
            Some(last) if last.is_text() && is_blank(last) => Node::Tree(last).range().len(),
            _ => 0,
        };
        let at = if layout.is_some() { content.end - blank } else { content.end };
        let mut slot = Self::new(at..at, layout);
        slot.lead = lead;
        if !text[text.len() - blank.min(text.len())..].contains('\n') {
            slot.range.end = content.end;
            slot.tail = own_line;
        }
        if layout.is_none() {
            slot.range.end = at;
            slot.tail.clear();
        }
        slot
    }

    pub(super) fn before(sibling: Tree<'_, '_>, layout: Option<&Layout>) -> Self {
        let start = sibling.range().start;
        let mut slot = Self::new(start..start, layout);
        if let Some(layout) = layout {
            slot.tail = layout.child_line();
            if indent_of(sibling).is_none() {
                slot.range.start = start - space_before(sibling);
                slot.lead = layout.child_line();
            }
        }
        slot
    }

    pub(super) fn after(sibling: Tree<'_, '_>, parent: Tree<'_, '_>, layout: Option<&Layout>) -> Self {
        let end = sibling.range().end;
        let mut slot = Self::new(end..end, layout);
        if let Some(layout) = layout {
            slot.lead = layout.child_line();
            let rest = &sibling.document().input_text()[end..];
            if !begins_line(rest) {
                let space = rest.len() - rest.trim_start_matches([' ', '\t']).len();
                slot.range.end = end + space;
                let is_last = end + space >= tag::content(parent).end;
                slot.tail = if is_last { layout.own_line() } else { layout.child_line() };
            }
        }
        slot
    }

    pub(super) fn written(&self) -> String {
        format!("{}{}{}", self.lead, self.pieces.join(&self.between), self.tail)
    }

    fn new(range: Range<usize>, layout: Option<&Layout>) -> Self {
        let between = layout.map(Layout::child_line).unwrap_or_default();
        Self { range, lead: String::new(), between, tail: String::new(), pieces: Vec::new() }
    }
}

/// The space that goes with a removed node: its line where it had one to itself, else the space towards what is beside it.
pub(super) fn trim(node: Tree<'_, '_>) -> Option<Range<usize>> {
    let text = node.document().input_text();
    let range = node.range();
    let before_is_blank = node.prev_sibling().is_none_or(|before| !before.is_text() || is_blank(before));
    let after_is_blank = node.next_sibling().is_none_or(|after| !after.is_text() || is_blank(after));
    if !before_is_blank || !after_is_blank || !node.parent().is_some_and(|parent| parent.is_element()) {
        return None;
    }
    let rest = &text[range.end..];
    match indent_of(node) {
        Some(indent) if begins_line(rest) || rest.starts_with("</") => {
            let line = range.start - indent.len();
            let newline =
                if text[..line].ends_with("\r\n") { 2 } else { usize::from(text[..line].ends_with('\n')) };
            Some(line - newline..range.start)
        }
        Some(_) => {
            let space = rest.len() - rest.trim_start_matches([' ', '\t']).len();
            Some(range.end..range.end + space)
        }
        None if begins_line(rest) => Some(range.start - space_before(node)..range.start),
        None => None,
    }
}

/// Whether nothing but space comes before the next line.
fn begins_line(rest: &str) -> bool {
    rest.trim_start_matches([' ', '\t']).starts_with(['\r', '\n'])
}

/// Spaces and tabs right before a node, if they are not part of a text that says something.
fn space_before(node: Tree<'_, '_>) -> usize {
    if !node.prev_sibling().is_some_and(|before| before.is_text() && is_blank(before)) {
        return 0;
    }
    let before = &node.document().input_text()[..node.range().start];
    before.len() - before.trim_end_matches([' ', '\t']).len()
}
