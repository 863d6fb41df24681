//! What a file may not cost, found out before it is parsed.
//!
//! The parser bounds the number of nodes. Namespaces in scope are copied for each element that declares one, attributes of an
//! element are compared with one another, and depth is known only in the end: each of them lets a small file cost gigabytes or
//! minutes. So the text is looked through once before, by an eye that sees no more than tags.

use crate::xml::{XmlError, position};

/// Elements within elements; real configuration has about ten.
const DEEPEST: usize = 256;
/// Attributes of one element, and namespaces in scope of one.
const MOST_ATTRIBUTES: usize = 256;
/// Copies of namespaces, over all elements that declare one.
const MOST_SCOPES: usize = 1 << 22;

/// Refuses files that cost too much, and document types that declare more than a name.
pub(super) fn check(text: &str) -> Result<(), XmlError> {
    let mut eye = Eye { text, at: 0, scopes: vec![0], copies: 0 };
    while let Some(next) = text[eye.at..].find('<') {
        eye.at += next;
        let rest = &text[eye.at..];
        let skipped = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")]
            .into_iter()
            .find(|(start, _)| rest.starts_with(start));
        match skipped {
            Some((start, end)) => match rest[start.len()..].find(end) {
                Some(found) => eye.at += start.len() + found + end.len(),
                // The parser says it better.
                None => return Ok(()),
            },
            None if rest.starts_with("<!DOCTYPE") => eye.document_type()?,
            None if rest.starts_with("</") => {
                eye.at += 2;
                eye.leave();
            }
            None => eye.tag()?,
        }
    }
    Ok(())
}

struct Eye<'t> {
    text: &'t str,
    at: usize,
    /// Namespaces in scope of each open element; the first is the document's.
    scopes: Vec<usize>,
    copies: usize,
}

impl Eye<'_> {
    fn leave(&mut self) {
        if self.scopes.len() > 1 {
            self.scopes.pop();
        }
    }

    /// Goes to the end of a start tag.
    fn tag(&mut self) -> Result<(), XmlError> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let (mut attributes, mut declared, mut quote) = (0, 0, None);
        let (mut name, mut in_space) = (start, false);
        self.at += 1;
        while let Some(byte) = bytes.get(self.at).copied() {
            match (quote, byte) {
                (Some(open), _) if open == byte => quote = None,
                (Some(_), _) => {}
                (None, b'"' | b'\'') => quote = Some(byte),
                (None, b'=') => {
                    attributes += 1;
                    declared += usize::from(self.text[name..].starts_with("xmlns"));
                }
                (None, b'>') => break,
                // No tag holds this; the parser stops here, and so whatever follows costs nothing.
                (None, b'<') => return Ok(()),
                (None, _) if in_space && !byte.is_ascii_whitespace() => name = self.at,
                _ => {}
            }
            in_space = byte.is_ascii_whitespace();
            self.at += 1;
        }
        let in_scope = self.scopes.last().copied().unwrap_or_default() + declared;
        if declared > 0 {
            self.copies += in_scope;
        }
        if attributes > MOST_ATTRIBUTES || in_scope > MOST_ATTRIBUTES || self.copies > MOST_SCOPES {
            return Err(XmlError::TooManyAttributes {
                at: position(self.text, start),
                most: MOST_ATTRIBUTES,
            });
        }
        if !self.text[..self.at].ends_with('/') {
            self.scopes.push(in_scope);
            if self.scopes.len() > DEEPEST {
                return Err(XmlError::TooDeep { at: position(self.text, start), most: DEEPEST });
            }
        }
        Ok(())
    }

    /// Goes to the end of a document type, which may name files that nobody fetches and may declare elements, but no entities.
    fn document_type(&mut self) -> Result<(), XmlError> {
        let rest = &self.text[self.at..];
        let (mut at, mut brackets) = (2, 0_usize);
        while let Some(character) = rest[at..].chars().next() {
            let here = &rest[at..];
            if let Some(comment) = here.strip_prefix("<!--") {
                match comment.find("-->") {
                    Some(end) => at += 4 + end + 3,
                    None => return Err(XmlError::Entities),
                }
                continue;
            }
            match character {
                '"' | '\'' => {
                    let literal = here[1..].split_once(character).map(|(literal, _)| literal);
                    // An end that one reader sees and another does not would be a way around the bounds.
                    match literal.filter(|literal| !literal.contains(['<', '>', '[', ']', '%'])) {
                        Some(literal) => at += literal.len() + 1,
                        None => return Err(XmlError::Entities),
                    }
                }
                '%' => return Err(XmlError::Entities),
                '<' if here.starts_with("<!ENTITY") || here.starts_with("<?") => {
                    return Err(XmlError::Entities);
                }
                '[' => brackets += 1,
                ']' => brackets = brackets.saturating_sub(1),
                '>' if brackets == 0 => {
                    self.at += at + 1;
                    return Ok(());
                }
                _ => {}
            }
            at += character.len_utf8();
        }
        self.at = self.text.len();
        Ok(())
    }
}
