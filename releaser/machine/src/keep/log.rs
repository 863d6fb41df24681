//! What an application writes, in a file that has a bound: the newest megabytes, and those before them beside it.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::layout::Layout;

/// Of each of the two files.
const MOST: u64 = 4 << 20;
/// Of the end of it that is read for people.
const TAIL: u64 = 16 << 10;

/// A log that is written.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: Option<File>,
    written: u64,
}

impl Log {
    /// A new log; the one before is kept beside it. What can't be written is lost: an application is not kept from running by
    /// a full disk.
    pub(crate) fn begin(layout: &Layout) -> Self {
        let mut log = Self { path: layout.log(), file: None, written: 0 };
        log.turn();
        log
    }

    fn turn(&mut self) {
        self.file = None;
        let _ = fs::rename(&self.path, self.path.with_extension("log.1"));
        let mut options = OpenOptions::new();
        self.file = options.write(true).create(true).truncate(true).mode(0o600).open(&self.path).ok();
        self.written = 0;
    }

    /// Adds what the application wrote.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let more = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.file.is_none() || self.written.saturating_add(more) > MOST {
            self.turn();
        }
        if self.file.as_mut().is_some_and(|file| file.write_all(bytes).is_err()) {
            self.file = None;
        }
        self.written = self.written.saturating_add(more);
    }

    /// Adds a line of Staith's own.
    pub(crate) fn note(&mut self, text: &str) {
        self.write(format!("staith: {text}\n").as_bytes());
    }
}

/// The last lines of the log, without half a line at their beginning.
pub(crate) fn last_lines(path: &Path, lines: usize) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        let cut =
            if length > TAIL { bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1) } else { None };
        Ok(bytes.split_off(cut.unwrap_or_default()))
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_kept_within_bounds_and_its_end_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        let mut log = Log::begin(&layout);
        let line = format!("{}\n", "x".repeat(1000));
        for _ in 0..10_000 {
            log.write(line.as_bytes());
        }
        log.note("the end");
        let files = fs::read_dir(layout.root()).unwrap();
        let sizes: Vec<u64> = files.map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
        assert!(sizes.len() == 2 && sizes.iter().all(|size| *size <= MOST), "{sizes:?}");
        let last = last_lines(&layout.log(), 3);
        assert!(last.ends_with("\nstaith: the end") && last.lines().count() == 3, "{last}");
        assert!(last.lines().next().unwrap().len() == 1000);
        // A new one begins empty.
        drop(Log::begin(&layout));
        assert_eq!(last_lines(&layout.log(), 3), "");
        assert_eq!(last_lines(Path::new("/not/on/this/machine"), 3), "");
    }
}
