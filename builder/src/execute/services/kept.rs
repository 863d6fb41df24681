//! What a service writes: all of it goes into its log, and its last lines are held for the case that people need them.

use std::collections::VecDeque;

use staith_model::{Name, Stream};
use tokio::sync::mpsc;

use crate::{
    engine::OutputChunk,
    execute::{
        attempt::{Attempt, Message},
        lines::LineSplitter,
    },
    redact::{MaskStream, Masker},
    step_log::LogWriter,
};

/// Lines that are shown of a service when its step fails: where a server says why it ended, not all that it was asked.
const LAST_LINES: usize = 20;

/// Takes what one service writes.
pub(super) struct Kept {
    masks: [MaskStream; 2],
    splitters: [LineSplitter; 2],
    log: Option<LogWriter>,
    last: VecDeque<String>,
}

impl Kept {
    /// For one service of an attempt. A log that can't be written is no reason to run nothing; but it is said.
    pub(super) async fn open(attempt: &Attempt, service: &Name) -> Self {
        let bench = &attempt.bench;
        let open = |logs: &crate::step_log::RunLogs| {
            logs.open_of_service(&attempt.run, &attempt.step.name, service, bench.clock)
        };
        let (log, refused) = match bench.logs.as_ref().map(open).transpose() {
            Ok(log) => (log, None),
            Err(refused) => (None, Some(refused)),
        };
        if let Some(refused) = refused {
            let notice = format!("staith: the log of service `{service}` can't be written: {refused}");
            attempt.say(Message::Line(Stream::Stderr, notice)).await;
        }
        Self::new(bench.secrets.masker(), log)
    }

    fn new(masker: &Masker, log: Option<LogWriter>) -> Self {
        Self {
            masks: [masker.stream(), masker.stream()],
            splitters: Default::default(),
            log,
            last: VecDeque::new(),
        }
    }

    /// Takes everything, until the streams end, and gives the last lines. Holds no more than those. Blocks: call it where
    /// blocking is right.
    pub(super) fn take_all(mut self, mut chunks: mpsc::Receiver<OutputChunk>) -> Vec<String> {
        let mut masked = Vec::new();
        while let Some(chunk) = chunks.blocking_recv() {
            masked.clear();
            self.masks[place(chunk.stream)].push(&chunk.bytes, &mut masked);
            self.take(chunk.stream, &masked);
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            masked.clear();
            self.masks[place(stream)].finish(&mut masked);
            self.take(stream, &masked);
            let mut last = None;
            self.splitters[place(stream)].finish(|line| last = Some(line));
            last.into_iter().for_each(|line| self.hold(line));
        }
        if let Some(Err(refused)) = self.log.take().map(LogWriter::finish) {
            tracing::warn!(%refused, "the end of a service's log is not written");
        }
        self.last.into()
    }

    fn take(&mut self, stream: Stream, masked: &[u8]) {
        if let Some(Err(refused)) = self.log.as_mut().map(|log| log.take(stream, masked)) {
            self.log = None;
            self.hold(format!("staith: this log can't be written any more: {refused}"));
        }
        let mut lines = Vec::new();
        self.splitters[place(stream)].push(masked, |line| lines.push(line));
        lines.into_iter().for_each(|line| self.hold(line));
    }

    fn hold(&mut self, line: String) {
        self.last.push_back(line);
        if self.last.len() > LAST_LINES {
            self.last.pop_front();
        }
    }
}

fn place(stream: Stream) -> usize {
    usize::from(stream == Stream::Stderr)
}
