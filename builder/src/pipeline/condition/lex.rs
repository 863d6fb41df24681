//! Words, texts and signs of a condition.

use std::ops::Range;

use crate::pipeline::{flaw::Flaw, problems::quoted};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// `event`, `parameters.full`, `and`.
    Word(String),
    /// What is between quotes.
    Text(String),
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    Equal,
    Unequal,
}

/// A token and where it stands in the condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) place: Range<usize>,
}

/// What other languages write, and what means it here.
const ELSEWHERE: [(&str, &str); 7] = [
    ("&&", "and"),
    ("||", "or"),
    ("&", "and"),
    ("|", "or"),
    ("=~", "in [\"...\"]"),
    ("!", "not"),
    ("=", "=="),
];

pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, Flaw> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (token, length) = next(&text[at..]).map_err(|flaw| flaw.moved_by(at))?;
        tokens.push(Placed { token, place: at..at + length });
        at += length;
    }
    Ok(tokens)
}

/// The first token of `rest`, which is not empty, and its length.
fn next(rest: &str) -> Result<(Token, usize), Flaw> {
    const SIGNS: [(&str, Token); 7] = [
        ("==", Token::Equal),
        ("!=", Token::Unequal),
        ("(", Token::Open),
        (")", Token::Close),
        ("[", Token::OpenList),
        ("]", Token::CloseList),
        (",", Token::Comma),
    ];
    if let Some((sign, token)) = SIGNS.into_iter().find(|(sign, _)| rest.starts_with(sign)) {
        return Ok((token, sign.len()));
    }
    if rest.starts_with(['"', '\'']) {
        return quoted_text(rest);
    }
    let is_word = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    if length > 0 {
        return Ok((Token::Word(rest[..length].to_owned()), length));
    }
    Err(unknown_sign(rest))
}

fn quoted_text(rest: &str) -> Result<(Token, usize), Flaw> {
    let quote = if rest.starts_with('"') { '"' } else { '\'' };
    match rest[1..].find(quote) {
        Some(length) => Ok((Token::Text(rest[1..1 + length].to_owned()), length + 2)),
        None => Err(Flaw::at(
            0..rest.len(),
            "holds a text that is not finished",
            "the quote that ends it is missing",
            format!("end the text with `{quote}`"),
        )),
    }
}

fn unknown_sign(rest: &str) -> Flaw {
    if let Some((sign, meant)) = ELSEWHERE.iter().find(|(sign, _)| rest.starts_with(sign)) {
        return Flaw::at(
            0..sign.len(),
            format!("holds `{sign}`"),
            "this sign means nothing here",
            format!("write `{meant}`"),
        );
    }
    let sign = rest.chars().next().map_or(String::new(), String::from);
    Flaw::at(
        0..sign.len(),
        format!("holds {}", quoted(&sign)),
        "this sign means nothing here",
        "a condition has facts such as `event`, texts in quotes, `==`, `!=`, `in`, `and`, `or`, `not` and parentheses",
    )
}
