//! A step's log as the server has it: bytes become lines, and it is told where they are not all.

use std::{
    collections::VecDeque,
    io::{self, Write as _},
};

use staith_builder::step_log::{LogLine, LogReader, LoggedStream};
use staith_model::{Exit, Name};
use staith_server::streams::Listed;

use crate::{
    client::{End, Stream, people::People},
    output::{self, LogView, OutputMode, Problem, Wrote},
};

/// The step whose log a stream is.
pub(super) fn step_of(stream: &Listed) -> Option<Name> {
    stream.name.strip_prefix("log.")?.parse().ok()
}

/// A log.
pub(super) struct Log {
    listed: Listed,
    step: Name,
    stream: Stream,
    reader: LogReader<VecDeque<u8>>,
    next: Option<LogLine>,
}

impl Log {
    /// The log that this stream is.
    pub(super) fn of(listed: Listed) -> Self {
        #[expect(clippy::expect_used, reason = "only logs are chosen")]
        let step = step_of(&listed).expect("a log");
        let stream = Stream::of(&listed.attempt, &listed.name);
        Self { listed, step, stream, reader: LogReader::of(VecDeque::new()), next: None }
    }

    pub(super) const fn step(&self) -> &Name {
        &self.step
    }

    pub(super) const fn next(&self) -> Option<&LogLine> {
        self.next.as_ref()
    }

    /// The next bytes of those that there were when it was listed.
    pub(super) async fn piece(&mut self, people: &People) -> Result<Option<Vec<u8>>, Problem> {
        self.stream.piece(people, self.listed.length).await
    }

    /// Gets so much of it that the next line is known, if there is one.
    pub(super) async fn fill(&mut self, people: &People) -> Result<(), Problem> {
        while self.next.is_none() {
            self.next = self.reader.line().map_err(|bad| damaged(&self.step, &bad))?;
            if self.next.is_some() {
                break;
            }
            let Some(bytes) = self.piece(people).await? else { break };
            self.reader.source().extend(bytes);
        }
        Ok(())
    }

    /// What is missing of it, now that all was read that there is.
    fn missing(&self) -> Result<Option<&'static str>, Problem> {
        let end = End { length: self.listed.length, digest: self.listed.digest, cut: self.listed.cut };
        missing(&self.step, &self.stream, &end, self.listed.live, self.listed.divergent)
    }
}

/// What is missing of a log of which all was read that the server gave.
pub(super) fn missing(
    step: &Name,
    read: &Stream,
    end: &End,
    live: bool,
    divergent: bool,
) -> Result<Option<&'static str>, Problem> {
    if read.at() < end.length || end.digest.is_some_and(|digest| digest != read.digest()) {
        let what = format!("what the server gives of the log of {step} is not what its runner had closed");
        return Err(Problem::new(Exit::Environment, what)
            .with_remedy("let the server's administrator run `staith server check`"));
    }
    Ok(match end {
        End { cut: true, .. } => Some("it is longer than the server keeps, and its end is not there"),
        _ if divergent => {
            Some("its runner sent a part of it again with other bytes, and what came first was kept")
        }
        End { digest: None, .. } if !live => {
            Some("its runner was lost before it had sent all, and the end is missing")
        }
        End { .. } => None,
    })
}

fn damaged(step: &Name, bad: &io::Error) -> Problem {
    Problem::new(Exit::Environment, format!("the log of {step} can't be read")).with_why(bad.to_string())
}

/// Shows logs: as lines, or as they are.
pub(super) struct Shown {
    view: Option<LogView<io::Stdout>>,
    mode: OutputMode,
    gone: bool,
    lost: Option<io::Error>,
}

impl Shown {
    pub(super) fn on_stdout<'a>(raw: bool, steps: impl Iterator<Item = &'a Name>, mode: OutputMode) -> Self {
        let view = (!raw).then(|| LogView::on_stdout(mode, steps.map(|step| (step, None))));
        Self { view, mode, gone: false, lost: None }
    }

    /// Whether nobody reads any more.
    pub(super) fn is_gone(&self) -> bool {
        self.gone || self.view.as_ref().is_some_and(LogView::is_gone)
    }

    /// Shows the next line of a log.
    pub(super) fn next_of(&mut self, log: &mut Log) {
        if let Some(line) = log.next.take() {
            self.line(&log.step, line);
        }
    }

    fn line(&mut self, step: &Name, line: LogLine) {
        if let Some(view) = &mut self.view {
            view.line(&Wrote { step, service: None, line });
        }
    }

    /// Shows what these bytes of a log add to it.
    ///
    /// # Errors
    /// They are none of a log.
    pub(super) fn bytes(&mut self, log: &mut Log, bytes: &[u8]) -> Result<(), Problem> {
        self.add(&log.step, &mut log.reader, bytes)
    }

    /// The same, of a log that somebody else gets.
    pub(super) fn add(
        &mut self,
        step: &Name,
        reader: &mut LogReader<VecDeque<u8>>,
        bytes: &[u8],
    ) -> Result<(), Problem> {
        reader.source().extend(bytes);
        if self.view.is_some() {
            while let Some(line) = reader.line().map_err(|bad| damaged(step, &bad))? {
                self.line(step, line);
            }
            return Ok(());
        }
        let mut out = io::stdout().lock();
        let mut refused = None;
        let read = reader.bytes(|stream, bytes| {
            if stream != LoggedStream::Staith && refused.is_none() {
                refused = out.write_all(bytes).err();
            }
            Ok(())
        });
        if let Some(refused) = refused {
            self.refused(refused);
        }
        read.map_err(|bad| damaged(step, &bad))
    }

    fn refused(&mut self, refused: io::Error) {
        self.gone = true;
        if refused.kind() != io::ErrorKind::BrokenPipe {
            self.lost = Some(refused);
        }
    }

    /// Lets what was collected be seen.
    pub(super) fn flush(&mut self) {
        match &mut self.view {
            Some(view) => view.show(),
            None => {
                if let Err(refused) = io::stdout().flush() {
                    self.refused(refused);
                }
            }
        }
    }

    /// Shows a log's last words, and says what is missing; the exit code is then 30.
    pub(super) fn end(&mut self, log: &mut Log, exit: Exit) -> Result<Exit, Problem> {
        let missing = log.missing();
        self.ended(&log.step.clone(), &mut log.reader, missing, exit)
    }

    /// The same, of a log that somebody else got.
    pub(super) fn ended(
        &mut self,
        step: &Name,
        reader: &mut LogReader<VecDeque<u8>>,
        missing: Result<Option<&'static str>, Problem>,
        exit: Exit,
    ) -> Result<Exit, Problem> {
        if self.is_gone() {
            return Ok(exit);
        }
        if self.view.is_some() {
            let last: Vec<LogLine> = reader.unfinished().collect();
            last.into_iter().for_each(|line| self.line(step, line));
        }
        self.flush();
        let Some(why) = missing? else { return Ok(exit) };
        output::log_not_whole(step, why, self.mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Environment)
    }

    /// Whether all was written, as far as anybody wanted to read it.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        self.flush();
        let shown = self.view.map_or(Ok(()), LogView::finish);
        match (shown, self.lost) {
            (Err(lost), _) | (_, Some(lost)) => Err(Problem::unwritable(&lost)),
            _ => Ok(()),
        }
    }
}
