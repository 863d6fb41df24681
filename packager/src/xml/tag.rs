//! Start tags as they are written. The tree knows what attributes mean; edits have to know their quotes and the space around.

use std::ops::Range;

use roxmltree::Node as Tree;

/// The start tag of an element.
#[derive(Debug, Clone)]
pub struct StartTag<'t> {
    text: &'t str,
    name: Range<usize>,
    attributes: Vec<RawParts>,
    /// The first byte after `>`.
    end: usize,
    empty: bool,
}

#[derive(Debug, Clone)]
struct RawParts {
    name: Range<usize>,
    value: Range<usize>,
}

/// An attribute as it is written; declarations of namespaces are among them.
#[derive(Debug, Clone, Copy)]
pub struct RawAttribute<'s> {
    text: &'s str,
    parts: &'s RawParts,
}

impl<'t> StartTag<'t> {
    /// The start tag of an element; anything else has an empty one.
    pub fn of(element: Tree<'_, 't>) -> Self {
        let text = element.document().input_text();
        let range = element.range();
        if !element.is_element() {
            return Self {
                text,
                name: range.start..range.start,
                attributes: Vec::new(),
                end: range.start,
                empty: true,
            };
        }
        // The tag is well-formed, since the tree has been made from it; every byte that matters is ASCII.
        let bytes = text.as_bytes();
        let skip = |mut at: usize, what: fn(u8) -> bool| {
            while at < range.end && what(bytes[at]) {
                at += 1;
            }
            at
        };
        let name_start = range.start + 1;
        let mut at = skip(name_start, is_name);
        let name = name_start..at;
        let mut attributes = Vec::new();
        let mut empty = false;
        loop {
            at = skip(at, |byte| byte.is_ascii_whitespace());
            match bytes.get(at).filter(|_| at < range.end) {
                Some(b'/') => {
                    empty = true;
                    at += 1;
                }
                Some(b'>') => break at += 1,
                None => break,
                Some(_) => {
                    let start = at;
                    at = skip(at, is_name);
                    let name = start..at;
                    at = skip(at, |byte| byte.is_ascii_whitespace() || byte == b'=');
                    let quote = bytes.get(at).copied().unwrap_or_default();
                    let value = at + 1;
                    at = value;
                    while at < range.end && bytes[at] != quote {
                        at += 1;
                    }
                    attributes.push(RawParts { name, value: value.min(at)..at });
                    at += 1;
                }
            }
        }
        Self { text, name, attributes, end: at, empty }
    }

    /// The element's name with its prefix.
    pub fn name(&self) -> &'t str {
        &self.text[self.name.clone()]
    }

    /// Where the name is.
    pub fn name_range(&self) -> Range<usize> {
        self.name.clone()
    }

    /// Its attributes as they are written, in that order.
    pub fn attributes(&self) -> impl DoubleEndedIterator<Item = RawAttribute<'_>> + ExactSizeIterator {
        self.attributes.iter().map(|parts| RawAttribute { text: self.text, parts })
    }

    /// The attribute with this written name.
    pub fn attribute(&self, name: &str) -> Option<RawAttribute<'_>> {
        self.attributes().find(|attribute| attribute.name() == name)
    }

    /// The first byte after the tag.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Whether it is written as `<name/>`.
    pub fn is_empty_element(&self) -> bool {
        self.empty
    }
}

impl<'s> RawAttribute<'s> {
    /// The name with its prefix.
    pub fn name(&self) -> &'s str {
        &self.text[self.parts.name.clone()]
    }

    /// Where the name is.
    pub fn name_range(&self) -> Range<usize> {
        self.parts.name.clone()
    }

    /// The value as it is written, references included, without its quotes.
    pub fn raw_value(&self) -> &'s str {
        &self.text[self.parts.value.clone()]
    }

    /// Where the value is, without its quotes.
    pub fn value_range(&self) -> Range<usize> {
        self.parts.value.clone()
    }

    /// The quote around the value.
    pub fn quote(&self) -> char {
        self.text[..self.parts.value.start].chars().next_back().unwrap_or('"')
    }

    /// Whether it declares a namespace.
    pub fn declares_namespace(&self) -> bool {
        self.name() == "xmlns" || self.name().starts_with("xmlns:")
    }
}

/// The bytes between an element's tags; nothing, at its end, where it is written as `<name/>`.
pub(crate) fn content(element: Tree<'_, '_>) -> Range<usize> {
    let tag = StartTag::of(element);
    let end = element.range().end;
    if tag.is_empty_element() || !element.is_element() {
        return end..end;
    }
    let close = element.document().input_text()[..end].rfind("</").unwrap_or(end);
    tag.end()..close.max(tag.end())
}

fn is_name(byte: u8) -> bool {
    !byte.is_ascii_whitespace() && !matches!(byte, b'=' | b'>' | b'/')
}
