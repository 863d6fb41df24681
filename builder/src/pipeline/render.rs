//! Errors as text for people, with the place and a caret.

use std::fmt;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};

use super::{PipelineError, PipelineErrors};

/// Below this, the frame around a line leaves no room for the line.
const NARROWEST: usize = 40;
/// The longest indentation that a line of a message or of advice gets.
const INDENTATION: usize = 8;

/// The errors as text that ends with a newline: for each its message, `file:line:column`, the line with a caret, and
/// what to do.
///
/// With `color`, box-drawing characters and ANSI colours; without, a frame of ASCII only, for logs and pipes. Sentences are
/// wrapped at `width` columns (40 at least); lines of the file, and what stands between backquotes, are shown whole.
pub fn render(errors: &PipelineErrors, color: bool, width: usize) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::none() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_wrap_lines(false)
        .with_links(false)
        .without_syntax_highlighting();
    let width = width.max(NARROWEST) - INDENTATION;
    let mut text = String::new();
    for error in errors.errors() {
        // Writing to a String can't fail; were a snippet refused, the message alone is still worth having.
        if handler.render_report(&mut text, &Wrapped::new(error, width)).is_err() {
            text.push_str(&format!("{}:{}:{}: {error}\n", errors.file(), error.line(), error.column()));
        }
        text.push('\n');
    }
    let more = errors.more();
    let unseen = if more == 0 { String::new() } else { format!("; {more} of them are not shown") };
    text.push_str(&format!("{errors}{unseen}.\n"));
    text
}

/// An error with its sentences broken into lines. (miette would break `"/opt/jdk"` after a slash, and nobody could copy it.)
#[derive(Debug)]
struct Wrapped<'e> {
    error: &'e PipelineError,
    message: String,
    help: String,
}

impl<'e> Wrapped<'e> {
    fn new(error: &'e PipelineError, width: usize) -> Self {
        Self { error, message: wrap(error.message(), width), help: wrap(error.advice(), width) }
    }
}

impl fmt::Display for Wrapped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Wrapped<'_> {}

impl Diagnostic for Wrapped<'_> {
    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        Some(Box::new(&self.help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.error.source_code()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.error.labels()
    }
}

/// Breaks `text` at spaces, except between backquotes.
fn wrap(text: &str, width: usize) -> String {
    let mut lines = String::with_capacity(text.len());
    let mut column = 0;
    for (index, word) in words(text).enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > width {
            lines.push('\n');
            column = 0;
        } else if index > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines
}

/// The parts between spaces; a space between backquotes separates nothing.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.split(move |c: char| {
        in_code ^= c == '`';
        c == ' ' && !in_code
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_to_be_copied_stays_whole() {
        assert_eq!(wrap("write `a = [\"b\"]` here now", 10), "write\n`a = [\"b\"]`\nhere now");
    }

    proptest! {
        #[test]
        fn wrapping_only_turns_spaces_into_line_breaks(text in "[a-z` ]{0,60}", width in 1..30usize) {
            prop_assert_eq!(wrap(&text, width).replace('\n', " "), text);
        }
    }
}
