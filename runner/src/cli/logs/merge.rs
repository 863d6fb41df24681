//! The lines of several logs in the order of their times.

use std::{
    io,
    path::{Path, PathBuf},
};

use staith_builder::step_log::{self, LogLine, LogReader};
use staith_model::Name;

use crate::output::Wrote;

/// Logs of one run that are read together, a line of each at a time.
pub(super) struct Merge<'a> {
    logs: Vec<Log<'a>>,
}

struct Log<'a> {
    step: &'a Name,
    path: PathBuf,
    /// Opened once the step has begun to write.
    reader: Option<LogReader>,
    next: Option<LogLine>,
}

impl<'a> Merge<'a> {
    pub(super) fn new(run: &Path, steps: impl Iterator<Item = &'a Name>) -> Self {
        let log = |step| Log { step, path: step_log::path(run, step), reader: None, next: None };
        Self { logs: steps.map(log).collect() }
    }

    /// The next line; `None` when there is none at this moment.
    pub(super) fn next(&mut self) -> io::Result<Option<Wrote<'a>>> {
        for log in &mut self.logs {
            log.fill()?;
        }
        let first = self.logs.iter_mut().filter(|log| log.next.is_some());
        let first = first.min_by_key(|log| log.next.as_ref().map_or(u64::MAX, |line| line.at));
        Ok(first.and_then(|log| Some(Wrote { step: log.step, line: log.next.take()? })))
    }

    /// Lines that were begun and have no end, when no more will come.
    pub(super) fn unfinished(&mut self) -> impl Iterator<Item = Wrote<'a>> {
        self.logs.iter_mut().flat_map(|log| {
            let step = log.step;
            log.reader.iter_mut().flat_map(LogReader::unfinished).map(move |line| Wrote { step, line })
        })
    }
}

impl Log<'_> {
    fn fill(&mut self) -> io::Result<()> {
        if self.next.is_some() {
            return Ok(());
        }
        if self.reader.is_none() {
            self.reader = match LogReader::open(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                opened => Some(opened?),
            };
        }
        if let Some(reader) = &mut self.reader {
            self.next = reader.line()?;
        }
        Ok(())
    }
}
