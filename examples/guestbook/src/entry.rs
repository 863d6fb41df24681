//! What visitors write, and what of it is taken.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest name, in characters.
pub const NAME_LIMIT: usize = 40;
/// Longest message, in characters.
pub const MESSAGE_LIMIT: usize = 500;

/// What a visitor sent, not looked at yet.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Draft {
    pub name: String,
    pub message: String,
}

/// A line in the book. Its text is as the visitor meant it; escaping is up to whoever shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub name: String,
    pub message: String,
    /// Seconds since 1970.
    pub written: u64,
}

/// Why a draft did not become an entry, in words for the visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NameMissing,
    NameTooLong,
    MessageMissing,
    MessageTooLong,
    ControlCharacter,
}

impl Draft {
    /// Tidies the draft and takes it, or says why not.
    pub fn accept(&self, now: u64) -> Result<Entry, Refusal> {
        let name = self.name.trim();
        // Browsers send line ends as CR LF, whatever the visitor's system.
        let message = self.message.trim().replace("\r\n", "\n");
        match name.chars().count() {
            0 => return Err(Refusal::NameMissing),
            1..=NAME_LIMIT => {}
            _ => return Err(Refusal::NameTooLong),
        }
        match message.chars().count() {
            0 => return Err(Refusal::MessageMissing),
            1..=MESSAGE_LIMIT => {}
            _ => return Err(Refusal::MessageTooLong),
        }
        if name.contains(char::is_control) || message.contains(|c: char| c.is_control() && c != '\n') {
            return Err(Refusal::ControlCharacter);
        }
        Ok(Entry { name: name.to_owned(), message, written: now })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameMissing => f.write_str("Please say who you are."),
            Self::NameTooLong => write!(f, "Please use a name of at most {NAME_LIMIT} characters."),
            Self::MessageMissing => f.write_str("Please write a message."),
            Self::MessageTooLong => {
                write!(f, "Please use at most {MESSAGE_LIMIT} characters for the message.")
            }
            Self::ControlCharacter => f.write_str("Please leave out control characters."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(name: &str, message: &str) -> Result<Entry, Refusal> {
        Draft { name: name.into(), message: message.into() }.accept(7)
    }

    #[test]
    fn an_entry_is_tidied() {
        let entry = accept("  Ada\t", "\r\nHello,\r\nbook! ").unwrap();
        assert_eq!(entry, Entry { name: "Ada".into(), message: "Hello,\nbook!".into(), written: 7 });
    }

    #[test]
    fn markup_is_taken_as_text() {
        assert_eq!(accept("<b>", "1 < 2 && \"so\"").unwrap().message, "1 < 2 && \"so\"");
    }

    #[test]
    fn both_fields_are_needed() {
        assert_eq!(accept(" \u{a0} ", "Hello"), Err(Refusal::NameMissing));
        assert_eq!(accept("Ada", "\r\n"), Err(Refusal::MessageMissing));
    }

    #[test]
    fn limits_count_characters_and_not_bytes() {
        assert!(accept(&"é".repeat(NAME_LIMIT), &"雨".repeat(MESSAGE_LIMIT)).is_ok());
        assert_eq!(accept(&"e".repeat(NAME_LIMIT + 1), "Hello"), Err(Refusal::NameTooLong));
        assert_eq!(accept("Ada", &"r".repeat(MESSAGE_LIMIT + 1)), Err(Refusal::MessageTooLong));
    }

    #[test]
    fn control_characters_are_refused() {
        assert_eq!(accept("A\nda", "Hello"), Err(Refusal::ControlCharacter));
        assert_eq!(accept("Ada", "\u{1b}[2Jgone"), Err(Refusal::ControlCharacter));
        assert_eq!(accept("Ada", "nul\0"), Err(Refusal::ControlCharacter));
    }
}
