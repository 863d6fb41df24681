//! Changes to a document, collected and applied at once. Each touches the bytes that it has to, and no others.
//!
//! What contradicts itself is resolved in one order: a value or an attribute that is set twice, or set and removed, is what was
//! asked for last; what lies within something that is removed or replaced goes with it; things put in at the same place stand in
//! the order in which they were asked for. Anything else that overlaps is an error.

mod apply;
mod attributes;
mod slots;

use std::{collections::BTreeMap, ops::Range};

use roxmltree::Node as Tree;

use crate::xml::{
    Document, Fragment, Node, StartTag, Text, XmlError, escape,
    layout::{Layout, is_hollow},
    tag,
};
use slots::{Side, Slot};

/// Changes to one document.
#[derive(Debug)]
pub struct Edits<'d, 't> {
    document: &'d Document<'t>,
    /// Attributes by the start of their element.
    attributes: BTreeMap<usize, attributes::Changes>,
    slots: BTreeMap<(usize, Side), Slot>,
    /// What takes the place of a range: a text, an element, nothing.
    replacements: BTreeMap<(usize, usize), String>,
    /// Space that goes with what was removed, unless somebody wants it otherwise.
    trims: Vec<Range<usize>>,
}

impl<'d, 't> Edits<'d, 't> {
    /// No changes so far.
    pub fn new(document: &'d Document<'t>) -> Self {
        Self {
            document,
            attributes: BTreeMap::new(),
            slots: BTreeMap::new(),
            replacements: BTreeMap::new(),
            trims: Vec::new(),
        }
    }

