//! Reads as much of a shell script as can be read without being a shell, and stops where it could be wrong.

/// A simple command that the script surely runs if all goes well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Simple {
    /// The words after assignments and redirections, the program first; never empty.
    pub(super) words: Vec<Word>,
}

/// A word, without its quotes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// Whether the text is exactly what the shell sees: no variable, wildcard or escape in it.
    pub(super) plain: bool,
    /// How many bytes at its start stand without quotes, escapes and variables.
    bare: usize,
}

impl Word {
    /// A text that stands for itself, quoted or not.
    pub(super) fn exactly(&self) -> Option<&str> {
        self.plain.then_some(self.text.as_str())
    }

    /// `NAME` of a word `NAME=value` that stands before a command.
    fn assigned(&self) -> Option<&str> {
        let (name, _) = self.text[..self.bare].split_once('=')?;
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        (starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')).then_some(name)
    }
}

/// Something in a script that needs a real shell to be understood.
#[derive(Debug)]
struct TooHard;

/// The end of a simple command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// `;`, `&` or a line's end.
    Then,
    And,
    Or,
    Pipe,
    Script,
}

/// Commands that change what later words mean (where programs are found, what runs at all), so that nothing is sure after
/// them. The words that open or continue something compound are among them.
pub(super) const NOTHING_IS_SURE_AFTER: [&str; 38] = [
    "cd", ".", "source", "eval", "exec", "exit", "return", "alias", "unalias", "hash", "enable", "break",
    "continue", "shopt", "chroot", "if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done",
    "case", "esac", "select", "function", "time", "coproc", "{", "}", "!", "[[", "((", "in", "builtin",
];

/// Commands that people run to learn something: what follows them after `&&` may well not run.
const QUESTIONS: [&str; 17] = [
    "[", "test", "true", "false", "command", "type", "which", "grep", "egrep", "fgrep", "rg", "cmp", "diff",
    "pgrep", "git", "find", "let",
];

/// Simple commands of `script`, in order, up to the first place that is not sure. What runs only when something else fails
/// (`a || b`) is left out, on both sides, unless the other side gives up (`a || exit 1`): a script may try programs. So is
/// what follows a question (`[ -f x ] && a`).
pub(super) fn surely_run(script: &str) -> Vec<Simple> {
    let mut reader = Reader { rest: script };
    let mut sure = Vec::new();
    let mut list = AndOr::default();
    // Where it gets too hard, it is not known whether a `||` follows, and so the list at hand is not sure either.
    while let Ok((command, end)) = reader.simple_command() {
        let stops = changes_the_shell(&command) && !(list.alternatives > 0 && gives_up(&command));
        list.add(command);
        match end {
            End::Or => list.alternatives += 1,
            End::Then | End::Script => sure.append(&mut std::mem::take(&mut list).sure()),
            End::And | End::Pipe => {}
        }
        if stops || end == End::Script {
            break;
        }
    }
    sure
}

/// Commands between `&&` and `||`.
#[derive(Default)]
struct AndOr {
    /// Those that run whatever others say.
    commands: Vec<Simple>,
    /// Whether a question was asked.
    question: bool,
    /// How many `||` there were.
    alternatives: usize,
    /// Whether the last command gives up.
    gives_up: bool,
}

impl AndOr {
    fn add(&mut self, command: Simple) {
        self.gives_up = gives_up(&command);
        let asks =
            command.words.first().and_then(Word::exactly).is_some_and(|word| QUESTIONS.contains(&word));
        if self.alternatives == 0 && !self.question && !command.words.is_empty() {
            self.commands.push(command);
        }
        self.question |= asks;
    }

    fn sure(self) -> Vec<Simple> {
        let sure = self.alternatives == 0 || (self.alternatives == 1 && self.gives_up);
        if sure { self.commands } else { Vec::new() }
    }
}

/// `exit`, `exit 1`, `false`: the whole script fails here. Not `exit 0`.
fn gives_up(command: &Simple) -> bool {
    let words: Vec<Option<&str>> = command.words.iter().map(Word::exactly).collect();
    match words.as_slice() {
        [Some("exit" | "return" | "false")] => true,
        [Some("exit" | "return"), Some(code)] => code.parse::<u8>().is_ok_and(|code| code != 0),
        _ => false,
    }
}

/// Whether what follows a command may mean something else than it says.
fn changes_the_shell(command: &Simple) -> bool {
    let Some((program, arguments)) = command.words.split_first() else { return false };
    let Some(program) = program.exactly() else { return true };
    let touches_path = |word: &Word| word.text == "PATH" || word.text.starts_with("PATH=");
    match program {
        _ if NOTHING_IS_SURE_AFTER.contains(&program) => true,
        "set" => arguments.iter().any(|word| !word.plain || word.text.starts_with('+')),
        "export" | "readonly" | "unset" | "read" | "local" | "typeset" | "declare" | "getopts" => {
            arguments.iter().any(|word| touches_path(word) || (!word.plain && word.assigned().is_none()))
        }
        _ => false,
    }
}

struct Reader<'s> {
    rest: &'s str,
}

