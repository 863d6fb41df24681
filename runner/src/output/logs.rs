//! What steps wrote, after the fact or while they go on.

use std::io::{self, Write};

use serde_json::json;
use staith_builder::step_log::{LogLine, LoggedStream};
use staith_model::{Name, RunOutcome};

use super::{
    OutputMode,
    clean::{clean, clean_word},
    human,
    look::{Look, Mark, Tone},
    sink::Sink,
};

/// Lines are collected to so many bytes before they are written.
const COLLECTED: usize = 64 << 10;
/// A longer name than this pushes its own lines to the right, not everybody's.
const WIDEST_WRITER: usize = 24;

/// Shows lines of logs.
pub(crate) struct LogView<W> {
    out: Sink<W>,
    mode: OutputMode,
    collected: String,
    width: usize,
}

/// A line and whose it is.
#[derive(Debug)]
pub(crate) struct Wrote<'a> {
    /// The step.
    pub(crate) step: &'a Name,
    /// The service beside it that wrote it; `None` is the step itself.
    pub(crate) service: Option<&'a Name>,
    /// The line.
    pub(crate) line: LogLine,
}

/// What is said of a run before its lines, or in a list.
#[derive(Debug)]
pub(crate) struct RunHeading<'a> {
    /// Its id.
    pub(crate) run: &'a str,
    /// Its project.
    pub(crate) project: &'a Name,
    /// When it began.
    pub(crate) began: u64,
    /// How it ended.
    pub(crate) outcome: Option<RunOutcome>,
    /// Whether it goes on.
    pub(crate) goes_on: bool,
}

impl LogView<io::Stdout> {
    /// A view on standard output for what steps, and services beside them, of these names wrote.
    pub(crate) fn on_stdout<'a>(
        mode: OutputMode,
        writers: impl Iterator<Item = (&'a Name, Option<&'a Name>)>,
    ) -> Self {
        let width = writers.map(|(step, service)| writer(step, service).len()).max();
        let width = width.unwrap_or_default().min(WIDEST_WRITER);
        Self { out: Sink::new(io::stdout()), mode, collected: String::new(), width }
    }
}

impl<W: Write> LogView<W> {
    /// Says which run it is.
    pub(crate) fn heading(&mut self, heading: &RunHeading<'_>) {
        if !self.mode.is_json() {
            let line = heading.line(look(self.mode));
            self.collect(&line);
        }
    }

    /// Staith's own words, which programs don't want.
    pub(crate) fn say(&mut self, text: &str) {
        if !self.mode.is_json() {
            let line = look(self.mode).tint(Tone::Quiet, &clean_word(text));
            self.collect(&line);
        }
    }

    /// Shows a line.
    pub(crate) fn line(&mut self, wrote: &Wrote<'_>) {
        let LogLine { at, stream, bytes, more } = &wrote.line;
        let text = String::from_utf8_lossy(bytes);
        if self.mode.is_json() {
            let mut value = json!({ "at": at, "step": wrote.step, "stream": name(*stream), "line": text });
            if let Some(service) = wrote.service {
                value["service"] = service.as_str().into();
            }
            if *more > 0 {
                value["more_bytes"] = (*more).into();
            }
            return self.collect(&value.to_string());
        }
        let look = look(self.mode);
        let bar = look.tint(Tone::Quiet, if *stream == LoggedStream::Staith { ">" } else { "|" });
        let more = look.tint(Tone::Quiet, &human::more_bytes(usize::try_from(*more).unwrap_or(usize::MAX)));
        let time = look.tint(Tone::Quiet, &moment(*at, "%H:%M:%S%.3f"));
        let shown = clean(&text, look.colours);
        let writer = writer(wrote.step, wrote.service);
        let line = format!("{time} {writer:width$} {bar} {shown}{more}", width = self.width);
        self.collect(line.trim_end_matches(' '));
    }

    fn collect(&mut self, line: &str) {
        self.collected.push_str(line);
        self.collected.push('\n');
        if self.collected.len() >= COLLECTED {
            self.show();
        }
    }

    /// Writes what was collected.
    pub(crate) fn show(&mut self) {
        if !self.collected.is_empty() {
            self.out.write(&self.collected);
            self.collected.clear();
        }
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.out.is_gone()
    }

    /// Whether all was written, as far as anybody wanted to read it.
    ///
    /// # Errors
    /// It was not.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.show();
        self.out.written()
    }
}

/// Lists runs.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn runs(headings: &[RunHeading<'_>], mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    for heading in headings {
        out.line(&if mode.is_json() { heading.json() } else { heading.line(look(mode)) });
    }
    out.written()
}

impl RunHeading<'_> {
    fn line(&self, look: Look) -> String {
        let (mark, words) = match self.outcome {
            _ if self.goes_on => (Mark::Waiting, "goes on"),
            Some(RunOutcome::Passed) => (Mark::Passed, "passed"),
            Some(RunOutcome::Failed) => (Mark::Failed, "failed"),
            Some(RunOutcome::Cancelled) => (Mark::Skipped, "was cancelled"),
            None => (Mark::Failed, "ended without a word"),
        };
        let (mark, dot) = (look.mark(mark), look.dot());
        let when = moment(self.began, "%Y-%m-%d %H:%M:%S UTC");
        format!("{mark} run {}{dot}{}{dot}{when}{dot}{words}", self.run, self.project)
    }

    fn json(&self) -> String {
        let outcome = serde_json::to_value(self.outcome).unwrap_or_default();
        json!({
            "run": self.run,
            "project": self.project,
            "began": self.began,
            "outcome": outcome,
            "goes_on": self.goes_on,
        })
        .to_string()
    }
}

/// Whose line it is, in one word.
fn writer(step: &Name, service: Option<&Name>) -> String {
    match service {
        None => step.to_string(),
        Some(service) => format!("{step}/{service}"),
    }
}

pub(super) fn look(mode: OutputMode) -> Look {
    match mode {
        OutputMode::Live(look) | OutputMode::Plain(look) | OutputMode::Aside(look) => look,
        OutputMode::Json => Look { colours: false, unicode: true },
    }
}

const fn name(stream: LoggedStream) -> &'static str {
    match stream {
        LoggedStream::Out => "stdout",
        LoggedStream::Err => "stderr",
        LoggedStream::Staith => "staith",
    }
}

fn moment(at: u64, format: &str) -> String {
    let moment = i64::try_from(at).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    moment.map_or_else(|| "at no known time".to_owned(), |moment| moment.strftime(format).to_string())
}
