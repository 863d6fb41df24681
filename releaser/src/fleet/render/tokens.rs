//! `#{NAME}#` in a text stands for a variable's value. `##{` stands for `#{` and begins no token. A value that was put in is not
//! read again, and is escaped for what stands around it: it can't end the string, element or comment that it is in.

use std::collections::BTreeSet;

use staith_model::RelPath;
use zeroize::Zeroizing;

use super::{
    MissingToken, RenderError,
    values::{Found, Values},
    yaml::Yaml,
};

/// Longest name between `#{` and `}#`, in bytes.
const LONGEST_NAME: usize = 220;
/// Largest file that tokens make, in bytes.
const LARGEST: usize = 32 << 20;

/// How values are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    Json,
    Xml,
    Plain,
    Yaml,
}

/// A text with values in it.
pub(super) struct Expanded {
    pub(super) text: Zeroizing<String>,
    pub(super) missing: Vec<MissingToken>,
    pub(super) has_secret: bool,
    pub(super) used: BTreeSet<String>,
}

/// `text` with everything that looks like the beginning of a token escaped: rendering gives `text` again.
pub fn escaped(text: &str) -> String {
    text.replace("#{", "##{")
}

enum Piece<'t> {
    Text(&'t str),
    /// `##{`.
    Literal,
    Token(&'t str),
}

/// The next piece of a text that is not empty, and how long it is.
fn next(text: &str) -> (Piece<'_>, usize) {
    if !text.starts_with('#') {
        let length = text.find('#').unwrap_or(text.len());
        return (Piece::Text(&text[..length]), length);
    }
    if text.starts_with("##{") {
        return (Piece::Literal, 3);
    }
    if let Some(rest) = text.strip_prefix("#{") {
        // Names are short and on one line: what is not closed at once is no token.
        let ends =
            rest.bytes().take(LONGEST_NAME).position(|byte| matches!(byte, b'{' | b'}' | b'\n' | b'\r'));
        if let Some(name) =
            ends.filter(|end| *end > 0 && rest[*end..].starts_with("}#")).map(|end| &rest[..end])
        {
            return (Piece::Token(name), name.len() + 4);
        }
    }
    (Piece::Text(&text[..1]), 1)
}

/// Puts values into the text of a file.
pub(super) fn expand(
    file: &RelPath,
    text: &str,
    context: Context,
    values: &Values,
) -> Result<Expanded, RenderError> {
    let mut expanded = Expanded {
        text: Zeroizing::new(String::with_capacity(text.len())),
        missing: Vec::new(),
        has_secret: false,
        used: BTreeSet::new(),
    };
    let (mut around, mut at) = (Around::new(context), 0);
    while at < text.len() {
        let (piece, length) = next(&text[at..]);
        match piece {
            Piece::Text(part) => {
                around.pass(part);
                expanded.text.push_str(part);
            }
            Piece::Literal => expanded.text.push_str("#{"),
            Piece::Token(name) => {
                let put = |value: &str, out: &mut String| around.put(value, out);
                let done = match values.get(name) {
                    None => {
                        expanded.missing.push(place(file, text, at, name));
                        Ok(())
                    }
                    Some(Found::Plain(value)) => put(value, &mut expanded.text),
                    Some(Found::Secret(secret)) => {
                        expanded.has_secret = true;
                        secret.expose_to(|value| put(value, &mut expanded.text))
                    }
                };
                done.map_err(|why| RenderError::Unfit { at: place(file, text, at, name), why })?;
                expanded.used.insert(name.to_owned());
            }
        }
        if expanded.text.len() > LARGEST {
            let why = "the values make it larger than 32 MiB".to_owned();
            return Err(RenderError::File { file: file.clone(), why });
        }
        at += length;
    }
    Ok(expanded)
}

fn place(file: &RelPath, text: &str, at: usize, name: &str) -> MissingToken {
    let before = &text[..at];
    let line = before.rsplit('\n').next().unwrap_or_default();
    MissingToken {
        file: file.clone(),
        line: before.matches('\n').count() + 1,
        column: line.chars().count() + 1,
        token: name.to_owned(),
    }
}

/// Puts values into a variable of the service's environment. Secrets have another way there.
pub(super) fn in_environment(
    variable: &str,
    text: &str,
    values: &Values,
    used: &mut dyn FnMut(&str) -> bool,
) -> Result<String, RenderError> {
    let (mut expanded, mut rest) = (String::new(), text);
    while !rest.is_empty() {
        let (piece, length) = next(rest);
        match piece {
            Piece::Text(part) => expanded.push_str(part),
            Piece::Literal => expanded.push_str("#{"),
            Piece::Token(name) => {
                let wrong =
                    |why| RenderError::InEnvironment { variable: variable.into(), token: name.into(), why };
                match values.get(name) {
                    Some(Found::Plain(value)) => expanded.push_str(value),
                    Some(Found::Secret(_)) => return Err(wrong("which is a secret")),
                    None => return Err(wrong("and there is no such variable")),
                }
                used(name);
            }
        }
        rest = &rest[length..];
    }
    Ok(expanded)
}

/// What stands around a place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Around {
    Plain,
    JsonOutside,
    JsonText,
    JsonEscape,
    JsonSlash,
    JsonLineComment,
    JsonBlockComment,
    JsonBlockCommentStar,
    Xml,
    XmlData,
    XmlComment,
    Yaml(Yaml),
}