impl Reader<'_> {
    /// The next simple command and what ends it. No words where there was only a line's end, or only assignments.
    fn simple_command(&mut self) -> Result<(Simple, End), TooHard> {
        let mut words: Vec<Word> = Vec::new();
        loop {
            self.skip_blanks();
            let Some(next) = self.rest.chars().next() else { return Ok((Simple { words }, End::Script)) };
            match next {
                '<' | '>' => self.redirection()?,
                '(' | ')' | '`' => return Err(TooHard),
                '\n' | ';' | '&' | '|' => return Ok((Simple { words }, self.end()?)),
                _ => {
                    let word = self.word(words.is_empty())?;
                    match word.assigned().filter(|_| words.is_empty()) {
                        Some("PATH") => return Err(TooHard),
                        Some(_) => {}
                        None => words.push(word),
                    }
                }
            }
        }
    }

    fn take(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn end(&mut self) -> Result<End, TooHard> {
        if self.take(";;") || self.take("|&") || self.take("&>") {
            return Err(TooHard);
        }
        let ends = [("&&", End::And), ("||", End::Or), ("|", End::Pipe), ("&", End::Then), (";", End::Then)];
        if let Some((_, end)) = ends.into_iter().find(|(text, _)| self.take(text)) {
            // A command may go on in the next line after these.
            if end != End::Then {
                self.skip_empty_lines();
            }
            return Ok(end);
        }
        self.take("\n");
        Ok(End::Then)
    }

    fn skip_blanks(&mut self) {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t']);
            if self.take("\\\n") {
                continue;
            }
            if self.rest.starts_with('#') {
                self.rest = self.rest.find('\n').map_or("", |end| &self.rest[end..]);
            }
            return;
        }
    }

    fn skip_empty_lines(&mut self) {
        self.skip_blanks();
        while self.take("\n") {
            self.skip_blanks();
        }
    }

    /// `> file`, `2>&1`, ...; not `<< here`.
    fn redirection(&mut self) -> Result<(), TooHard> {
        if self.take("<<") || self.take("<(") || self.take(">(") {
            return Err(TooHard);
        }
        let known = [">>", ">|", ">&", "<&", "<>", ">", "<"].into_iter().any(|operator| self.take(operator));
        self.skip_blanks();
        let file = if known { self.word(false)? } else { return Err(TooHard) };
        if file.text.is_empty() { Err(TooHard) } else { Ok(()) }
    }

    fn word(&mut self, may_be_command: bool) -> Result<Word, TooHard> {
        let mut word = Word { plain: true, ..Word::default() };
        while let Some(next) = self.rest.chars().next() {
            match next {
                ' ' | '\t' | '\n' | ';' | '&' | '|' => break,
                '<' | '>' => {
                    // `2>` is a part of the redirection; as a command it would be a strange one.
                    if word.text.bytes().all(|byte| byte.is_ascii_digit()) && may_be_command {
                        return Err(TooHard);
                    }
                    break;
                }
                '(' | ')' | '`' => return Err(TooHard),
                '\'' => self.single_quotes(&mut word)?,
                '"' => self.double_quotes(&mut word)?,
                '$' => self.variable(&mut word)?,
                '\\' => self.escaped(&mut word)?,
                '*' | '?' | '[' | ']' | '{' | '}' | '~' => self.push(&mut word, next, false),
                _ => self.push(&mut word, next, true),
            }
        }
        Ok(word)
    }

    fn push(&mut self, word: &mut Word, c: char, plain: bool) {
        // `[` alone is a command.
        let alone = c == '[' && word.text.is_empty() && self.rest[1..].starts_with([' ', '\t']);
        word.plain &= plain || alone;
        if word.bare == word.text.len() {
            word.bare += c.len_utf8();
        }
        word.text.push(c);
        self.rest = &self.rest[c.len_utf8()..];
    }

    fn single_quotes(&mut self, word: &mut Word) -> Result<(), TooHard> {
        let (text, rest) = self.rest[1..].split_once('\'').ok_or(TooHard)?;
        word.text.push_str(text);
        self.rest = rest;
        Ok(())
    }

    fn double_quotes(&mut self, word: &mut Word) -> Result<(), TooHard> {
        self.rest = &self.rest[1..];
        loop {
            match self.rest.chars().next().ok_or(TooHard)? {
                '"' => {
                    self.rest = &self.rest[1..];
                    return Ok(());
                }
                '`' => return Err(TooHard),
                '$' => self.variable(word)?,
                '\\' => self.escaped(word)?,
                c => {
                    word.text.push(c);
                    self.rest = &self.rest[c.len_utf8()..];
                }
            }
        }
    }

    /// `$name` and `${name}`; nothing that runs or computes.
    fn variable(&mut self, word: &mut Word) -> Result<(), TooHard> {
        word.plain = false;
        word.text.push('$');
        self.rest = &self.rest[1..];
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if self.take("{") {
            let (name, rest) = self.rest.split_once('}').ok_or(TooHard)?;
            self.rest = rest;
            return if name.chars().all(is_name) { Ok(()) } else { Err(TooHard) };
        }
        if self.rest.starts_with(['(', '\'', '"', '[']) {
            return Err(TooHard);
        }
        self.rest = self.rest.trim_start_matches(is_name);
        Ok(())
    }

    fn escaped(&mut self, word: &mut Word) -> Result<(), TooHard> {
        let c = self.rest[1..].chars().next().ok_or(TooHard)?;
        self.rest = &self.rest[1 + c.len_utf8()..];
        if c != '\n' {
            word.plain = false;
            word.text.push(c);
        }
        Ok(())
    }
}
