//! What lies in a document, and where.

use std::{cmp::Ordering, ops::Range};

use roxmltree::Node as Tree;

use crate::xml::{StartTag, tag};

/// A node as XPath knows them.
#[derive(Debug, Clone, Copy)]
pub enum Node<'d, 't> {
    /// The document, an element, a text, a comment or a processing instruction. Text next to a CDATA section is one text with it.
    Tree(Tree<'d, 't>),
    /// An attribute: its element, and its number among the element's attributes.
    Attribute(Tree<'d, 't>, usize),
    /// A namespace in the scope of an element: the element, and its number.
    Namespace(Tree<'d, 't>, usize),
}

impl<'d, 't> Node<'d, 't> {
    /// The element, if it is one.
    pub fn element(self) -> Option<Tree<'d, 't>> {
        match self {
            Self::Tree(node) if node.is_element() => Some(node),
            _ => None,
        }
    }

    /// The attribute, if it is one.
    pub fn attribute(self) -> Option<roxmltree::Attribute<'d, 't>> {
        match self {
            Self::Attribute(owner, number) => owner.attributes().nth(number),
            _ => None,
        }
    }

    /// What it is, in the words of the specification.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Tree(node) => match node.node_type() {
                roxmltree::NodeType::Root => "the document",
                roxmltree::NodeType::Element => "an element",
                roxmltree::NodeType::PI => "a processing instruction",
                roxmltree::NodeType::Comment => "a comment",
                roxmltree::NodeType::Text => "a text",
            },
            Self::Attribute(..) => "an attribute",
            Self::Namespace(..) => "a namespace",
        }
    }

    /// The node that this one is in, or the element that it belongs to.
    pub fn parent(self) -> Option<Self> {
        match self {
            Self::Tree(node) => node.parent().map(Self::Tree),
            Self::Attribute(owner, _) | Self::Namespace(owner, _) => Some(Self::Tree(owner)),
        }
    }

    /// Its text: an attribute's value, a text, or all texts within an element.
    pub fn string_value(self) -> String {
        match self {
            Self::Tree(node) => match node.node_type() {
                roxmltree::NodeType::Root | roxmltree::NodeType::Element => {
                    node.descendants().filter(Tree::is_text).filter_map(|text| text.text()).collect()
                }
                roxmltree::NodeType::PI => {
                    node.pi().and_then(|instruction| instruction.value).unwrap_or_default().to_owned()
                }
                _ => node.text().unwrap_or_default().to_owned(),
            },
            Self::Attribute(..) => {
                self.attribute().map(|attribute| attribute.value().to_owned()).unwrap_or_default()
            }
            Self::Namespace(owner, number) => {
                owner.namespaces().nth(number).map(|namespace| namespace.uri().to_owned()).unwrap_or_default()
            }
        }
    }

    /// Namespace and local name, where it has a name.
    pub fn expanded_name(self) -> Option<(Option<&'d str>, &'t str)> {
        match self {
            Self::Tree(node) => match node.node_type() {
                roxmltree::NodeType::Element => {
                    let name = node.tag_name();
                    Some((name.namespace().filter(|uri| !uri.is_empty()), name.name()))
                }
                roxmltree::NodeType::PI => node.pi().map(|instruction| (None, instruction.target)),
                _ => None,
            },
            Self::Attribute(..) => {
                self.attribute().map(|attribute| (attribute.namespace(), attribute.name()))
            }
            Self::Namespace(owner, number) => {
                owner.namespaces().nth(number).map(|namespace| (None, namespace.name().unwrap_or_default()))
            }
        }
    }

    /// The bytes of the text that it is written in: an attribute with its name, an element with all in it.
    pub fn range(self) -> Range<usize> {
        match self {
            Self::Tree(node) if node.is_text() => text_range(node),
            Self::Tree(node) => node.range(),
            Self::Attribute(owner, _) => {
                self.attribute().map_or_else(|| owner.range(), |attribute| attribute.range())
            }
            Self::Namespace(owner, _) => owner.range(),
        }
    }

    /// Its name as it is written, prefix included; empty where it has none.
    pub fn written_name(self) -> String {
        match self {
            Self::Tree(node) if node.is_element() => StartTag::of(node).name().to_owned(),
            Self::Attribute(owner, _) => {
                let at = self.range().start;
                let tag = StartTag::of(owner);
                let found = tag.attributes().find(|attribute| attribute.name_range().start == at);
                found.map(|attribute| attribute.name().to_owned()).unwrap_or_default()
            }
            _ => self.expanded_name().map(|(_, name)| name.to_owned()).unwrap_or_default(),
        }
    }

    /// Document order: an element, its namespaces, its attributes, then what is in it.
    pub(crate) fn order(self) -> (u32, u8, usize) {
        match self {
            Self::Tree(node) => (node.id().get(), 0, 0),
            Self::Namespace(owner, number) => (owner.id().get(), 1, number),
            Self::Attribute(owner, number) => (owner.id().get(), 2, number),
        }
    }
}

impl PartialEq for Node<'_, '_> {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Node<'_, '_> {}

impl PartialOrd for Node<'_, '_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Node<'_, '_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

/// Where a text is written. The tree merges a text with the CDATA sections beside it and knows where the first of them lies;
/// together they reach to what comes next.
fn text_range(node: Tree<'_, '_>) -> Range<usize> {
    let start = node.range().start;
    let end = match (node.next_sibling(), node.parent().filter(Tree::is_element)) {
        (Some(next), _) => next.range().start,
        (None, Some(parent)) => tag::content(parent).end,
        (None, None) => node.range().end,
    };
    // The range of a CDATA section is that of what is in it.
    let text = node.document().input_text();
    let start = if text[..start].ends_with("<![CDATA[") { start - "<![CDATA[".len() } else { start };
    start..end.max(start)
}
