//! What stands around a place in YAML, line by line, and how a value stays where it is put.

use zeroize::Zeroizing;

/// Where one is in a line. Text in quotes that goes over several lines counts as text without quotes from its second line on, where
/// fewer values are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Yaml {
    /// What came last could stand before a quote that begins a text.
    Gap,
    Word,
    Double,
    DoubleEscape,
    Single,
    Comment,
}

impl Yaml {
    pub(super) const fn after(self, c: char) -> Self {
        match (self, c) {
            (_, '\n') => Self::Gap,
            (Self::Comment, _) => Self::Comment,
            (Self::Double, '\\') => Self::DoubleEscape,
            (Self::DoubleEscape, _) => Self::Double,
            (Self::Double, '"') | (Self::Single, '\'') => Self::Word,
            (Self::Double, _) => Self::Double,
            (Self::Single, _) => Self::Single,
            (Self::Gap, '"') => Self::Double,
            (Self::Gap, '\'') => Self::Single,
            (Self::Gap, '#') => Self::Comment,
            (_, ' ' | '\t' | '[' | '{' | ',') => Self::Gap,
            _ => Self::Word,
        }
    }

    /// Writes a value so that it stays where it is put.
    pub(super) fn put(self, value: &str, out: &mut String) -> Result<(), &'static str> {
        match self {
            // Every text of JSON is one of YAML in double quotes.
            Self::Double | Self::DoubleEscape => {
                let quoted = Zeroizing::new(serde_json::to_string(value).unwrap_or_default());
                out.push_str(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default());
                return Ok(());
            }
            _ if value.chars().any(char::is_control) => {
                return Err(
                    "the value has a line break or a control character; put the token in double quotes",
                );
            }
            Self::Single => {
                out.push_str(&Zeroizing::new(value.replace('\'', "''")));
                return Ok(());
            }
            Self::Gap | Self::Word | Self::Comment => {}
        }
        let begins_well = value.starts_with(|c: char| c.is_alphanumeric() || "/._+".contains(c));
        let has_meaning =
            value.contains([',', '[', ']', '{', '}']) || value.contains(": ") || value.contains(" #");
        if self != Self::Comment && (!begins_well || has_meaning || value.ends_with([':', ' '])) {
            return Err("the value would mean something else without quotes; put the token in double quotes");
        }
        out.push_str(value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(before: &str, value: &str) -> Result<String, &'static str> {
        let at = before.chars().fold(Yaml::Gap, Yaml::after);
        let mut out = String::new();
        at.put(value, &mut out).map(|()| out)
    }

    #[test]
    fn a_value_stays_where_it_is_put() {
        assert_eq!(put("hostname: \"", "a\"\nruncmd: [evil]").unwrap(), "a\\\"\\nruncmd: [evil]");
        assert_eq!(put("hostname: '", "it's").unwrap(), "it''s");
        assert!(put("hostname: '", "a\nb").is_err());
        let key = "ssh-ed25519 AAAAC3Nza+/= anna@example";
        assert_eq!(put("  - ", key).unwrap(), key);
        for bad in ["a: b", "a #b", "[a]", "- a", "*a", "a\nb", "", "a:", "!x", "{a"] {
            assert!(put("hostname: ", bad).is_err(), "{bad:?}");
            assert!(put("hostname: \"", bad).is_ok(), "{bad:?}");
        }
    }

    #[test]
    fn quotes_count_where_they_begin_a_text() {
        assert!(put("final: don't ", "a\"b: c").is_err(), "an apostrophe in a word");
        assert!(put("# it's ", "a: b").is_ok(), "a comment ends with its line");
        assert!(put("# it's \nhostname: ", "a: b").is_err());
        assert_eq!(put("a: \"b\" # \"", "c").unwrap(), "c");
    }
}
