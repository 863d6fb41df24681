//! The block of YAML below a test point. Test programs write it by templates of their own, few of them as YAML is defined,
//! so only what all of them agree on is read: a key and its value on a line, and what is indented below.

use super::super::location::{self, Location};

/// Lines of a block that are kept.
const LINES_KEPT: usize = 200;

/// What the block below one test point says.
#[derive(Debug, Default)]
pub(super) struct Diagnosis {
    /// What went wrong, in the words of the test program.
    pub(super) message: String,
    /// Everything else that is worth showing.
    pub(super) rest: String,
    file: Option<String>,
    line: Option<u64>,
    lines: usize,
    /// The indentation of the block's keys.
    indent: Option<usize>,
    /// The key of that indentation that was read last.
    key: String,
}

impl Diagnosis {
    /// Takes a line of the block.
    pub(super) fn take(&mut self, line: &str) {
        self.lines += 1;
        if self.lines > LINES_KEPT {
            return;
        }
        let text = line.trim_start_matches(' ');
        let indent = line.len() - text.len();
        let first = *self.indent.get_or_insert(indent);
        let pair = text.split_once(':').map(|(key, value)| (key, scalar(value)));
        match pair {
            Some((key, value)) if indent <= first => {
                self.key = key.trim().to_owned();
                self.value(key.trim(), value, line);
            }
            Some((key, value)) if self.key == "at" && self.place(key.trim(), value) => {}
            _ if self.key == "message" || self.key == "error" => push_line(&mut self.message, text),
            _ => push_line(&mut self.rest, line.get(first..).unwrap_or(text)),
        }
    }

    fn value(&mut self, key: &str, value: &str, line: &str) {
        match key {
            "message" | "error" => push_line(&mut self.message, value),
            _ if self.place(key, value) => {}
            // Nobody looks for these when a test has failed.
            "duration_ms" | "time_ms" | "type" | "failureType" | "severity" => {}
            _ => push_line(&mut self.rest, line.trim_start()),
        }
    }

    /// Takes a key that says where the failure is.
    fn place(&mut self, key: &str, value: &str) -> bool {
        match key {
            "file" | "fileName" => self.file = Some(value.to_owned()),
            "line" | "lineNumber" => self.line = value.parse().ok(),
            "at" | "location" => {
                if let Some(Location { file, line }) = location::in_line(value) {
                    (self.file, self.line) = (Some(file), line.map(u64::from));
                }
            }
            _ => return false,
        }
        true
    }

    /// The file and line that the block names.
    pub(super) fn location(&mut self) -> (Option<String>, Option<u64>) {
        (self.file.take(), self.line.take())
    }
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

/// A value on its key's line, without quotes; nothing for the marks of a block.
fn scalar(value: &str) -> &str {
    let value = value.trim();
    let quoted = |quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    match value {
        "|" | "|-" | "|+" | ">" | ">-" | ">+" => "",
        _ => quoted('\'').or_else(|| quoted('"')).unwrap_or(value),
    }
}
