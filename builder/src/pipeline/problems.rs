//! What is wrong with a `runner.toml`, each with its place, collected so that a person sees all of it at once.

use std::{cell::RefCell, fmt, ops::Range, sync::Arc};

use miette::{
    Diagnostic, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};

use super::inner_place::inner_place;

/// A person mends a handful of mistakes at a time; the rest would only scroll the first ones away.
const SHOWN: usize = 50;

/// One mistake in a `runner.toml`: what, where, and what to do about it.
#[derive(Debug, Clone)]
pub struct PipelineError {
    source: Arc<FileText>,
    message: String,
    labels: Vec<(Range<usize>, String)>,
    help: String,
    line: usize,
    column: usize,
}

impl PipelineError {
    /// What is wrong, in one sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn advice(&self) -> &str {
        &self.help
    }

    /// The line where it is, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The character in that line where it starts, counted from 1.
    pub fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PipelineError {}

impl Diagnostic for PipelineError {
    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        Some(Box::new(&self.help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().enumerate().map(|(index, (place, text))| {
            let (text, place) = (Some(text.clone()), (place.start, place.len()));
            if index == 0 {
                LabeledSpan::new_primary_with_span(text, place)
            } else {
                LabeledSpan::new_with_span(text, place)
            }
        })))
    }
}

/// All mistakes that were found in one `runner.toml`, in the order of the file. At least one.
#[derive(Debug, Clone)]
pub struct PipelineErrors {
    file: String,
    errors: Vec<PipelineError>,
    /// Mistakes beyond those that are kept.
    more: usize,
}

impl PipelineErrors {
    /// The mistakes, in the order of the file; 50 at most.
    pub fn errors(&self) -> &[PipelineError] {
        &self.errors
    }

    /// How many mistakes there are beyond [`errors`](Self::errors).
    pub fn more(&self) -> usize {
        self.more
    }

    /// The file's name, as it was given to the parser.
    pub fn file(&self) -> &str {
        &self.file
    }
}

impl fmt::Display for PipelineErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.len() + self.more {
            1 => write!(f, "{} has a mistake", self.file),
            count => write!(f, "{} has {count} mistakes", self.file),
        }
    }
}

impl std::error::Error for PipelineErrors {}

impl Diagnostic for PipelineErrors {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.errors.iter().map(|error| error as &dyn Diagnostic)))
    }
}

/// The file that errors point into. (miette's own sources count a column in bytes; people and editors count characters.)
#[derive(Debug)]
struct FileText {
    name: String,
    text: String,
}

impl SourceCode for FileText {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let read = self.text.read_span(span, lines_before, lines_after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            read.data(),
            *read.span(),
            read.line(),
            column(&self.text, read.span().offset()),
            read.line_count(),
        )))
    }
}

/// How many characters of its line stand before a place.
fn column(text: &str, place: usize) -> usize {
    let before = text.get(..place).unwrap_or_default();
    before.chars().rev().take_while(|c| *c != '\n').count()
}

/// One mistake before the text it points into is known to it.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) message: String,
    /// The first is the place of the mistake; the others explain it.
    pub(super) labels: Vec<(Range<usize>, String)>,
    pub(super) help: String,
    /// Where in the text at the first place the mistake is, in bytes of what the text means.
    inside: Option<Range<usize>>,
}

impl Problem {
    pub(super) fn at(
        place: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { message: message.into(), labels: vec![(place, label.into())], help: help.into(), inside: None }
    }

    /// As [`at`](Self::at), for the part `within` of the text that is written at the place.
    pub(super) fn inside(self, within: Range<usize>) -> Self {
        Self { inside: Some(within), ..self }
    }

    pub(super) fn and_at(mut self, place: Range<usize>, label: impl Into<String>) -> Self {
        self.labels.push((place, label.into()));
        self
    }

    /// With the first place narrowed to the part of its text that is wrong, in the file that it is about.
    fn narrowed(mut self, file: &str) -> Self {
        if let (Some(within), Some((place, _))) = (self.inside.take(), self.labels.first_mut()) {
            *place = inner_place(file, place, &within);
        }
        self
    }

    fn start(&self) -> usize {
        self.labels.first().map_or(0, |(place, _)| place.start)
    }
}

