//! Colours and marks: how things look where the terminal can show them, and where it can't.

use console::Style;

/// What the place that is written to can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether colours (SGR sequences) are wanted.
    pub(crate) colours: bool,
    /// Whether marks may go beyond ASCII.
    pub(crate) unicode: bool,
}

/// What a piece of text says beside its words. Few, so that a screen stays calm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing.
    Plain,
    /// It is well.
    Good,
    /// It is not.
    Bad,
    /// It deserves a look.
    Odd,
    /// It is being done.
    Busy,
    /// It is not what matters here.
    Quiet,
    /// It is what matters here.
    Strong,
}

/// Where something is, in one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Its turn has not come.
    Waiting,
    /// It is being done; the number turns the spinner.
    Running(u64),
    /// Done.
    Passed,
    /// Needed not be done.
    Cached,
    /// Went wrong.
    Failed,
    /// Took too long.
    TimedOut,
    /// Will not be done.
    Skipped,
}

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const ASCII_SPINNER: [&str; 4] = ["|", "/", "-", "\\"];

impl Look {
    /// ASCII without colours: right everywhere.
    #[cfg(test)]
    pub(crate) const BARE: Self = Self { colours: false, unicode: false };

    /// The text in its tone.
    pub(crate) fn tint(self, tone: Tone, text: &str) -> String {
        if !self.colours || text.is_empty() || tone == Tone::Plain {
            return text.to_owned();
        }
        let style = Style::new().force_styling(true);
        let style = match tone {
            Tone::Plain => style,
            Tone::Good => style.green(),
            Tone::Bad => style.red().bold(),
            Tone::Odd => style.yellow(),
            Tone::Busy => style.cyan(),
            Tone::Quiet => style.dim(),
            Tone::Strong => style.bold(),
        };
        style.apply_to(text).to_string()
    }

    /// The mark in its colour; one column wide.
    pub(crate) fn mark(self, mark: Mark) -> String {
        let turn = |frames: &[&'static str], turn: u64| frames[(turn % frames.len() as u64) as usize];
        let (tone, unicode, ascii) = match mark {
            Mark::Waiting => (Tone::Quiet, "·", "."),
            Mark::Running(at) => (Tone::Busy, turn(&SPINNER, at), turn(&ASCII_SPINNER, at)),
            Mark::Passed => (Tone::Good, "✓", "+"),
            Mark::Cached => (Tone::Good, "=", "="),
            Mark::Failed => (Tone::Bad, "✗", "x"),
            // A clock that is one column wide everywhere; U+23F1 is drawn as a two-column emoji by many terminals.
            Mark::TimedOut => (Tone::Bad, "◷", "T"),
            Mark::Skipped => (Tone::Quiet, "–", "-"),
        };
        self.tint(tone, if self.unicode { unicode } else { ascii })
    }

    /// Between things of equal rank on one line.
    pub(crate) fn dot(self) -> &'static str {
        if self.unicode { " · " } else { ", " }
    }

    /// What stands for what was left out.
    pub(crate) fn ellipsis(self) -> &'static str {
        if self.unicode { "…" } else { "~" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_one_column_and_differ() {
        let marks = [
            Mark::Waiting,
            Mark::Running(3),
            Mark::Passed,
            Mark::Cached,
            Mark::Failed,
            Mark::TimedOut,
            Mark::Skipped,
        ];
        for unicode in [false, true] {
            let look = Look { colours: true, unicode };
            let shown: std::collections::BTreeSet<String> =
                marks.iter().map(|mark| console::strip_ansi_codes(&look.mark(*mark)).into_owned()).collect();
            assert_eq!(shown.len(), marks.len());
            assert!(shown.iter().all(|mark| console::measure_text_width(mark) == 1), "{shown:?}");
        }
    }

    #[test]
    fn without_colours_there_are_no_sequences() {
        let look = Look { colours: false, unicode: true };
        assert_eq!((look.tint(Tone::Bad, "x"), look.mark(Mark::Passed)), ("x".to_owned(), "✓".to_owned()));
        let look = Look { colours: true, unicode: true };
        assert_eq!(look.tint(Tone::Good, "x"), "\x1b[32mx\x1b[0m");
    }
}