impl Around {
    const fn new(context: Context) -> Self {
        match context {
            Context::Json => Self::JsonOutside,
            Context::Xml => Self::Xml,
            Context::Plain => Self::Plain,
            Context::Yaml => Self::Yaml(Yaml::Gap),
        }
    }

    /// Goes over a part of the text in which there is no token.
    fn pass(&mut self, part: &str) {
        match self {
            Self::Plain => {}
            Self::Yaml(at) => *at = part.chars().fold(*at, Yaml::after),
            Self::Xml | Self::XmlData | Self::XmlComment => self.pass_xml(part),
            _ => part.chars().for_each(|c| *self = self.after(c)),
        }
    }

    const fn after(self, c: char) -> Self {
        match (self, c) {
            (Self::JsonOutside, '"') | (Self::JsonEscape, _) => Self::JsonText,
            (Self::JsonOutside, '/') => Self::JsonSlash,
            (Self::JsonSlash, '/') => Self::JsonLineComment,
            (Self::JsonSlash, '*') => Self::JsonBlockComment,
            (Self::JsonSlash, '"') => Self::JsonText,
            (Self::JsonText, '\\') => Self::JsonEscape,
            (Self::JsonText, '"') | (Self::JsonLineComment, '\n') | (Self::JsonSlash, _) => Self::JsonOutside,
            (Self::JsonBlockCommentStar, '/') => Self::JsonOutside,
            (Self::JsonBlockComment | Self::JsonBlockCommentStar, '*') => Self::JsonBlockCommentStar,
            (Self::JsonBlockCommentStar, _) => Self::JsonBlockComment,
            (same, _) => same,
        }
    }

    fn pass_xml(&mut self, mut part: &str) {
        const DATA: &str = "<![CDATA[";
        const COMMENT: &str = "<!--";
        loop {
            let found = match self {
                Self::XmlData => part.find("]]>").map(|at| (at + 3, Self::Xml)),
                Self::XmlComment => part.find("-->").map(|at| (at + 3, Self::Xml)),
                _ => {
                    let data = part.find(DATA).map(|at| (at + DATA.len(), Self::XmlData));
                    let comment = part.find(COMMENT).map(|at| (at + COMMENT.len(), Self::XmlComment));
                    [data, comment].into_iter().flatten().min_by_key(|(at, _)| *at)
                }
            };
            let Some((at, then)) = found else { return };
            *self = then;
            part = &part[at..];
        }
    }

    /// Writes a value so that it stays where it is put.
    fn put(self, value: &str, out: &mut String) -> Result<(), &'static str> {
        match self {
            Self::Plain if value.contains('\0') => Err("the value holds a NUL character"),
            Self::Plain => {
                out.push_str(value);
                Ok(())
            }
            Self::JsonText | Self::JsonEscape => {
                let quoted = Zeroizing::new(serde_json::to_string(value).unwrap_or_default());
                out.push_str(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default());
                Ok(())
            }
            Self::JsonOutside | Self::JsonSlash => {
                if serde_json::from_str::<serde::de::IgnoredAny>(value).is_err() {
                    return Err("it stands outside of quotes, and the value is not JSON");
                }
                out.push_str(value);
                Ok(())
            }
            Self::JsonLineComment | Self::JsonBlockComment | Self::JsonBlockCommentStar => {
                if value.contains(['\n', '\r']) || value.contains("*/") {
                    return Err("it stands in a comment, which the value would end");
                }
                out.push_str(value);
                Ok(())
            }
            Self::Xml | Self::XmlData | Self::XmlComment => self.put_xml(value, out),
            Self::Yaml(at) => at.put(value, out),
        }
    }

    fn put_xml(self, value: &str, out: &mut String) -> Result<(), &'static str> {
        let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
        if !value.chars().all(allowed) {
            return Err("the value holds a character that XML can't");
        }
        if self == Self::XmlData {
            // `]` at its end could end the section together with what follows.
            if value.contains("]]>") || value.ends_with(']') {
                return Err("it stands in a CDATA section, which the value would end");
            }
            out.push_str(value);
            return Ok(());
        }
        if self == Self::XmlComment
            && (value.contains("--") || value.starts_with('-') || value.ends_with('-'))
        {
            return Err("it stands in a comment, which the value would end");
        }
        for c in value.chars() {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\'' => out.push_str("&apos;"),
                '\t' => out.push_str("&#9;"),
                '\n' => out.push_str("&#10;"),
                '\r' => out.push_str("&#13;"),
                c => out.push(c),
            }
        }
        Ok(())
    }
}
