//! From the bytes of a step to its log, which has all of them, and to lines for people, who read the first and the last.

use std::collections::VecDeque;

use staith_model::{Findings, Name, RunId, Stream};
use tokio::sync::mpsc;

use super::{attempt::Message, lines::LineSplitter};
use crate::{
    engine::OutputChunk,
    redact::{MaskStream, Masker},
    report::matcher::Matcher,
    step_log::{LogWriter, Logged},
};

/// As much of a step's output as becomes events: more than anybody reads, and as much as a log of events holds well.
const MOST_EVENTS: usize = 8 << 20;
/// What an event costs beside its line.
const COST_OF_A_LINE: usize = 100;
/// Of what comes after that, as much as is shown at the step's end: that is where it says why it failed.
const LAST_LINES: usize = 200;
const LAST_BYTES: usize = 256 << 10;

/// Takes what a step writes.
pub(super) struct Output {
    masks: [MaskStream; 2],
    splitters: [LineSplitter; 2],
    masked: Vec<u8>,
    log: Option<LogWriter>,
    matcher: Option<Matcher>,
    view: View,
    tell: mpsc::Sender<(Name, Message)>,
    step: Name,
}

impl Output {
    /// For one step; `log` is where all of it is kept, and `matcher` reads every line.
    pub(super) fn new(
        run: &RunId,
        step: &Name,
        masker: &Masker,
        log: Option<LogWriter>,
        matcher: Option<Matcher>,
        tell: mpsc::Sender<(Name, Message)>,
    ) -> Self {
        let all = log.as_ref().map(|_| format!("`staith logs {run} {step}` shows all of it"));
        Self {
            masks: [masker.stream(), masker.stream()],
            splitters: Default::default(),
            masked: Vec::new(),
            log,
            matcher,
            view: View::new(all),
            tell,
            step: step.clone(),
        }
    }

    /// Takes everything, until the step's streams end; what the matcher found in it. Blocks: call it where blocking is right.
    pub(super) fn take_all(mut self, mut chunks: mpsc::Receiver<OutputChunk>) -> Option<Findings> {
        while let Some(chunk) = chunks.blocking_recv() {
            let of = usize::from(chunk.stream == Stream::Stderr);
            let mut masked = std::mem::take(&mut self.masked);
            masked.clear();
            self.masks[of].push(&chunk.bytes, &mut masked);
            drop(chunk.bytes);
            self.take(chunk.stream, &masked);
            self.masked = masked;
        }
        for (of, stream) in [Stream::Stdout, Stream::Stderr].into_iter().enumerate() {
            let mut rest = Vec::new();
            self.masks[of].finish(&mut rest);
            self.take(stream, &rest);
            let mut last = None;
            self.splitters[of].finish(|line| last = Some(line));
            last.into_iter().for_each(|line| self.show(stream, line));
        }
        let finished = self.log.take().map(LogWriter::finish);
        self.tell_of_log(finished);
        for (stream, line) in self.view.end() {
            self.say(stream, line);
        }
        self.matcher.map(Matcher::finish)
    }

    fn take(&mut self, stream: Stream, masked: &[u8]) {
        let kept = self.log.as_mut().map(|log| log.take(stream, masked));
        self.tell_of_log(kept);
        let mut lines = Vec::new();
        self.splitters[usize::from(stream == Stream::Stderr)].push(masked, |line| lines.push(line));
        lines.into_iter().for_each(|line| self.show(stream, line));
    }

    /// A log that can't be written is no reason to end a step that may run for an hour; but it is said.
    fn tell_of_log(&mut self, kept: Option<std::io::Result<Logged>>) {
        match kept {
            Some(Ok(Logged::Full)) => {
                self.say(
                    Stream::Stderr,
                    "staith: the step's log is full; what it writes from here on is not kept".into(),
                );
            }
            Some(Err(refused)) => {
                self.log = None;
                self.say(
                    Stream::Stderr,
                    format!("staith: the step's log can't be written any more: {refused}"),
                );
            }
            None | Some(Ok(Logged::Kept | Logged::Dropped)) => {}
        }
    }

