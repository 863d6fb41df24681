//! The one form of an error: what, where, why, and what to do.

use std::io::{self, IsTerminal};

use console::Term;
use serde::Serialize;
use staith_model::Exit;

use super::{
    clean::{clean_lines, clean_word},
    look::{Look, Tone},
    sink::Sink,
    wrap::{self, wrap},
};

/// An error as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What is wrong, in one sentence.
    pub(crate) what: String,
    /// Where it is.
    pub(crate) place: Option<Box<Place>>,
    /// Why it is wrong, or what caused it.
    pub(crate) why: Option<String>,
    /// What to do about it.
    pub(crate) remedy: Option<String>,
    /// What the shell will be told.
    pub(crate) exit: Exit,
}

/// A place in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    /// The file, as the person knows it.
    pub(crate) file: String,
    /// The line, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    /// The column in characters, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<usize>,
    /// The whole line as the file has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// How many characters of the line are meant, from the column on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) length: Option<usize>,
}

/// Tells a person of an error on standard error, or a program on standard output, where its JSON is expected.
pub(crate) fn error(problem: &Problem, json: bool) {
    if json {
        let mut out = Sink::new(io::stdout());
        out.line(&problem.json());
        if out.failure().is_none() {
            return;
        }
    }
    on_stderr(|look, width| problem.text(look, width));
}

/// Tells a person who was told why already, by [`super::Watch::has_told_why`], no more than what it comes to and what to do;
/// a program, the same as [`error`].
pub(crate) fn error_in_brief(problem: &Problem, json: bool) {
    if json {
        error(problem, json);
    } else {
        on_stderr(|look, width| problem.brief(look, width));
    }
}

fn on_stderr(text: impl FnOnce(Look, Option<usize>) -> String) {
    let look = Look::choose(io::stderr().is_terminal(), |name| std::env::var(name).ok());
    // There is nobody left to tell if this fails.
    Sink::new(io::stderr()).line(&text(look, wrap::columns(&Term::stderr())));
}

#[derive(Serialize)]
struct Line<'a> {
    error: Told<'a>,
}

#[derive(Serialize)]
struct Told<'a> {
    what: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<&'a Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'a str>,
    exit: u8,
}

impl Problem {
    /// Standard output can't be written to.
    pub(crate) fn unwritable(error: &io::Error) -> Self {
        Self {
            what: "the output could not be written".to_owned(),
            place: None,
            why: Some(error.to_string()),
            remedy: Some("make room, or send standard output somewhere else".to_owned()),
            exit: Exit::Environment,
        }
    }

    /// The problem as one line of JSON.
    fn json(&self) -> String {
        let told = Told {
            what: &self.what,
            place: self.place.as_deref(),
            why: self.why.as_deref(),
            remedy: self.remedy.as_deref(),
            exit: self.exit.code(),
        };
        serde_json::to_string(&Line { error: told }).unwrap_or_default()
    }

    /// The problem as text in lines of `width` columns, without the end of its last line.
    fn text(&self, look: Look, width: Option<usize>) -> String {
        let labelled = |tone, label, text: &str| labelled(look, width, tone, label, text);
        let mut lines = labelled(Tone::Bad, "error", &self.what);
        if let Some(place) = &self.place {
            lines.extend(labelled(Tone::Quiet, "at", &place.to_string()));
            lines.extend(place.excerpt(look));
        }
        for (label, text) in [("why", &self.why), ("do", &self.remedy)] {
            lines.extend(text.iter().flat_map(|text| labelled(Tone::Quiet, label, text)));
        }
        lines.join("\n")
    }

    /// The first line of what is wrong, and what to do about it.
    fn brief(&self, look: Look, width: Option<usize>) -> String {
        let first = self.what.lines().next().unwrap_or_default();
        let mut lines = labelled(look, width, Tone::Bad, "error", first);
        lines.extend(self.remedy.iter().flat_map(|text| labelled(look, width, Tone::Quiet, "do", text)));
        lines.join("\n")
    }
}

/// Labels end in one column, and so do the beginnings of all lines.
fn labelled(look: Look, width: Option<usize>, tone: Tone, label: &str, text: &str) -> Vec<String> {
    let first =
        format!("{}{}", " ".repeat("error".len() - label.len()), look.tint(tone, &format!("{label}:")));
    let room = width.map(|width| width.saturating_sub("error: ".len()));
    let lines = clean_lines(text).flat_map(|line| match room {
        Some(room) => wrap(&line, room),
        None => vec![line.into_owned()],
    });
    lines
        .enumerate()
        .map(|(place, line)| {
            let begin = if place == 0 { first.as_str() } else { "      " };
            format!("{begin} {line}").trim_end().to_owned()
        })
        .collect()
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", clean_word(&self.file))?;
        let numbers = self.line.into_iter().chain(self.line.and(self.column));
        numbers.into_iter().try_for_each(|number| write!(f, ":{number}"))
    }
}

