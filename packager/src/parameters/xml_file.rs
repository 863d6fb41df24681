//! A value into nodes of an XML document.

use super::apply::Done;
use crate::xml::{Document, Edits, Fragment, Namespaces, Node, Text, XPath, XmlError};

/// Puts `value` into what `xpath` selects in a document: attributes and texts become the value; an element gets it as its first
/// child, or is removed where the value is empty. Everything else in the file stays as it is, byte for byte.
///
/// The `Err` says why the file can't hold the value. No value is in what is said.
pub(super) fn apply(xpath: &XPath, bytes: &[u8], value: &str) -> Result<Done, String> {
    let missed = |why: XmlError| Ok(Done::Missed(why.to_string()));
    let text = match Text::decode(bytes) {
        Ok(text) => text,
        Err(why) => return missed(why),
    };
    let document = match Document::parse(&text) {
        Ok(document) => document,
        Err(why) => return missed(why),
    };
    let nodes = match document.select(xpath, &namespaces(&document, xpath)) {
        Ok(nodes) => nodes,
        // A prefix that this document does not have selects nothing in it.
        Err(why) => return Ok(Done::Missed(why.to_string())),
    };
    let (mut edits, mut skipped, mut changed) = (Edits::new(&document), None, false);
    for node in nodes {
        match change(&mut edits, &document, node, value).map_err(|why| why.to_string())? {
            None => changed = true,
            Some(why) => skipped = Some(format!("it selects {why}")),
        }
    }
    if !changed {
        return Ok(skipped.map_or(Done::NotThere, Done::Missed));
    }
    let encoded = edits.apply().and_then(|text| text.encode()).map_err(|why| why.to_string())?;
    Ok(Done::Changed(encoded, skipped))
}

/// Changes one node, or says what it is that can't be changed.
fn change<'d, 't>(
    edits: &mut Edits<'d, 't>,
    document: &Document<'t>,
    node: Node<'d, 't>,
    value: &str,
) -> Result<Option<&'static str>, XmlError> {
    match node {
        Node::Attribute(..) => edits.set_value(node, value).map(|()| None),
        Node::Tree(tree) if tree.is_text() => {
            if document.text().as_str()[node.range()].contains("<![CDATA[") {
                return Ok(Some("a CDATA section, which values don't replace"));
            }
            edits.set_value(node, value).map(|()| None)
        }
        Node::Tree(tree) if tree.is_element() => {
            if value.is_empty() {
                return edits.remove(node).map(|()| None);
            }
            let Ok(fragment) = Fragment::parse(value) else {
                return Ok(Some("an element, and the value is not one well-formed element to put into it"));
            };
            edits.insert_first(tree, &fragment).map(|()| None)
        }
        Node::Tree(tree) if tree.is_comment() => Ok(Some("a comment, which values don't replace")),
        Node::Tree(tree) if tree.is_pi() => Ok(Some("a processing instruction, which values don't replace")),
        Node::Tree(_) => Ok(Some("the document itself")),
        Node::Namespace(..) => Ok(Some("a namespace, which values don't replace")),
    }
}

/// The prefixes that expressions may use: those of the outermost element, then those that are declared further in, the first of a
/// prefix counting.
fn namespaces(document: &Document<'_>, xpath: &XPath) -> Namespaces {
    let mut all = Namespaces::default();
    if !xpath.as_str().contains(':') {
        return all;
    }
    for element in document.tree().descendants().filter(roxmltree::Node::is_element) {
        for declared in element.namespaces() {
            if let Some(prefix) = declared.name()
                && all.uri(prefix).is_none()
            {
                all = all.with(prefix, declared.uri());
            }
        }
    }
    all
}
