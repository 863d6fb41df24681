//! From tokens to a tree; what it means is another matter.
//!
//! ```text
//! condition = all { "or" all }
//! all       = not { "and" not }
//! not       = "not" not | single
//! single    = "(" condition ")" | value [ ( "==" | "!=" | [ "not" ] "in" ) value ]
//! value     = word [ "(" [ value { "," value } ] ")" ] | text | "[" [ value { "," value } ] "]"
//! ```

use std::ops::Range;

use super::lex::{Placed, Token, tokens};
use crate::pipeline::flaw::Flaw;

/// Parentheses and `not` in each other; nobody reads more, and the reader's own stack stays bounded.
const DEEPEST: usize = 32;
/// Bytes; a condition is to be read.
const LONGEST: usize = 2000;

/// A part of a condition and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) form: Form,
    pub(super) place: Range<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    Any(Vec<Node>),
    All(Vec<Node>),
    Not(Box<Node>),
    Word(String),
    Text(String),
    List(Vec<Node>),
    Call { name: String, arguments: Vec<Node> },
    Compare { left: Box<Node>, how: Comparison, right: Box<Node> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    In,
    NotIn,
}

pub(super) fn parse(text: &str) -> Result<Node, Flaw> {
    if text.len() > LONGEST {
        return Err(Flaw::at(
            0..0,
            format!("is {} bytes long; {LONGEST} is the most", text.len()),
            "nobody reads such a condition",
            "split the step, or let a script decide",
        ));
    }
    let mut parser = Parser { tokens: &tokens(text)?, at: 0, end: text.trim_end().len(), depth: 0 };
    if parser.tokens.is_empty() {
        return Err(Flaw::at(
            0..text.len(),
            "is empty",
            "this asks for nothing",
            "write a condition such as `event == \"push\"`, or leave the key out",
        ));
    }
    let node = parser.any()?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.unexpected("`and`, `or` or the end belongs here")),
    }
}

struct Parser<'t> {
    tokens: &'t [Placed],
    at: usize,
    /// Where the text ends, for what is missing there.
    end: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|placed| &placed.token)
    }

    fn is_word(&self, at: usize, word: &str) -> bool {
        matches!(self.tokens.get(at).map(|placed| &placed.token), Some(Token::Word(other)) if other == word)
    }

    /// Goes on behind the token if it is the next one.
    fn take(&mut self, token: &Token) -> bool {
        let is_next = self.peek() == Some(token);
        self.at += usize::from(is_next);
        is_next
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_next = self.is_word(self.at, word);
        self.at += usize::from(is_next);
        is_next
    }

    fn here(&self) -> Range<usize> {
        self.tokens.get(self.at).map_or(self.end..self.end, |placed| placed.place.clone())
    }

    /// From a place to what was read last.
    fn since(&self, start: usize) -> Range<usize> {
        let end = self.at.checked_sub(1).and_then(|last| self.tokens.get(last));
        start..end.map_or(start, |placed| placed.place.end).max(start)
    }

    fn unexpected(&self, label: &str) -> Flaw {
        let what = if self.peek().is_none() { "ends too early" } else { "can't be read" };
        Flaw::at(self.here(), what, label, "for example: `event == \"push\" and (branch == \"main\" or tag)`")
    }

    fn any(&mut self) -> Result<Node, Flaw> {
        self.joined("or", Self::all, Form::Any)
    }

    fn all(&mut self) -> Result<Node, Flaw> {
        self.joined("and", Self::not, Form::All)
    }

    fn joined(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Node, Flaw>,
        form: fn(Vec<Node>) -> Form,
    ) -> Result<Node, Flaw> {
        let start = self.here().start;
        let first = part(self)?;
        if !self.is_word(self.at, word) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take_word(word) {
            parts.push(part(self)?);
        }
        Ok(Node { form: form(parts), place: self.since(start) })
    }

    fn not(&mut self) -> Result<Node, Flaw> {
        let start = self.here().start;
        if !self.take_word("not") {
            return self.single();
        }
        let inner = self.deeper(Self::not)?;
        Ok(Node { form: Form::Not(Box::new(inner)), place: self.since(start) })
    }

    fn deeper(&mut self, part: fn(&mut Self) -> Result<Node, Flaw>) -> Result<Node, Flaw> {
        if self.depth == DEEPEST {
            return Err(Flaw::at(
                self.here(),
                "is nested too deeply",
                "this is not read any further",
                "split the step, or let a script decide",
            ));
        }
        self.depth += 1;
        let node = part(self);
        self.depth -= 1;
        node
    }

    fn single(&mut self) -> Result<Node, Flaw> {
        if self.take(&Token::Open) {
            let inner = self.deeper(Self::any)?;
            if !self.take(&Token::Close) {
                return Err(self.unexpected("a `)` belongs here"));
            }
            return Ok(inner);
        }
        let left = self.value()?;
        let how = if self.take(&Token::Equal) {
            Comparison::Equal
        } else if self.take(&Token::Unequal) {
            Comparison::Unequal
        } else if self.take_word("in") {
            Comparison::In
        } else if self.is_word(self.at, "not") && self.is_word(self.at + 1, "in") {
            self.at += 2;
            Comparison::NotIn
        } else {
            return Ok(left);
        };
        let right = self.value()?;
        let place = left.place.start..right.place.end;
        Ok(Node { form: Form::Compare { left: Box::new(left), how, right: Box::new(right) }, place })
    }

    fn value(&mut self) -> Result<Node, Flaw> {
        let start = self.here();
        match self.peek().cloned() {
            Some(Token::Text(text)) => {
                self.at += 1;
                Ok(Node { form: Form::Text(text), place: start })
            }
            Some(Token::Word(word)) if !["and", "or", "not", "in"].contains(&word.as_str()) => {
                self.at += 1;
                if !self.take(&Token::Open) {
                    return Ok(Node { form: Form::Word(word), place: start });
                }
                let arguments = self.deeper_items(&Token::Close, "`,` or `)` belongs here")?;
                Ok(Node { form: Form::Call { name: word, arguments }, place: self.since(start.start) })
            }
            Some(Token::OpenList) => {
                self.at += 1;
                let items = self.deeper_items(&Token::CloseList, "`,` or `]` belongs here")?;
                Ok(Node { form: Form::List(items), place: self.since(start.start) })
            }
            _ => Err(self.unexpected("a fact, a text or a function belongs here")),
        }
    }

    /// Values with commas between them, up to `end`.
    fn deeper_items(&mut self, end: &Token, label: &str) -> Result<Vec<Node>, Flaw> {
        let mut items = Vec::new();
        while !self.take(end) {
            items.push(self.deeper(Self::value)?);
            if !self.take(&Token::Comma) && self.peek() != Some(end) {
                return Err(self.unexpected(label));
            }
        }
        Ok(items)
    }
}
