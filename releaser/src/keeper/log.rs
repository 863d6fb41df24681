//! What programs say: one file each, of bounded size.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

/// A log grows to this many bytes, then it becomes the old one and a new one begins: the last hours of a talkative
/// program, in at most twice as much space.
pub(super) const CAP: u64 = 8 << 20;

/// The most that [`tail`] returns: enough for a stack trace, little enough for an error message.
const LONGEST_TAIL: u64 = 16 << 10;

/// A log file that starts anew when it is full. Writing never fails: a full disk must not end the program that speaks.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    cap: u64,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    file: Option<(File, u64)>,
    from: LogFrom,
}

/// Where in a log something began: what is before it was said by somebody else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogFrom {
    /// Bytes of the old log that are not meant.
    old: u64,
    /// Bytes of the new one that are not.
    new: u64,
}

impl LogFile {
    /// The log at `path`, which goes on where it ended.
    pub(super) fn at(path: PathBuf, cap: u64) -> Self {
        Self { path, cap, open: Mutex::default() }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends bytes, or loses them when they can't be written.
    pub(super) fn write(&self, bytes: &[u8]) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if self.append(&mut open, bytes).is_err() {
            open.file = None;
        }
    }

    /// Somebody else speaks from now on.
    pub(super) fn begin(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let new = fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        open.from = LogFrom { old: u64::MAX, new };
    }

    /// Where whoever speaks now began.
    pub(super) fn from(&self) -> LogFrom {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).from
    }

    /// Appends a line with the time.
    pub(super) fn note(&self, what: &str) {
        self.write(format!("{} {what}\n", jiff::Timestamp::now()).as_bytes());
    }

    fn append(&self, open: &mut Open, bytes: &[u8]) -> io::Result<()> {
        if open.file.as_ref().is_some_and(|(_, size)| *size > 0 && size + bytes.len() as u64 > self.cap) {
            open.file = None;
            fs::rename(&self.path, old(&self.path))?;
            open.from = LogFrom { old: open.from.new, new: 0 };
        }
        if open.file.is_none() {
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
            let size = file.metadata()?.len();
            open.file = Some((file, size));
        }
        if let Some((file, size)) = &mut open.file {
            file.write_all(bytes)?;
            *size += bytes.len() as u64;
        }
        Ok(())
    }
}

fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// The last `lines` lines of a log after `from`, of its last 16 KiB; empty when it can't be read. A log that has just begun is
/// preceded by the end of the old one.
pub(super) fn tail(path: &Path, lines: usize, from: LogFrom) -> String {
    let new = last_bytes(path, from.new).unwrap_or_default();
    let mut text = match new.len() as u64 {
        LONGEST_TAIL.. => Vec::new(),
        _ => last_bytes(&old(path), from.old).unwrap_or_default(),
    };
    text.extend(new);
    let most = usize::try_from(LONGEST_TAIL).unwrap_or(usize::MAX);
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(most)..]);
    let kept: Vec<&str> = text.lines().collect();
    kept[kept.len().saturating_sub(lines)..].join("\n")
}

fn last_bytes(path: &Path, from: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    if from >= size {
        return Ok(Vec::new());
    }
    file.seek(SeekFrom::Start(size.saturating_sub(LONGEST_TAIL).max(from)))?;
    let mut bytes = Vec::new();
    file.take(LONGEST_TAIL).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded_and_keeps_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let log = LogFile::at(dir.path().join("blue.log"), 100);
        for number in 0..1000 {
            log.write(format!("line {number}\n").as_bytes());
        }
        let sizes = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
        let sizes: Vec<u64> = sizes.collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().all(|size| *size <= 100), "{sizes:?}");
        assert_eq!(tail(log.path(), 2, LogFrom::default()), "line 998\nline 999");
    }

    #[test]
    fn a_log_goes_on_where_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blue.log");
        for number in 0..3 {
            LogFile::at(path.clone(), 100).write(format!("life {number}\n").as_bytes());
        }
        assert_eq!(tail(&path, 9, LogFrom::default()), "life 0\nlife 1\nlife 2");
    }

    #[test]
    fn what_an_earlier_speaker_said_is_not_told_even_when_the_log_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let log = LogFile::at(dir.path().join("blue.log"), 100);
        let told = || tail(log.path(), 99, log.from());
        log.write(b"earlier\n");
        log.begin();
        assert_eq!(told(), "");
        log.write(b"first\n");
        assert_eq!(told(), "first");
        log.write(&[b'x'; 95]);
        assert_eq!(told(), format!("first\n{}", "x".repeat(95)));
        log.write(&[b'y'; 95]);
        log.begin();
        log.write(b"\nlast\n");
        assert_eq!(told(), "\nlast");
    }

    #[test]
    fn a_log_that_can_not_be_written_is_no_failure_and_has_no_tail() {
        let log = LogFile::at(PathBuf::from("/proc/nowhere/blue.log"), 100);
        log.write(b"lost\n");
        assert_eq!(tail(log.path(), 5, LogFrom::default()), "");
    }

    #[test]
    fn a_tail_of_a_long_line_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
        assert_eq!(tail(&path, 10, LogFrom::default()).len() as u64, LONGEST_TAIL);
    }
}
