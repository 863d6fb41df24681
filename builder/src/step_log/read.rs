//! Reading a log, also one that is still being written or was cut.

use std::{collections::VecDeque, fs::File, io, path::Path};

use super::{FIRST_LINE, LONGEST_HELD};

/// Bytes read at once.
const CHUNK: usize = 64 << 10;
/// A block's first line is not longer.
const LONGEST_HEAD: usize = 64;

/// Reads a log as it is now; may be asked again when it has grown. Never holds more of it than a few lines.
///
/// A log comes from a file, or from whatever else gives its bytes in order. That there are none at this moment says nothing about the next.
#[derive(Debug)]
pub struct LogReader<R = File> {
    source: R,
    /// What was read and not yet looked at.
    buffer: VecDeque<u8>,
    chunk: Vec<u8>,
    within: Within,
    /// Where in the log the next byte of the buffer is, for messages.
    at: u64,
    unfinished: [Line; 3],
    lines: VecDeque<LogLine>,
}

/// Who wrote something that is in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoggedStream {
    /// The step, to standard output.
    Out,
    /// The step, to standard error.
    Err,
    /// Staith, about the log.
    Staith,
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When its end was written, in milliseconds since 1970.
    pub at: u64,
    /// Who wrote it.
    pub stream: LoggedStream,
    /// Its first 64 KiB, without its end.
    pub bytes: Vec<u8>,
    /// How many more bytes it has.
    pub more: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    FirstLine,
    Head,
    Body { at: u64, stream: LoggedStream, left: u64 },
    BodyEnd,
}

#[derive(Debug, Default)]
struct Line {
    at: u64,
    bytes: Vec<u8>,
    more: u64,
}

impl LogReader {
    /// Opens a log.
    ///
    /// # Errors
    /// The file system refused.
    pub fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self::of)
    }
}

impl<R: io::Read> LogReader<R> {
    /// Reads a log from something else than a file.
    pub fn of(source: R) -> Self {
        Self {
            source,
            buffer: VecDeque::new(),
            chunk: vec![0; CHUNK],
            within: Within::FirstLine,
            at: 0,
            unfinished: Default::default(),
            lines: VecDeque::new(),
        }
    }

    /// Where its bytes come from.
    pub fn source(&mut self) -> &mut R {
        &mut self.source
    }

    /// The next whole line; `None` when there is none at this moment.
    ///
    /// # Errors
    /// The file system refused, or the file is no log.
    pub fn line(&mut self) -> io::Result<Option<LogLine>> {
        while self.lines.is_empty() {
            let (mut lines, mut unfinished) =
                (std::mem::take(&mut self.lines), std::mem::take(&mut self.unfinished));
            let more = self.step(&mut |at, stream, bytes| {
                split(&mut unfinished[stream as usize], at, stream, bytes, &mut lines);
            });
            (self.lines, self.unfinished) = (lines, unfinished);
            if !more? {
                break;
            }
        }
        Ok(self.lines.pop_front())
    }

    /// Lines whose end is missing; what comes after this is taken for new lines.
    pub fn unfinished(&mut self) -> impl Iterator<Item = LogLine> {
        let streams = [LoggedStream::Out, LoggedStream::Err, LoggedStream::Staith];
        let taken = streams.map(|stream| (stream, std::mem::take(&mut self.unfinished[stream as usize])));
        taken.into_iter().filter(|(_, line)| !line.bytes.is_empty()).map(|(stream, line)| line.end(stream))
    }

    /// Passes on what the step wrote, as it was, to the end of the log at this moment. Don't mix with [`line`](Self::line).
    ///
    /// # Errors
    /// Those of `take`; the file system refused, or the file is no log.
    pub fn bytes(&mut self, mut take: impl FnMut(LoggedStream, &[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut taken = Ok(());
        while taken.is_ok()
            && self.step(&mut |_, stream, bytes| {
                if taken.is_ok() {
                    taken = take(stream, bytes);
                }
            })?
        {}
        taken
    }

    /// Takes the next part of a block; whether there may be more.
    fn step(&mut self, body: &mut dyn FnMut(u64, LoggedStream, &[u8])) -> io::Result<bool> {
        match self.within {
            Within::FirstLine => self.head_line(FIRST_LINE.len(), |line, at| {
                if line == FIRST_LINE.trim_end() { Ok(Within::Head) } else { Err(damaged(at)) }
            }),
            Within::Head => self.head_line(LONGEST_HEAD, |line, at| head(line).ok_or_else(|| damaged(at))),
            Within::Body { left: 0, .. } => {
                self.within = Within::BodyEnd;
                Ok(true)
            }
            Within::Body { at, stream, left } => {
                if !self.fill()? {
                    return Ok(false);
                }
                let part = self.buffer.as_slices().0;
                let length = part.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                body(at, stream, &part[..length]);
                self.buffer.drain(..length);
                self.at += length as u64;
                self.within = Within::Body { at, stream, left: left - length as u64 };
                Ok(true)
            }
            Within::BodyEnd => {
                if !self.fill()? {
                    return Ok(false);
                }
                if self.buffer.pop_front() != Some(b'\n') {
                    return Err(damaged(self.at));
                }
                self.at += 1;
                self.within = Within::Head;
                Ok(true)
            }
        }
    }

    fn head_line(
        &mut self,
        longest: usize,
        read: impl FnOnce(&str, u64) -> io::Result<Within>,
    ) -> io::Result<bool> {
        let end = loop {
            match self.buffer.iter().take(longest).position(|byte| *byte == b'\n') {
                Some(end) => break end,
                None if self.buffer.len() >= longest => return Err(damaged(self.at)),
                None if !self.read()? => return Ok(false),
                None => {}
            }
        };
        let line: Vec<u8> = self.buffer.drain(..=end).take(end).collect();
        self.within = read(std::str::from_utf8(&line).unwrap_or_default(), self.at)?;
        self.at += end as u64 + 1;
        Ok(true)
    }

    /// Whether the buffer has something.
    fn fill(&mut self) -> io::Result<bool> {
        Ok(!self.buffer.is_empty() || self.read()?)
    }

    fn read(&mut self) -> io::Result<bool> {
        let length = self.source.read(&mut self.chunk)?;
        self.buffer.extend(&self.chunk[..length]);
        Ok(length > 0)
    }
}

fn head(line: &str) -> Option<Within> {
    let mut words = line.split(' ');
    let at = words.next()?.parse().ok()?;
    let stream = match words.next()? {
        "out" => LoggedStream::Out,
        "err" => LoggedStream::Err,
        "staith" => LoggedStream::Staith,
        _ => return None,
    };
    let left = words.next()?.parse().ok()?;
    words.next().is_none().then_some(Within::Body { at, stream, left })
}

fn damaged(at: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("this is no log of Staith's, or it is damaged at byte {at}"),
    )
}

fn split(line: &mut Line, at: u64, stream: LoggedStream, bytes: &[u8], lines: &mut VecDeque<LogLine>) {
    line.at = at;
    for part in bytes.split_inclusive(|byte| *byte == b'\n') {
        line.at = at;
        match part.strip_suffix(b"\n") {
            Some(last) => {
                line.take(last);
                lines.push_back(std::mem::take(line).end(stream));
            }
            None => line.take(part),
        }
    }
}

impl Line {
    fn take(&mut self, bytes: &[u8]) {
        let shown = bytes.len().min(LONGEST_HELD - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..shown]);
        self.more += (bytes.len() - shown) as u64;
    }

    fn end(self, stream: LoggedStream) -> LogLine {
        LogLine { at: self.at, stream, bytes: self.bytes, more: self.more }
    }
}
