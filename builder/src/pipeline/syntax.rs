//! From text to TOML: caps on what is read, and syntax errors in words that help.

use std::ops::Range;

use toml::{Spanned, de::DeTable};

use super::problems::{Problem, Problems, quoted};

/// Nobody writes a megabyte of pipeline; a parser's work and memory stay bounded.
const LARGEST_FILE: usize = 1 << 20;
/// An error shows its line whole, so lines have an end.
const LONGEST_LINE: usize = 2000;
/// One slip often makes the parser stumble over what follows; its first complaints are the telling ones.
const SYNTAX_ERRORS_SHOWN: usize = 3;
/// How the parser calls a key or a table that was there before.
const DUPLICATE: &str = "duplicate key";

/// The file's tables, or none and at least one problem. (Nesting is bounded by the TOML parser, at 80.)
pub(super) fn read<'t>(text: &'t str, problems: &Problems) -> Option<Spanned<DeTable<'t>>> {
    if let Some(problem) = too_large(text) {
        problems.add(problem);
        return None;
    }
    let (file, errors) = DeTable::parse_recoverable(text);
    let mut lines_told: Vec<usize> = Vec::new();
    for error in errors {
        let place = error.span().unwrap_or(0..0);
        let line = line_start(text, place.start);
        // A heading written twice makes every key below it one that is written twice.
        let follows_from_heading =
            error.message() == DUPLICATE && lines_told.contains(&heading_above(text, line));
        if follows_from_heading || lines_told.contains(&line) {
            continue;
        }
        problems.add(explain(text, error.message(), place));
        lines_told.push(line);
        if lines_told.len() == SYNTAX_ERRORS_SHOWN || looks_like_yaml(line_at(text, line)) {
            break;
        }
    }
    problems.is_empty().then_some(file)
}

/// Where the line around `place` starts.
fn line_start(text: &str, place: usize) -> usize {
    text.get(..place).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1)
}

fn line_at(text: &str, start: usize) -> &str {
    text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default().trim()
}

/// Where the nearest table heading above a line starts; the line itself where there is none.
fn heading_above(text: &str, line: usize) -> usize {
    let mut start = line;
    for other in text[..line].split_inclusive('\n').rev() {
        start -= other.len();
        if other.trim_start().starts_with('[') {
            return start;
        }
    }
    line
}

fn looks_like_yaml(line: &str) -> bool {
    let key = line.trim_start_matches("- ").split(':').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    line.contains(':') && !key.is_empty() && key.chars().all(plain)
}

/// The part of the text that an error may show: all of it, unless it is too much to show.
pub(super) fn presentable(text: &str) -> &str {
    const ENOUGH_OF_A_LINE: usize = 80;
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        if line.len() > LONGEST_LINE || end + line.len() > LARGEST_FILE {
            end += line.char_indices().nth(ENOUGH_OF_A_LINE).map_or(line.len(), |(place, _)| place);
            break;
        }
        end += line.len();
    }
    &text[..end]
}

fn too_large(text: &str) -> Option<Problem> {
    if text.len() > LARGEST_FILE {
        return Some(Problem::at(
            0..0,
            format!("the file is {} bytes long; 1 MiB is the most", text.len()),
            "this is not read any further",
            "keep what steps do in scripts of the project, and name those in `run`",
        ));
    }
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if line.len() > LONGEST_LINE {
            return Some(Problem::at(
                start..start,
                format!("a line is {} bytes long; {LONGEST_LINE} is the most", line.len()),
                "this line",
                "break a list over several lines, or a text with `\"\"\"`",
            ));
        }
        start += line.len();
    }
    None
}

/// A syntax error in our words where we have better ones, and with a hint.
fn explain(text: &str, said: &str, place: Range<usize>) -> Problem {
    if said == DUPLICATE {
        return written_twice(text, place);
    }
    if looks_like_yaml(line_at(text, line_start(text, place.start))) {
        return Problem::at(
            place,
            "this looks like YAML; the file is TOML",
            "TOML has `=` between key and value",
            "write `key = \"value\"`; a step is a table and starts with `[steps.its-name]`",
        );
    }
    let first = said.split(", expected").next().unwrap_or(said);
    match EXPLAINED.iter().find(|(words, ..)| first == *words || said.contains(&format!("expected {words}")))
    {
        Some((_, message, label, help)) => Problem::at(place, *message, *label, *help),
        None => Problem::at(
            place,
            format!("this is not valid TOML: {first}"),
            said,
            "see https://toml.io for how TOML is written",
        ),
    }
}

