//! The file: who may use it when, and its lines from the end.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::libc::O_NOFOLLOW;
use rustix::fs::{FlockOperation, flock};

use super::error::LedgerError;
use crate::host::durable;

/// No event is longer, and no longer line is read into memory.
pub(super) const LONGEST_LINE: usize = 16 << 20;
/// An append takes milliseconds; whoever has the file for so long is stopped, or its disk is.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(1);
const CHUNK: u64 = 16 << 10;

/// The file while it is ours: nobody else appends, and with [`Held::alone`] nobody else reads.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) length: u64,
}

impl Held {
    /// The file for appending; made where there is none.
    pub(super) fn alone(path: &Path) -> Result<Self, LedgerError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        durable::create_folder(folder).map_err(LedgerError::io("make the folder of", path))?;
        let open = || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options.mode(0o600).custom_flags(O_NOFOLLOW).open(path)
        };
        let held = Self::hold(path, open, FlockOperation::NonBlockingLockExclusive)?;
        held.ok_or_else(|| LedgerError::io("make", path)(io::ErrorKind::NotFound.into()))
    }

    /// The file for reading; `None` where there is none.
    pub(super) fn shared(path: &Path) -> Result<Option<Self>, LedgerError> {
        let open = || OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(path);
        Self::hold(path, open, FlockOperation::NonBlockingLockShared)
    }

    /// The file as it is, for saying what is wrong with it while we hold it ourselves.
    pub(super) fn unlocked(path: &Path) -> Option<Self> {
        let file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(path).ok()?;
        let length = file.metadata().ok()?.len();
        Some(Self { file, path: path.to_owned(), length })
    }

    fn hold(
        path: &Path,
        open: impl Fn() -> io::Result<File>,
        how: FlockOperation,
    ) -> Result<Option<Self>, LedgerError> {
        let began = Instant::now();
        loop {
            let file = match open() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                file => file.map_err(LedgerError::io("open", path))?,
            };
            match flock(&file, how) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) if began.elapsed() < PATIENCE => {
                    thread::sleep(PAUSE);
                    continue;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(LedgerError::Held { path: path.to_owned(), waited: PATIENCE });
                }
                Err(error) => return Err(LedgerError::io("lock", path)(error.into())),
            }
            // A file that was put in another's place while we waited is the one that others will lock.
            let ours = file.metadata().map_err(LedgerError::io("look at", path))?;
            let is_there = fs::symlink_metadata(path)
                .is_ok_and(|now| (now.dev(), now.ino()) == (ours.dev(), ours.ino()));
            if is_there {
                return Ok(Some(Self { file, path: path.to_owned(), length: ours.len() }));
            }
        }
    }

    /// The lines from the last to the first.
    pub(super) fn backward(&self) -> Backward<'_> {
        Backward { file: &self.file, start: self.length, buffer: Vec::new(), chunk: CHUNK }
    }
}

/// A line, and where it begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LineAt {
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
    /// Whether its end is there. Only that of the last line may be missing.
    pub(super) is_ended: bool,
}

/// Reads lines from the end of a file, with no more of it in memory than they take.
#[derive(Debug)]
pub(super) struct Backward<'f> {
    file: &'f File,
    /// Where the buffer begins in the file.
    start: u64,
    buffer: Vec<u8>,
    chunk: u64,
}

impl Backward<'_> {
    /// The line before those that were given already.
    ///
    /// # Errors
    /// The file can't be read, or a line is longer than any that was ever appended ([`io::ErrorKind::InvalidData`]).
    pub(super) fn next(&mut self) -> io::Result<Option<LineAt>> {
        loop {
            let is_ended = self.buffer.last() == Some(&b'\n');
            let upto = self.buffer.len() - usize::from(is_ended);
            let before = self.buffer[..upto].iter().rposition(|byte| *byte == b'\n');
            let begin = match before {
                Some(newline) => newline + 1,
                None if self.start == 0 && self.buffer.is_empty() => return Ok(None),
                None if self.start == 0 => 0,
                None => {
                    self.more()?;
                    continue;
                }
            };
            let bytes = self.buffer[begin..upto].to_vec();
            self.buffer.truncate(begin);
            return Ok(Some(LineAt { offset: self.start + begin as u64, bytes, is_ended }));
        }
    }

    fn more(&mut self) -> io::Result<()> {
        if self.buffer.len() > LONGEST_LINE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of it has no end"));
        }
        let size = self.chunk.min(self.start);
        let mut read = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut read, self.start - size)?;
        read.append(&mut self.buffer);
        self.buffer = read;
        self.start -= size;
        // What is in front of the buffer is moved each time; growing pieces keep that cheap for long lines.
        self.chunk = (self.chunk * 2).min(1 << 20);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_come_back_in_reverse_whatever_their_length(
            lengths in proptest::collection::vec(0_usize..40_000, 0..6),
            unended in proptest::option::of(1_usize..40_000),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("l");
            let mut lines: Vec<String> = lengths.iter().map(|length| "a".repeat(*length)).collect();
            let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            if let Some(length) = unended {
                lines.push("b".repeat(length));
                text.push_str(&lines[lines.len() - 1]);
            }
            fs::write(&path, &text).unwrap();
            let held = Held::shared(&path).unwrap().unwrap();
            let mut backward = held.backward();
            let mut found = Vec::new();
            while let Some(line) = backward.next().unwrap() {
                let at = usize::try_from(line.offset).unwrap();
                prop_assert_eq!(&text.as_bytes()[at..at + line.bytes.len()], &line.bytes[..]);
                prop_assert_eq!(line.is_ended, unended.is_none() || !found.is_empty());
                found.push(String::from_utf8(line.bytes).unwrap());
            }
            found.reverse();
            prop_assert_eq!(found, lines);
        }
    }
}