impl Place {
    /// The line, and a mark below what is meant.
    fn excerpt(&self, look: Look) -> Vec<String> {
        let (Some(line), Some(text)) = (self.line, &self.text) else { return Vec::new() };
        let number = line.to_string();
        let quiet = |text: &str| look.tint(Tone::Quiet, text);
        let margin = " ".repeat(number.len().max(4));
        let mut lines = vec![format!("{margin} {}", quiet("|"))];
        let shown = clean_word(text);
        lines.push(format!("{} {} {shown}", quiet(&format!("{number:>4}")), quiet("|")));
        if let Some(column) = self.column {
            let before: String = text.chars().take(column.saturating_sub(1)).collect();
            let meant: String =
                text.chars().skip(column.saturating_sub(1)).take(self.length.unwrap_or(1)).collect();
            // Characters may be two columns wide, or be shown escaped.
            let wide = |text: &str| console::measure_text_width(&clean_word(text));
            let mark = look.tint(Tone::Bad, &"^".repeat(wide(&meant).max(1)));
            lines.push(format!("{margin} {} {}{mark}", quiet("|"), " ".repeat(wide(&before))));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem() -> Problem {
        Problem {
            what: "step `unit-test` can't have a timeout of -3".to_owned(),
            place: Some(Box::new(Place {
                file: "runner.toml".to_owned(),
                line: Some(14),
                column: Some(11),
                text: Some("timeout = -3".to_owned()),
                length: Some(2),
            })),
            why: Some("a timeout is a positive number of seconds".to_owned()),
            remedy: Some("write `timeout = 600`,\nor leave it out for the default".to_owned()),
            exit: Exit::Configuration,
        }
    }

    #[test]
    fn a_problem_says_what_where_why_and_what_to_do() {
        let text = "\
error: step `unit-test` can't have a timeout of -3
   at: runner.toml:14:11
     |
  14 | timeout = -3
     |           ^^
  why: a timeout is a positive number of seconds
   do: write `timeout = 600`,
       or leave it out for the default";
        assert_eq!(problem().text(Look::BARE, None), text);
    }

    #[test]
    fn long_texts_break_between_words_below_their_beginning() {
        let long = Problem { place: None, remedy: None, ..problem() };
        let text = "\
error: step `unit-test` can't
       have a timeout of -3
  why: a timeout is a positive
       number of seconds";
        assert_eq!(long.text(Look::BARE, Some(30)), text);
    }

    #[test]
    fn in_brief_a_problem_is_its_first_line_and_what_to_do() {
        let told =
            Problem { what: "the deployment failed\nwhat served before serves".to_owned(), ..problem() };
        let text = "\
error: the deployment failed
   do: write `timeout = 600`,
       or leave it out for the default";
        assert_eq!(told.brief(Look::BARE, None), text);
    }

    #[test]
    fn a_problem_for_programs_is_one_line() {
        let bare = Problem { place: None, why: None, ..problem() };
        let json = r#"{"error":{"what":"step `unit-test` can't have a timeout of -3","remedy":"write `timeout = 600`,\nor leave it out for the default","exit":20}}"#;
        assert_eq!(bare.json(), json);
        assert!(problem().json().contains(r#""place":{"file":"runner.toml","line":14,"column":11,"#));
    }

    #[test]
    fn the_mark_stands_below_what_is_meant_whatever_is_before_it() {
        let place = Place {
            file: "a\x1b]0;b\x07.toml".to_owned(),
            line: Some(12_345),
            column: Some(4),
            text: Some("日\u{202e}=x".to_owned()),
            length: None,
        };
        let lines = place.excerpt(Look::BARE);
        assert_eq!(lines, ["      |", "12345 | 日<U+202E>=x", "      |            ^"]);
        assert_eq!(place.to_string(), "a.toml:12345:4");
    }

    #[test]
    fn a_column_beyond_the_line_is_no_reason_to_panic() {
        let place = Place { line: Some(1), column: Some(99), text: Some("x".to_owned()), ..Place::default() };
        assert_eq!(place.excerpt(Look::BARE).last().map(String::as_str), Some("     |  ^"));
    }
}