    fn show(&mut self, stream: Stream, line: String) {
        self.matcher.iter_mut().for_each(|matcher| matcher.push(&line));
        match self.view.take(stream, line) {
            Take::Line(line) => self.say(stream, line),
            Take::Notice(notice) => self.say(Stream::Stderr, notice),
            Take::Nothing => {}
        }
    }

    fn say(&self, stream: Stream, line: String) {
        // The dispatcher outlives its attempts; if it is gone the run is over and nobody needs to know.
        let _ = self.tell.blocking_send((self.step.clone(), Message::Line(stream, line)));
    }
}

/// What of a step's output people are shown while it runs. Its first part, and when it has ended its last lines.
#[derive(Debug)]
struct View {
    bytes: usize,
    last: VecDeque<(Stream, String)>,
    last_bytes: usize,
    left_out: u64,
    is_full: bool,
    /// Where all of it is, in words.
    all: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Take {
    Line(String),
    Notice(String),
    Nothing,
}

impl View {
    fn new(all: Option<String>) -> Self {
        Self { bytes: 0, last: VecDeque::new(), last_bytes: 0, left_out: 0, is_full: false, all }
    }

    fn take(&mut self, stream: Stream, line: String) -> Take {
        self.bytes = self.bytes.saturating_add(line.len() + COST_OF_A_LINE);
        if self.bytes <= MOST_EVENTS {
            return Take::Line(line);
        }
        self.last_bytes += line.len();
        self.last.push_back((stream, line));
        while self.last.len() > LAST_LINES || self.last_bytes > LAST_BYTES {
            self.left_out += 1;
            self.last_bytes -= self.last.pop_front().map_or(0, |(_, line)| line.len());
        }
        if std::mem::replace(&mut self.is_full, true) {
            return Take::Nothing;
        }
        let mut notice = format!(
            "staith: the step has written {} MiB; of the rest, its last lines are shown when it ends",
            MOST_EVENTS >> 20
        );
        if let Some(all) = &self.all {
            notice.push_str("; ");
            notice.push_str(all);
        }
        Take::Notice(notice)
    }

    fn end(&mut self) -> impl Iterator<Item = (Stream, String)> + use<> {
        let left_out = (self.left_out > 0).then(|| {
            (
                Stream::Stderr,
                format!("staith: {} lines are not shown here; these are the last:", self.left_out),
            )
        });
        left_out.into_iter().chain(std::mem::take(&mut self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_the_first_and_the_last_lines_of_a_flood() {
        let mut view = View::new(Some("look there".into()));
        let mut shown = Vec::new();
        for number in 0..1_000_000 {
            match view.take(Stream::Stdout, format!("line {number}")) {
                Take::Line(line) | Take::Notice(line) => shown.push(line),
                Take::Nothing => {}
            }
        }
        assert!(shown.len() * COST_OF_A_LINE < MOST_EVENTS);
        assert!(shown[shown.len() - 1].ends_with("look there"));
        let left_out = 1_000_000 - (shown.len() - 1) - LAST_LINES;
        let last: Vec<String> = view.end().map(|(_, line)| line).collect();
        assert_eq!(last[0], format!("staith: {left_out} lines are not shown here; these are the last:"));
        assert_eq!(last.len(), LAST_LINES + 1);
        assert_eq!(last[LAST_LINES], "line 999999");
    }

    #[test]
    fn a_few_lines_too_many_are_all_shown() {
        let mut view = View::new(None);
        while let Take::Line(_) = view.take(Stream::Stdout, "x".repeat(1000)) {}
        view.take(Stream::Stderr, "the end".into());
        let last: Vec<(Stream, String)> = view.end().collect();
        assert_eq!(last.len(), 2);
        assert_eq!(last[1], (Stream::Stderr, "the end".to_owned()));
    }
}