    /// Whether nothing has been asked for.
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty() && self.slots.is_empty() && self.replacements.is_empty()
    }

    /// Gives an attribute a value; `name` is as it is written, with its prefix. An attribute that is there keeps its place and its
    /// quotes; a new one comes last, on a line of its own where the others have theirs.
    ///
    /// # Errors
    /// The name is none, or the value has a character that XML can't hold.
    pub fn set_attribute(&mut self, element: Tree<'_, '_>, name: &str, value: &str) -> Result<(), XmlError> {
        if !escape::is_name(name) {
            return Err(XmlError::NotAName(name.to_owned()));
        }
        let tag = StartTag::of(element);
        let quote = tag.attribute(name).map_or('"', |attribute| attribute.quote());
        let written =
            escape::attribute(value, quote, &format!("the attribute `{name}`"), self.document.text())?;
        self.attributes
            .entry(element.range().start)
            .or_insert_with(|| attributes::Changes::of(element))
            .set(name, written);
        Ok(())
    }

    /// Takes an attribute away, with the space that it took. Does nothing where it is not there.
    pub fn remove_attribute(&mut self, element: Tree<'_, '_>, name: &str) {
        self.attributes
            .entry(element.range().start)
            .or_insert_with(|| attributes::Changes::of(element))
            .remove(name);
    }

    /// Gives a node a value: an attribute's, a text's, or that of all that is within an element. Anything else has no value.
    ///
    /// # Errors
    /// The value has a character that XML can't hold, or the node has no value.
    pub fn set_value(&mut self, node: Node<'_, '_>, value: &str) -> Result<(), XmlError> {
        match node {
            Node::Attribute(owner, _) => self.set_attribute(owner, &node.written_name(), value),
            Node::Tree(tree) if tree.is_text() => {
                let written = escape::text(value, "a text", self.document.text())?;
                self.replacements.insert(key(node.range()), written);
                Ok(())
            }
            Node::Tree(tree) if tree.is_element() => self.set_text(tree, value),
            _ => {
                Err(XmlError::Impossible("only attributes, texts and elements have a value that can be set"))
            }
        }
    }

    /// Makes a text all that is within an element.
    ///
    /// # Errors
    /// The text has a character that XML can't hold.
    pub fn set_text(&mut self, element: Tree<'_, '_>, value: &str) -> Result<(), XmlError> {
        let tag = StartTag::of(element);
        let written = escape::text(value, &format!("the element `{}`", tag.name()), self.document.text())?;
        if !tag.is_empty_element() {
            self.replacements.insert(key(tag::content(element)), written);
        } else if !value.is_empty() {
            let written = format!(">{written}</{}>", tag.name());
            self.replacements.insert(key(self.empty_end(&tag)), written);
        }
        Ok(())
    }

    /// Takes a node away: an element with all in it, a comment, a text, an attribute. A line that it leaves blank goes with it.
    ///
    /// # Errors
    /// It is the document or its one element.
    pub fn remove(&mut self, node: Node<'_, '_>) -> Result<(), XmlError> {
        match node {
            Node::Attribute(owner, _) => {
                self.remove_attribute(owner, &node.written_name());
                Ok(())
            }
            Node::Namespace(..) => Err(XmlError::Impossible("a namespace can't be removed")),
            Node::Tree(tree) => {
                self.refuse_root(tree)?;
                let range = node.range();
                if !tree.is_text() {
                    self.trims.extend(slots::trim(tree));
                }
                self.replacements.insert(key(range), String::new());
                Ok(())
            }
        }
    }

    /// Puts an element in another's place.
    ///
    /// # Errors
    /// Never so far; kept for what can't be written.
    pub fn replace(&mut self, element: Tree<'_, '_>, by: &Fragment) -> Result<(), XmlError> {
        let parent = element.parent().unwrap_or(element);
        let layout = if parent.is_element() {
            Layout::within(self.document, parent, Some(element))
        } else {
            Layout::within(self.document, element, None)
                .map(|layout| Layout { child: layout.own.clone(), ..layout })
        };
        let scope = if parent.is_element() { parent } else { self.document.tree().root() };
        let written = by.write(self.document, scope, layout.as_ref());
        self.replacements.insert(key(element.range()), written);
        Ok(())
    }

    /// Makes a comment of an element.
    ///
    /// # Errors
    /// It is the document's one element, or holds `--`, which comments can't.
    pub fn comment_out(&mut self, element: Tree<'_, '_>) -> Result<(), XmlError> {
        self.refuse_root(element)?;
        let written = &self.document.text().as_str()[element.range()];
        if written.contains("--") {
            return Err(XmlError::Impossible(
                "it holds `--`, a comment of its own perhaps, and no comment can hold that",
            ));
        }
        self.replacements.insert(key(element.range()), format!("<!-- {written} -->"));
        Ok(())
    }

    /// Puts an element in before all that is in `parent`.
    ///
    /// # Errors
    /// `parent` is no element.
    pub fn insert_first(&mut self, parent: Tree<'_, '_>, new: &Fragment) -> Result<(), XmlError> {
        if is_hollow(parent) {
            return self.insert_last(parent, new);
        }
        let layout = Layout::within(self.document, parent, parent.first_element_child());
        let slot = Slot::first(parent, layout.as_ref());
        self.insert(parent, slot, Side::First, layout.as_ref(), new)
    }

    /// Puts an element in after all that is in `parent`.
    ///
    /// # Errors
    /// `parent` is no element.
    pub fn insert_last(&mut self, parent: Tree<'_, '_>, new: &Fragment) -> Result<(), XmlError> {
        let layout = Layout::within(self.document, parent, parent.last_element_child());
        let slot = Slot::last(parent, self.empty_end(&StartTag::of(parent)), layout.as_ref());
        self.insert(parent, slot, Side::Last, layout.as_ref(), new)
    }

    /// Puts an element in before another.
    ///
    /// # Errors
    /// The other is the document's one element.
    pub fn insert_before(&mut self, sibling: Tree<'_, '_>, new: &Fragment) -> Result<(), XmlError> {
        let parent = self.parent_of(sibling)?;
        let layout = Layout::within(self.document, parent, Some(sibling));
        self.insert(parent, Slot::before(sibling, layout.as_ref()), Side::Before, layout.as_ref(), new)
    }

    /// Puts an element in after another.
    ///
    /// # Errors
    /// The other is the document's one element.
    pub fn insert_after(&mut self, sibling: Tree<'_, '_>, new: &Fragment) -> Result<(), XmlError> {
        let parent = self.parent_of(sibling)?;
        let layout = Layout::within(self.document, parent, Some(sibling));
        self.insert(parent, Slot::after(sibling, parent, layout.as_ref()), Side::After, layout.as_ref(), new)
    }

    /// The text with all changes made. Without changes it is the same text.
    ///
    /// # Errors
    /// Changes overlap, or together they would make a file that is no XML.
    pub fn apply(self) -> Result<Text, XmlError> {
        if self.is_empty() {
            return Ok(self.document.text().clone());
        }
        let text = apply::apply(self.document, self.collected())?;
        Document::parse(&text).map_err(|error| XmlError::WouldBreak { why: why_broken(&error) })?;
        Ok(text)
    }

    fn collected(&self) -> Vec<apply::Change> {
        let mut changes = Vec::new();
        for (range, written) in &self.replacements {
            changes.push(apply::Change::replacement(range.0..range.1, written.clone()));
        }
        for attributes in self.attributes.values() {
            attributes.collect(self.document, &mut changes);
        }
        for slot in self.slots.values() {
            changes.push(apply::Change::insertion(slot.range.clone(), slot.written()));
        }
        changes.extend(self.trims.iter().cloned().map(apply::Change::trim));
        changes
    }

    fn insert(
        &mut self,
        parent: Tree<'_, '_>,
        slot: Slot,
        side: Side,
        layout: Option<&Layout>,
        new: &Fragment,
    ) -> Result<(), XmlError> {
        if !parent.is_element() {
            return Err(XmlError::Impossible("only elements have something in them"));
        }
        let written = new.write(self.document, parent, layout);
        self.slots.entry((slot.range.start, side)).or_insert(slot).pieces.push(written);
        Ok(())
    }

    fn parent_of<'n>(&self, sibling: Tree<'n, 't>) -> Result<Tree<'n, 't>, XmlError> {
        let parent = sibling.parent().filter(Tree::is_element);
        parent.ok_or(XmlError::Impossible("a document has one element; nothing can come beside it"))
    }

    fn refuse_root(&self, node: Tree<'_, '_>) -> Result<(), XmlError> {
        if node.is_root() || node.id() == self.document.root_element().id() {
            return Err(XmlError::Impossible("a document without its one element is no XML"));
        }
        Ok(())
    }

    /// Where `/>` is, with the space before it.
    fn empty_end(&self, tag: &StartTag<'_>) -> Range<usize> {
        let text = self.document.text().as_str();
        let start =
            tag.attributes().next_back().map_or(tag.name_range().end, |last| last.value_range().end + 1);
        debug_assert!(text.is_char_boundary(start));
        start..tag.end()
    }
}

fn key(range: Range<usize>) -> (usize, usize) {
    (range.start, range.end)
}

const fn why_broken(error: &XmlError) -> &'static str {
    match error {
        XmlError::TooDeep { .. } => "its elements would be nested too deeply",
        XmlError::TooLarge { .. } => "it would be too large",
        _ => "tags, names or namespaces would not fit together",
    }
}
