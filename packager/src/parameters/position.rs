//! `line;column;count`: characters at a place in a text.

use std::{fmt, ops::Range, str::FromStr};

/// Characters at a place in a text.
///
/// Lines and columns count from 1: in the example of Microsoft's documents, `22;20;12` is `usernamehere` in line 22 of the
/// configuration that WordPress came with then, `define('DB_USER', 'usernamehere');`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line, counted from 1.
    pub line: usize,
    /// The first character in it, counted from 1.
    pub column: usize,
    /// How many characters are replaced; ends of lines count like others.
    pub count: usize,
}

/// A text that is no [`Position`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no position; write line;column;count, as in 22;20;12: lines and columns count from 1")]
pub struct NotAPosition(pub String);

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let refused = || NotAPosition(text.to_owned());
        let numbers: Result<Vec<usize>, _> = text.split(';').map(|part| part.trim().parse()).collect();
        match numbers.map_err(|_| refused())?.as_slice() {
            [line, column, count] if *line > 0 && *column > 0 => {
                Ok(Self { line: *line, column: *column, count: *count })
            }
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};{};{}", self.line, self.column, self.count)
    }
}

impl Position {
    /// The bytes of `text` that are meant, or why there are none. Lines end in CR LF, LF or CR.
    pub(super) fn find(self, text: &str) -> Result<Range<usize>, String> {
        let line = lines(text).nth(self.line - 1);
        let Some(line) = line else {
            return Err(format!("it has {} lines, and line {} is meant", lines(text).count(), self.line));
        };
        let mut starts = line.clone().filter(|at| text.is_char_boundary(*at)).chain([line.end]);
        let Some(start) = starts.nth(self.column - 1) else {
            let characters = text[line].chars().count();
            return Err(format!(
                "line {} has {characters} characters, and column {} is meant",
                self.line, self.column
            ));
        };
        let rest = &text[start..];
        let end = rest.char_indices().map(|(at, _)| at).chain([rest.len()]).nth(self.count);
        match end {
            Some(end) => Ok(start..start + end),
            None => Err(format!("fewer than {} characters are left there", self.count)),
        }
    }
}

/// The lines of a text, without their ends.
fn lines(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let start = next?;
        let length = text[start..].find(['\r', '\n']);
        let end = length.map_or(text.len(), |length| start + length);
        next = length.map(|_| if text[end..].starts_with("\r\n") { end + 2 } else { end + 1 });
        Some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microsofts_own_example_means_the_user_name() {
        let config = format!("{}define('DB_USER', 'usernamehere');\r\n", "\r\n".repeat(21));
        let position: Position = " 22; 20 ;12".parse().unwrap();
        assert_eq!(&config[position.find(&config).unwrap()], "usernamehere");
        assert_eq!(position.to_string(), "22;20;12");
    }

    #[test]
    fn characters_are_counted_not_bytes_and_ends_of_lines_count() {
        let at = |position: &str| position.parse::<Position>().unwrap();
        let text = "äöü\nlamp\r\nend";
        assert_eq!(&text[at("1;2;1").find(text).unwrap()], "ö");
        assert_eq!(&text[at("2;3;6").find(text).unwrap()], "mp\r\nen");
        assert_eq!(at("3;4;0").find(text).unwrap(), text.len()..text.len());
        assert_eq!(at("1;1;0").find("").unwrap(), 0..0);
        for beyond in ["4;1;0", "1;5;0", "3;1;4"] {
            assert!(at(beyond).find(text).is_err(), "{beyond}");
        }
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for bad in ["", "1;2", "1;2;3;4", "0;1;1", "1;0;1", "a;1;1", "1;1;-1", "99999999999999999999;1;1"] {
            assert!(bad.parse::<Position>().is_err(), "{bad}");
        }
    }
}