const UNQUOTED: (&str, &str, &str) = (
    "a value is not valid TOML",
    "this is no value",
    "put text in quotes: `name = \"guestbook\"`; numbers, `true` and `false` stand without",
);
const ESCAPE: (&str, &str, &str) = (
    "a text has a `\\` that means nothing",
    "no character is written like this",
    "write `\\\\` for a backslash, or put the text in single quotes, where it stands for itself",
);
const LIST: (&str, &str, &str) = (
    "a list is not finished",
    "a `,` or `]` belongs here",
    "items are separated by `,`, and a `]` ends the list",
);
const INLINE: (&str, &str, &str) = (
    "a table in `{ }` is not finished",
    "a `,` or `}` belongs here",
    "entries are separated by `,`, and a `}` ends the table",
);
const HEADING: (&str, &str, &str) =
    ("a table's heading is not finished", "a `]` belongs here", "write it as `[steps.build]`");
const NO_VALUE: (&str, &str, &str) = (
    "a key has no value",
    "`=` and a value belong here",
    "write `key = \"value\"`, the key without spaces; a step is a table and starts with `[steps.its-name]`",
);
const UNFINISHED_TEXT: (&str, &str, &str) = (
    "a text is not finished",
    "the quote that ends it belongs here",
    "end it with the quote it began with; use `\"\"\"` for a text of several lines",
);
const CONTROL: (&str, &str, &str) = (
    "a text holds a character that can't be seen",
    "a control character stands here",
    "remove it, or write it as an escape such as `\\u001b`",
);
const NESTED: (&str, &str, &str) = (
    "tables and lists are nested too deeply",
    "this is not read any further",
    "no key of this file needs more than three levels",
);
const KEY: (&str, &str, &str) = (
    "a key is not valid TOML",
    "no key is written like this",
    "keys are letters, digits, `-` and `_`; put any other key in quotes",
);

/// What the parser says (or what it says it expected), then our message, label and advice. The order matters: the first
/// that fits is taken.
const EXPLAINED: [(&str, &str, &str, &str); 22] = {
    const fn of(words: &'static str, said: (&'static str, &'static str, &'static str)) -> Explained {
        (words, said.0, said.1, said.2)
    }
    [
        of("non-double-quote visible characters", CONTROL),
        of("non-single-quote visible characters", CONTROL),
        of("escape sequence", ESCAPE),
        of("missing escaped value", ESCAPE),
        of("string values must be quoted", UNQUOTED),
        of("invalid value", UNQUOTED),
        of("missing value", UNQUOTED),
        of("missing value for key", NO_VALUE),
        of("key with no value", NO_VALUE),
        of("missing assignment between key-value pairs", NO_VALUE),
        of("unclosed array", LIST),
        of("missing comma between array elements", LIST),
        of("unclosed inline table", INLINE),
        of("missing comma between key-value pairs", INLINE),
        of("unclosed table", HEADING),
        of("unclosed array table", HEADING),
        of("invalid basic string", UNFINISHED_TEXT),
        of("invalid literal string", UNFINISHED_TEXT),
        of("invalid unquoted key", KEY),
        of("unquoted keys cannot be empty", KEY),
        of("cannot recurse further; max recursion depth met", NESTED),
        of("recursion limit", NESTED),
    ]
};

type Explained = (&'static str, &'static str, &'static str, &'static str);

/// The parser knows the second place only; the first is looked for in the text, and left out where that is not sure.
fn written_twice(text: &str, place: Range<usize>) -> Problem {
    let key = text.get(place.clone()).unwrap_or_default();
    let line_start = line_start(text, place.start);
    let line = line_at(text, line_start);
    let (message, help) = match line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((table, _)) => (
            format!("the table `[{table}]` is written twice"),
            "give one of them another name, or put everything under one heading",
        ),
        None => (format!("{} is written twice in the same table", quoted(key)), "keep one of them"),
    };
    let problem = Problem::at(place, message, "here again", help);
    match first_place(text, line_start, line) {
        Some(first) => problem.and_at(first, "here first"),
        None => problem,
    }
}

fn first_place(text: &str, line_start: usize, line: &str) -> Option<Range<usize>> {
    let is_heading = line.starts_with('[');
    let same_key = |other: &str| {
        let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        other.contains('=') && key(other) == key(line)
    };
    let mut end = line_start;
    for other in text[..line_start].split_inclusive('\n').rev() {
        let start = end - other.len();
        let shown = other.trim();
        let place = start + (other.len() - other.trim_start().len());
        end = start;
        if is_heading && shown.split('#').next().map(str::trim) == line.split('#').next().map(str::trim) {
            return Some(place..place + shown.len());
        }
        if !is_heading && shown.starts_with('[') {
            return None;
        }
        if !is_heading && same_key(shown) {
            return Some(place..place + shown.split('=').next().unwrap_or_default().trim().len());
        }
    }
    None
}
