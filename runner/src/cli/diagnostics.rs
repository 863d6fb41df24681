//! What Staith says of its own doings, on standard error: each event a line, with nothing in it that a terminal would obey and no token.

use std::io::{self, Write as _};

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use crate::output;

/// With `STAITH_LOG` set to a level (`error` to `trace`), all of that level is said; without, only errors, where nobody would hear of them
/// otherwise (`says_what_fails`).
pub(super) fn listen(says_what_fails: bool) {
    let said = std::env::var("STAITH_LOG").ok().and_then(|level| level.parse::<Level>().ok());
    let level = said.or(says_what_fails.then_some(Level::ERROR));
    if let Some(level) = level {
        tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(Lines).init();
    }
}

/// Makes a writer for each event.
struct Lines;

/// One event.
#[derive(Default)]
struct Line(Vec<u8>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line::default()
    }
}

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            let line = format!("{}\n", shown(&String::from_utf8_lossy(&self.0)));
            // There is nobody left to tell if this fails. At once, so that no other line gets between.
            let _ = io::stderr().lock().write_all(line.as_bytes());
        }
    }
}

fn shown(text: &str) -> String {
    masked(&output::one_line(text))
}

/// A text without the tokens and codes of Staith's that are in it: `staith_person_…` and so on.
fn masked(text: &str) -> String {
    const BEGINS: &str = "staith_";
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-+/=".contains(c);
    let (mut masked, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(BEGINS) {
        let (before, word) = rest.split_at(at);
        let length = word.find(|c: char| !is_part(c)).unwrap_or(word.len());
        let (word, after) = word.split_at(length);
        masked.push_str(before);
        // Modules are called so as well (`staith_server::api`), and are shorter than any token.
        masked.push_str(if word.len() > 32 { "***" } else { word });
        rest = after;
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_without_tokens() {
        let text = "2026 ERROR staith_server::api: failed\nError: code staith_person_0123456789abcdefghijklmnopqrstuv, \u{1b}[2Jx\n";
        let line = shown(text);
        assert_eq!(line, "2026 ERROR staith_server::api: failed Error: code ***, x");
    }
}