/// Collects problems while the file is read; readers share it.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(super) fn add(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The problems as errors about `text`.
    pub(super) fn into_errors(self, file_name: &str, text: &str) -> PipelineErrors {
        let narrowed = self.0.into_inner().into_iter().map(|problem| problem.narrowed(text));
        let mut problems: Vec<Problem> = narrowed.collect();
        problems.sort_by_key(Problem::start);
        let more = problems.len().saturating_sub(SHOWN);
        let source = Arc::new(FileText { name: printable(file_name), text: printable(text) });
        let errors = problems.into_iter().take(SHOWN).map(|problem| locate(problem, &source)).collect();
        PipelineErrors { file: printable(file_name), errors, more }
    }
}

fn locate(problem: Problem, source: &Arc<FileText>) -> PipelineError {
    let text = &source.text;
    let labels: Vec<_> =
        problem.labels.into_iter().map(|(place, label)| (visible(place, text), printable(&label))).collect();
    let start = labels.first().map_or(0, |(place, _)| place.start);
    PipelineError {
        line: text.get(..start).unwrap_or_default().matches('\n').count() + 1,
        column: column(text, start) + 1,
        source: source.clone(),
        message: printable(&problem.message),
        labels,
        help: printable(&problem.help),
    }
}

/// The part of a place that is on its first line: a caret under that says more than a bar beside fifty lines. Ends and
/// starts are moved to character boundaries, so that a place that came from elsewhere can't break the rendering.
fn visible(place: Range<usize>, text: &str) -> Range<usize> {
    let boundary = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = boundary(place.start);
    let end = boundary(place.end).max(start);
    let line_end = text[start..end].find(['\n', '\r']).map_or(end, |length| start + length);
    start..line_end
}

/// `text` without characters that would steer a terminal or reorder what a person reads, byte for byte as long as it was,
/// so that places in it stay right. A repository is somebody else's text.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            // A carriage return before a newline is how some editors end lines; as a space it is harmless everywhere.
            '\r' => ' ',
            '\0'..='\u{1f}' | '\u{7f}' => '?',
            '\u{80}'..='\u{9f}' | '\u{61c}' => '\u{bf}',
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {
                '\u{fffd}'
            }
            _ => c,
        })
        .collect()
}

/// `text` between backquotes, cut where it gets too long to read.
pub(super) fn quoted(text: &str) -> String {
    const READABLE: usize = 60;
    let mut shown: String = text
        .chars()
        .take(READABLE)
        .flat_map(|c| {
            // Quotes stay as they are: they are what the person wrote.
            let plain = !c.is_control();
            plain.then_some(c).into_iter().chain((!plain).then(|| c.escape_debug()).into_iter().flatten())
        })
        .collect();
    if text.chars().count() > READABLE {
        shown.push_str("...");
    }
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_steers_a_terminal_is_taken_out_of_every_text() {
        let hostile = "a\u{1b}[2J\u{9b}\u{202e}b\r\n";
        let shown = printable(hostile);
        assert_eq!(shown.len(), hostile.len());
        assert_eq!(shown, "a?[2J\u{bf}\u{fffd}b \n");
    }

    #[test]
    fn line_and_column_count_characters_from_one() {
        let problems = Problems::default();
        problems.add(Problem::at(8..9, "m", "l", "h"));
        let errors = problems.into_errors("f", "ä\nöü x\n");
        assert_eq!((errors.errors()[0].line(), errors.errors()[0].column()), (2, 4));
    }

    #[test]
    fn mistakes_beyond_the_readable_are_counted() {
        let problems = Problems::default();
        (0..60).for_each(|_| problems.add(Problem::at(0..0, "m", "l", "h")));
        let errors = problems.into_errors("f", "");
        assert_eq!((errors.errors().len(), errors.more()), (50, 10));
        assert_eq!(errors.to_string(), "f has 60 mistakes");
    }

    proptest! {
        #[test]
        fn any_place_in_any_text_can_be_shown(text in any::<String>(), start in 0..40usize, length in 0..40usize) {
            let problems = Problems::default();
            problems.add(Problem::at(start..start + length, "m", "l", "h"));
            let errors = problems.into_errors("f", &text);
            let shown = super::super::render(&errors, false, 100);
            prop_assert!(shown.contains("[f:"), "{}", shown);
        }
    }
}
