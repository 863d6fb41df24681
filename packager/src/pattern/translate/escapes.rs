//! What a backslash means, and what is between brackets.

use super::{END, Translator, literal};

/// One piece of a class.
enum Piece {
    Char(char),
    Set(String),
}

impl Translator {
    /// What a backslash outside of a class means.
    pub(super) fn escape(&mut self) -> Result<String, String> {
        let next = self.peek().ok_or("it ends in a `\\`")?;
        Ok(match next {
            'b' | 'B' | 'A' | 'z' | 'G' => {
                self.at += 1;
                format!("\\{next}")
            }
            'Z' => {
                self.at += 1;
                END.to_owned()
            }
            'k' => {
                self.at += 1;
                let end = if self.skip("<") {
                    '>'
                } else if self.skip("'") {
                    '\''
                } else {
                    return Err("`\\k` needs a name, as in `\\k<name>`".to_owned());
                };
                let name = self.until(end)?;
                if !name.starts_with(char::is_alphabetic) || !name.chars().all(super::is_word) {
                    return Err(format!("`\\k<{name}>` does not refer to a named group"));
                }
                format!("\\k<{name}>")
            }
            '1'..='9' => {
                self.at += 1;
                if self.peek().is_some_and(|c| c.is_ascii_digit()) {
                    return Err("references to groups beyond the ninth need names".to_owned());
                }
                self.numbered_reference = true;
                format!("(?:\\{next})")
            }
            _ => match self.piece()? {
                Piece::Char(c) => literal(c),
                Piece::Set(set) => set,
            },
        })
    }

    /// What a backslash means in a class, and mostly outside of one.
    fn piece(&mut self) -> Result<Piece, String> {
        let next = self.next().ok_or("it ends in a `\\`")?;
        Ok(Piece::Char(match next {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' => return Ok(Piece::Set(format!("\\{next}"))),
            'p' | 'P' => return self.property(next).map(Piece::Set),
            'a' => '\u{7}',
            'e' => '\u{1b}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'b' => '\u{8}',
            '0' => self.number(8, 0, 2)?,
            'x' => self.number(16, 2, 2)?,
            'u' => self.utf16()?,
            'c' => {
                let letter = self.next().filter(char::is_ascii).ok_or("`\\c` needs a letter")?;
                char::from(u8::try_from(letter.to_ascii_uppercase()).unwrap_or(0) & 0x1f)
            }
            c if c.is_ascii_alphanumeric() => return Err(format!("`\\{c}` means nothing to .NET")),
            c => c,
        }))
    }

    fn number(&mut self, radix: u32, least: usize, most: usize) -> Result<char, String> {
        let (mut value, mut digits) = (0, 0);
        while digits < most
            && let Some(digit) = self.peek().and_then(|c| c.to_digit(radix))
        {
            (value, digits) = (value * radix + digit, digits + 1);
            self.at += 1;
        }
        if digits < least {
            return Err(format!("a character's number needs {least} digits"));
        }
        char::from_u32(value).ok_or_else(|| "a character's number is that of no character".to_owned())
    }

    /// `\u1F3E` or a pair of surrogates.
    fn utf16(&mut self) -> Result<char, String> {
        let unit = |this: &mut Self| -> Result<u16, String> {
            let digits: String = this.text.iter().skip(this.at).take(4).collect();
            this.at += digits.chars().count();
            u16::from_str_radix(&digits, 16).map_err(|_| "`\\u` needs four digits".to_owned())
        };
        let first = unit(self)?;
        let mut units = vec![first];
        if (0xd800..0xdc00).contains(&first) && self.skip("\\u") {
            units.push(unit(self)?);
        }
        let text = String::from_utf16(&units).map_err(|_| "half a character can't be matched".to_owned())?;
        text.chars().next().ok_or_else(|| "`\\u` needs four digits".to_owned())
    }

    fn property(&mut self, letter: char) -> Result<String, String> {
        if !self.skip("{") {
            return Err(format!("`\\{letter}` needs a category, as in `\\{letter}{{Lu}}`"));
        }
        let name = self.until('}')?;
        let is_category = (1..=2).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphabetic());
        if !is_category {
            return Err(format!(
                "the Unicode block `{name}` is not supported: write its characters as a range"
            ));
        }
        Ok(format!("\\{letter}{{{name}}}"))
    }

    /// A class whose `[` has been read, with what .NET lets it subtract.
    pub(super) fn class(&mut self, depth: usize) -> Result<String, String> {
        const NOT_CLOSED: &str = "a `[` is not closed";
        if depth > 5 {
            return Err("it subtracts classes from classes too often".to_owned());
        }
        let mut said = String::from("[");
        if self.skip("^") {
            said.push('^');
        }
        let mut first = true;
        loop {
            let next = self.next().ok_or(NOT_CLOSED)?;
            match next {
                ']' if !first => {
                    said.push(']');
                    return Ok(said);
                }
                '-' if !first && self.peek() == Some('[') => {
                    self.at += 1;
                    let less = self.class(depth + 1)?;
                    if self.next() != Some(']') {
                        return Err("a class that is subtracted must come last".to_owned());
                    }
                    return Ok(format!("[{said}]--{less}]"));
                }
                _ => self.class_item(next, &mut said)?,
            }
            first = false;
        }
    }

    /// A character, a set, or a range of a class.
    fn class_item(&mut self, next: char, said: &mut String) -> Result<(), String> {
        let from = match if next == '\\' { self.piece()? } else { Piece::Char(next) } {
            Piece::Char(c) => c,
            Piece::Set(set) => {
                said.push_str(&set);
                return Ok(());
            }
        };
        let after = self.text.get(self.at + 1).copied();
        if self.peek() != Some('-') || matches!(after, None | Some(']' | '[')) {
            said.push_str(&literal(from));
            return Ok(());
        }
        self.at += 1;
        let next = self.next().ok_or("a `[` is not closed")?;
        let Piece::Char(to) = (if next == '\\' { self.piece()? } else { Piece::Char(next) }) else {
            return Err("a range in a class ends in a set".to_owned());
        };
        if from > to {
            return Err(format!("the range `{from}-{to}` in a class is the wrong way round"));
        }
        said.push_str(&format!("{}-{}", literal(from), literal(to)));
        Ok(())
    }
}
