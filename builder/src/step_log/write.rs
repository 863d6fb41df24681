//! Writing a log.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use staith_model::Stream;

use super::{FIRST_LINE, LONGEST_HELD};

/// A log that is being written.
#[derive(Debug)]
pub struct LogWriter {
    file: File,
    clock: fn() -> u64,
    limit: u64,
    written: u64,
    /// Of each stream, a line that has not ended.
    held: [Vec<u8>; 2],
    block: Vec<u8>,
    is_cut: bool,
}

/// What became of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logged {
    /// They are in the log, or held until their line ends.
    Kept,
    /// The log is full, and says so; nothing more will be kept. Said once.
    Full,
    /// They were not kept; that was said.
    Dropped,
}

const NAMES: [&str; 2] = ["out", "err"];

impl LogWriter {
    pub(super) fn open(path: &Path, limit: u64, clock: fn() -> u64) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut file = File::options().create(true).append(true).open(path)?;
        let mut written = file.metadata()?.len();
        if written == 0 {
            file.write_all(FIRST_LINE.as_bytes())?;
            written = FIRST_LINE.len() as u64;
        }
        let (held, block) = ([Vec::new(), Vec::new()], Vec::new());
        Ok(Self { file, clock, limit, written, held, block, is_cut: false })
    }

    /// Takes bytes of a stream, already masked.
    ///
    /// # Errors
    /// The file system refused.
    pub fn take(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<Logged> {
        if self.is_cut {
            return Ok(Logged::Dropped);
        }
        let of = usize::from(stream == Stream::Stderr);
        let mut held = std::mem::take(&mut self.held[of]);
        let whole_lines = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let (lines, rest) = bytes.split_at(whole_lines);
        let mut kept = Logged::Kept;
        if !lines.is_empty() {
            kept = self.write(NAMES[of], &[&held, lines])?;
            held.clear();
        }
        held.extend_from_slice(rest);
        if held.len() >= LONGEST_HELD && !self.is_cut {
            kept = self.write(NAMES[of], &[&held])?;
            held.clear();
        }
        self.held[of] = held;
        Ok(kept)
    }

    /// Writes what is held of lines that did not end.
    ///
    /// # Errors
    /// The file system refused.
    pub fn finish(mut self) -> io::Result<Logged> {
        let mut kept = Logged::Kept;
        for (name, held) in NAMES.into_iter().zip(std::mem::take(&mut self.held)) {
            if !held.is_empty() && !self.is_cut {
                kept = self.write(name, &[&held])?;
            }
        }
        Ok(kept)
    }

    fn write(&mut self, name: &str, parts: &[&[u8]]) -> io::Result<Logged> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if self.written.saturating_add(length as u64) > self.limit {
            self.is_cut = true;
            let limit = self.limit >> 20;
            let notice = format!("this log has {limit} MiB; what was written from here on is not kept\n");
            self.put("staith", &[notice.as_bytes()])?;
            return Ok(Logged::Full);
        }
        self.put(name, parts)?;
        Ok(Logged::Kept)
    }

    /// In one call to the system, so that whoever is killed leaves no half block but in the middle of that call.
    fn put(&mut self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.block.clear();
        writeln!(self.block, "{} {name} {length}", (self.clock)())?;
        parts.iter().for_each(|part| self.block.extend_from_slice(part));
        self.block.push(b'\n');
        self.written += self.block.len() as u64;
        self.file.write_all(&self.block)
    }
}
