//! .NET's dialect in the words of `fancy-regex`. What can't be said there is refused, never said wrongly.

mod escapes;

use std::fmt::Write as _;

/// Groups within groups: the parser behind this one calls itself for each.
const DEEPEST: usize = 60;

/// What `(?...)` switches. Letter case is left to the engine, the rest is said out here.
#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    multiline: bool,
    single_line: bool,
    extended: bool,
    explicit: bool,
}

/// What stands before the place that is read: what a quantifier would apply to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Atom,
    Quantifier,
}

struct Translator {
    text: Vec<char>,
    at: usize,
    out: String,
    flags: Flags,
    outer: Vec<Flags>,
    before: Before,
    named: bool,
    unnamed: bool,
    numbered_reference: bool,
}

/// .NET's `$` and `\Z`: the end, or a line feed that is the last character.
const END: &str = r"(?=\x{A}?\z)";

/// Says `source` in the other dialect, or why that can't be done.
pub(super) fn translate(source: &str) -> Result<String, String> {
    let mut this = Translator {
        text: source.chars().collect(),
        at: 0,
        out: String::with_capacity(source.len() * 2),
        flags: Flags::default(),
        outer: Vec::new(),
        before: Before::Nothing,
        named: false,
        unnamed: false,
        numbered_reference: false,
    };
    while let Some(next) = this.next() {
        this.step(next)?;
    }
    if !this.outer.is_empty() {
        return Err("a `(` is not closed".to_owned());
    }
    if this.numbered_reference && this.named && this.unnamed {
        return Err(
            "it refers to a group by number, but has named groups as well, which .NET numbers last; \
                    name the group"
                .to_owned(),
        );
    }
    Ok(this.out)
}

fn literal(c: char) -> String {
    if c.is_ascii() && !c.is_ascii_alphanumeric() {
        format!("\\x{{{:X}}}", u32::from(c))
    } else {
        c.to_string()
    }
}

impl Translator {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    fn skip(&mut self, text: &str) -> bool {
        let found = text.chars().enumerate().all(|(nth, c)| self.text.get(self.at + nth) == Some(&c));
        if found {
            self.at += text.chars().count();
        }
        found
    }

    fn atom(&mut self, said: &str) {
        self.out.push_str(said);
        self.before = Before::Atom;
    }

    fn step(&mut self, next: char) -> Result<(), String> {
        match next {
            '\\' => {
                let said = self.escape()?;
                self.atom(&said);
            }
            '[' => {
                let said = self.class(0)?;
                self.atom(&said);
            }
            '(' => self.group()?,
            ')' => {
                self.flags = self.outer.pop().ok_or("a `)` closes nothing")?;
                self.atom(")");
            }
            '|' => {
                self.out.push('|');
                self.before = Before::Nothing;
            }
            '^' => self.atom(if self.flags.multiline { "(?m:^)" } else { r"\A" }),
            '$' => self.atom(if self.flags.multiline { "(?m:$)" } else { END }),
            '.' => self.atom(if self.flags.single_line { "(?s:.)" } else { r"[^\x{A}]" }),
            '*' | '+' | '?' => self.quantifier(&next.to_string())?,
            '{' => match self.counted() {
                Some(counted) => self.quantifier(&counted)?,
                None => self.atom(&literal('{')),
            },
            '#' if self.flags.extended => while self.next().is_some_and(|c| c != '\n') {},
            c if self.flags.extended && c.is_whitespace() => {}
            c => self.atom(&literal(c)),
        }
        Ok(())
    }

    fn quantifier(&mut self, said: &str) -> Result<(), String> {
        match self.before {
            Before::Nothing => return Err(format!("`{said}` follows nothing that could be repeated")),
            Before::Quantifier => return Err(format!("`{said}` follows another quantifier")),
            Before::Atom => {}
        }
        self.out.push_str(said);
        if self.skip("?") {
            self.out.push('?');
        }
        self.before = Before::Quantifier;
        Ok(())
    }

    /// `{2}`, `{2,}` or `{2,3}`, whose `{` has been read. Anything else after a `{` is just text.
    fn counted(&mut self) -> Option<String> {
        let rest = &self.text[self.at..];
        let end = rest.iter().position(|c| *c == '}')?;
        let inside: String = rest[..end].iter().collect();
        let (from, to) = inside.split_once(',').unwrap_or((&inside, ""));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(from) || !(to.is_empty() || is_number(to)) {
            return None;
        }
        self.at += end + 1;
        Some(format!("{{{inside}}}"))
    }

    fn group(&mut self) -> Result<(), String> {
        if self.outer.len() >= DEEPEST {
            return Err(format!("it has more than {DEEPEST} groups within groups"));
        }
        let outer = self.flags;
        if !self.skip("?") {
            if self.peek() == Some('*') {
                return Err("`*` follows nothing that could be repeated".to_owned());
            }
            self.unnamed |= !self.flags.explicit;
            self.out.push_str(if self.flags.explicit { "(?:" } else { "(" });
        } else if self.skip("#") {
            while self.next().ok_or("a comment is not closed")? != ')' {}
            return Ok(());
        } else if let Some(kind) = [":", "=", "!", ">", "<=", "<!"].into_iter().find(|kind| self.skip(kind)) {
            let _ = write!(self.out, "(?{kind}");
        } else if self.skip("<") {
            self.name('>')?;
        } else if self.skip("'") {
            self.name('\'')?;
        } else if !self.switches()? {
            // They hold to the end of the group that they stand in.
            return Ok(());
        }
        self.outer.push(outer);
        self.before = Before::Nothing;
        Ok(())
    }

    fn name(&mut self, end: char) -> Result<(), String> {
        let name = self.until(end)?;
        if name.contains('-') {
            return Err("balancing groups are not supported".to_owned());
        }
        if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') || !name.chars().all(is_word) {
            return Err(format!("`{name}` is no name for a group here: begin it with a letter"));
        }
        self.named = true;
        let _ = write!(self.out, "(?<{name}>");
        Ok(())
    }

    fn until(&mut self, end: char) -> Result<String, String> {
        let mut text = String::new();
        loop {
            match self.next() {
                None => return Err(format!("a `{end}` is missing")),
                Some(c) if c == end => return Ok(text),
                Some(c) => text.push(c),
            }
        }
    }

    /// `(?im-sx)` or `(?im-sx:`, whose `(?` has been read. Whether a group was opened.
    fn switches(&mut self) -> Result<bool, String> {
        let (mut on, mut case) = (true, None);
        loop {
            match self.next() {
                Some('i') => case = Some(on),
                Some('m') => self.flags.multiline = on,
                Some('s') => self.flags.single_line = on,
                Some('x') => self.flags.extended = on,
                Some('n') => self.flags.explicit = on,
                Some('-') if on => on = false,
                Some('+') => on = true,
                Some(end @ (')' | ':')) => {
                    let case = case.map_or("", |on| if on { "i" } else { "-i" });
                    match (case, end) {
                        ("", ')') => {}
                        (case, ')') => {
                            let _ = write!(self.out, "(?{case})");
                        }
                        (case, _) => {
                            let _ = write!(self.out, "(?{case}:");
                        }
                    }
                    return Ok(end == ':');
                }
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!("a group that begins with `(?{other}` is not supported"));
                }
            }
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
