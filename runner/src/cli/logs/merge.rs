//! The lines of several logs in the order of their times.

use std::{io, path::PathBuf};

use staith_builder::step_log::{self, LogLine, LogReader};
use staith_model::Name;

use crate::{output::Wrote, records::RunRecord};

/// Logs of one run that are read together, a line of each at a time.
pub(super) struct Merge<'a> {
    logs: Vec<Log<'a>>,
}

struct Log<'a> {
    step: &'a Name,
    service: Option<&'a Name>,
    path: PathBuf,
    /// Opened once the step has begun to write.
    reader: Option<LogReader>,
    next: Option<LogLine>,
}

impl<'a> Merge<'a> {
    /// The logs of these steps of a run, and of the services beside them.
    pub(super) fn new(run: &'a RunRecord, steps: impl Iterator<Item = &'a Name>) -> Self {
        let logs = steps.flat_map(|step| {
            let beside = run.services.get(step).into_iter().flatten().map(Some);
            [None].into_iter().chain(beside).map(move |service| Log::of(run, step, service))
        });
        Self { logs: logs.collect() }
    }

    /// The next line; `None` when there is none at this moment.
    pub(super) fn next(&mut self) -> io::Result<Option<Wrote<'a>>> {
        for log in &mut self.logs {
            log.fill()?;
        }
        let first = self.logs.iter_mut().filter(|log| log.next.is_some());
        let first = first.min_by_key(|log| log.next.as_ref().map_or(u64::MAX, |line| line.at));
        Ok(first.and_then(|log| Some(Wrote { step: log.step, service: log.service, line: log.next.take()? })))
    }

    /// Lines that were begun and have no end, when no more will come.
    pub(super) fn unfinished(&mut self) -> impl Iterator<Item = Wrote<'a>> {
        self.logs.iter_mut().flat_map(|log| {
            let (step, service) = (log.step, log.service);
            let lines = log.reader.iter_mut().flat_map(LogReader::unfinished);
            lines.map(move |line| Wrote { step, service, line })
        })
    }
}

impl<'a> Log<'a> {
    fn of(run: &RunRecord, step: &'a Name, service: Option<&'a Name>) -> Self {
        let path = match service {
            None => step_log::path(&run.directory, step),
            Some(service) => step_log::path_of_service(&run.directory, step, service),
        };
        Self { step, service, path, reader: None, next: None }
    }

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
