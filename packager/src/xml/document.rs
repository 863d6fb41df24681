//! A text as a tree.

use crate::xml::{Node, Outcome, Text, XPath, XPathError, XmlError, xpath::Namespaces};

/// Elements within elements; real configuration has about ten.
const DEEPEST: usize = 256;
/// Nodes of the largest document; each costs some hundred bytes of memory.
const MOST_NODES: u32 = 2_000_000;

/// A place in a file, as people and editors count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
}

/// The tree of a [`Text`].
#[derive(Debug)]
pub struct Document<'t> {
    text: &'t Text,
    tree: roxmltree::Document<'t>,
}

impl<'t> Document<'t> {
    /// Parses a text. A document type is allowed as long as it declares no entities; nothing that it names is fetched.
    ///
    /// # Errors
    /// The text is not well-formed XML with namespaces, declares entities, or is deeper or has more nodes than is taken.
    pub fn parse(text: &'t Text) -> Result<Self, XmlError> {
        let input = text.as_str();
        let mut options = roxmltree::ParsingOptions { nodes_limit: MOST_NODES, ..Default::default() };
        let mut parsed = roxmltree::Document::parse_with_options(input, options);
        if let Err(roxmltree::Error::DtdDetected) = parsed {
            if declares_entities(input) {
                return Err(XmlError::Entities);
            }
            options =
                roxmltree::ParsingOptions { allow_dtd: true, nodes_limit: MOST_NODES, ..Default::default() };
            parsed = roxmltree::Document::parse_with_options(input, options);
        }
        let tree = parsed.map_err(|error| not_well_formed(&error))?;
        let document = Self { text, tree };
        document.refuse_depth()?;
        Ok(document)
    }

    /// The text that this is the tree of.
    pub fn text(&self) -> &'t Text {
        self.text
    }

    /// The tree itself.
    pub fn tree(&self) -> &roxmltree::Document<'t> {
        &self.tree
    }

    /// The one element that all others are in.
    pub fn root_element(&self) -> roxmltree::Node<'_, 't> {
        self.tree.root_element()
    }

    /// The nodes that an expression selects, in document order, starting from the document.
    ///
    /// # Errors
    /// The expression uses a prefix that `namespaces` lacks, gives no node set, or costs more than is allowed.
    pub fn select<'d>(
        &'d self,
        xpath: &XPath,
        namespaces: &Namespaces,
    ) -> Result<Vec<Node<'d, 't>>, XPathError> {
        self.select_from(Node::Tree(self.tree.root()), xpath, namespaces)
    }

    /// The nodes that an expression selects, in document order, starting from a node.
    ///
    /// # Errors
    /// As [`Document::select`].
    pub fn select_from<'d>(
        &'d self,
        start: Node<'d, 't>,
        xpath: &XPath,
        namespaces: &Namespaces,
    ) -> Result<Vec<Node<'d, 't>>, XPathError> {
        match xpath.evaluate(start, namespaces)? {
            Outcome::Nodes(nodes) => Ok(nodes),
            _ => Err(xpath.gives_no_nodes()),
        }
    }

    /// Where a byte of the text is.
    pub fn position(&self, offset: usize) -> Position {
        position(self.text.as_str(), offset)
    }

    fn refuse_depth(&self) -> Result<(), XmlError> {
        let mut depth = 0_usize;
        let mut node = self.tree.root();
        loop {
            if let Some(child) = node.first_child() {
                node = child;
                depth += 1;
                if depth > DEEPEST {
                    return Err(XmlError::TooDeep { at: self.position(node.range().start), most: DEEPEST });
                }
                continue;
            }
            loop {
                if let Some(next) = node.next_sibling() {
                    node = next;
                    break;
                }
                let Some(parent) = node.parent() else { return Ok(()) };
                node = parent;
                depth -= 1;
            }
        }
    }
}

/// Where a byte of a text is.
pub(crate) fn position(text: &str, offset: usize) -> Position {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line = before.bytes().filter(|byte| *byte == b'\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX - 1) + 1;
    Position { line: count(line), column: count(column) }
}

/// Whether the part before the first element declares entities. What looks like it in a comment counts as well: no honest file
/// has that.
fn declares_entities(text: &str) -> bool {
    let Some(start) = text.find("<!DOCTYPE") else { return false };
    let rest = &text[start..];
    // The declaration ends before the first tag; a `<` that is followed by a letter is one, or is in a quoted string.
    rest.contains("<!ENTITY")
        || rest.split_once('[').is_some_and(|(head, subset)| {
            !head.contains('>') && subset.split_once(']').is_none_or(|(subset, _)| subset.contains('%'))
        })
}

fn not_well_formed(error: &roxmltree::Error) -> XmlError {
    let at = error.pos();
    let mut why = error.to_string();
    // The place is told in front, once.
    if let Some(end) =
        why.rfind(" at ").filter(|end| why[end + 4..].chars().all(|c| c.is_ascii_digit() || c == ':'))
    {
        why.truncate(end);
    }
    XmlError::NotWellFormed { at: Position { line: at.row, column: at.col }, why }
}
