//! Text as XML writes it.

use std::fmt::Write as _;

use crate::xml::{Text, XmlError};

/// A value between `quote`s. Line ends and tabs become references, since a reader takes them for spaces otherwise.
pub(crate) fn attribute(value: &str, quote: char, what: &str, file: &Text) -> Result<String, XmlError> {
    escape(value, what, file, |character| match character {
        '"' if quote == '"' => Some("&quot;"),
        '\'' if quote == '\'' => Some("&apos;"),
        '\n' => Some("&#10;"),
        '\r' => Some("&#13;"),
        '\t' => Some("&#9;"),
        _ => None,
    })
}

/// Text between tags. Its line ends become those of the file, since a reader takes them all for one.
pub(crate) fn text(value: &str, what: &str, file: &Text) -> Result<String, XmlError> {
    let newline = file.newline();
    escape(&value.replace("\r\n", "\n"), what, file, |character| match character {
        '\r' => Some("&#13;"),
        '\n' => Some(newline),
        _ => None,
    })
}

fn escape(
    value: &str,
    what: &str,
    file: &Text,
    own: impl Fn(char) -> Option<&'static str>,
) -> Result<String, XmlError> {
    let mut escaped = String::with_capacity(value.len() + 16);
    for character in value.chars() {
        if !is_xml(character) {
            return Err(XmlError::NotXmlCharacter { what: what.to_owned(), character });
        }
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            _ => match own(character) {
                Some(reference) => escaped.push_str(reference),
                None if file.can_hold(character) => escaped.push(character),
                None => {
                    let _ = write!(escaped, "&#x{:X};", u32::from(character));
                }
            },
        }
    }
    Ok(escaped)
}

/// Whether XML 1.0 can hold a character at all.
pub(crate) fn is_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Whether this can be the name of an attribute, with at most one prefix.
pub(crate) fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|first: char| first.is_alphabetic() || first == '_')
            && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '\u{b7}'))
    };
    match name.split_once(':') {
        Some((prefix, local)) => part(prefix) && part(local),
        None => part(name),
    }
}
