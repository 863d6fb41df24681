//! A place to write lines to that may go away.

use std::{
    io::{self, ErrorKind, Write},
    thread,
    time::Duration,
};

/// How long to leave a reader alone who has set our output to non-blocking and is behind.
const READER_IS_BEHIND: Duration = Duration::from_millis(2);

/// Writes whole lines and flushes each. Once a write failed it writes no more and says so. A reader that left (`| head` has
/// seen enough) is no error of ours; anything else, such as a full disk, is, and [`Sink::failure`] has it.
pub(crate) struct Sink<W> {
    to: W,
    /// What the first write that failed said; nothing is written after it.
    lost: Option<io::Error>,
}

impl<W: Write> Sink<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, lost: None }
    }

    /// Writes a line and its end in one go, so that lines of other processes don't land inside it.
    pub(crate) fn line(&mut self, line: &str) {
        let mut whole = String::with_capacity(line.len() + 1);
        whole.push_str(line);
        whole.push('\n');
        self.write(&whole);
    }

    /// Writes text as it is, and flushes.
    pub(crate) fn write(&mut self, text: &str) {
        if self.lost.is_none() {
            self.lost = patiently(&mut self.to, text.as_bytes()).err();
        }
    }

    /// Whether nothing can be written any more, whatever the cause.
    pub(crate) fn is_gone(&self) -> bool {
        self.lost.is_some()
    }

    /// Why what was written is lost, if it is and not because its reader left.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.lost.as_ref().filter(|error| error.kind() != ErrorKind::BrokenPipe).map(again)
    }

    /// Whether all was written, as far as anybody wanted to read it.
    ///
    /// # Errors
    /// [`Sink::failure`].
    pub(crate) fn written(&self) -> io::Result<()> {
        self.failure().map_or(Ok(()), Err)
    }
}

/// The same error once more; the type has no copies.
pub(crate) fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

fn patiently(to: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) => wait_if_passing(error)?,
        }
    }
    while let Err(error) = to.flush() {
        wait_if_passing(error)?;
    }
    Ok(())
}

fn wait_if_passing(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::Interrupted => Ok(()),
        ErrorKind::WouldBlock => {
            thread::sleep(READER_IS_BEHIND);
            Ok(())
        }
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time, is often not ready, and breaks after so many bytes.
    struct Pipe {
        taken: Vec<u8>,
        breaks_after: usize,
        calls: usize,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            match self.calls % 3 {
                0 => Err(ErrorKind::WouldBlock.into()),
                1 => Err(ErrorKind::Interrupted.into()),
                _ if self.taken.len() >= self.breaks_after => Err(ErrorKind::BrokenPipe.into()),
                _ => {
                    let some = bytes.len().min(4);
                    self.taken.extend(&bytes[..some]);
                    Ok(some)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_slow_reader_gets_every_byte() {
        let mut sink = Sink::new(Pipe { taken: Vec::new(), breaks_after: 1000, calls: 0 });
        sink.line("the first line");
        sink.line("the second");
        assert_eq!(sink.to.taken, b"the first line\nthe second\n");
        assert!(!sink.is_gone());
    }

    #[test]
    fn a_reader_that_left_is_left_alone() {
        let mut sink = Sink::new(Pipe { taken: Vec::new(), breaks_after: 4, calls: 0 });
        sink.line("the first line");
        let calls = sink.to.calls;
        sink.line("the second");
        assert!(sink.is_gone());
        assert!(sink.written().is_ok(), "that the reader left is no failure");
        assert_eq!((sink.to.taken.as_slice(), sink.to.calls), (&b"the "[..], calls));
    }

    #[test]
    fn a_full_disk_is_a_failure() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut sink = Sink::new(full);
        sink.line("the first line");
        sink.line("the second");
        assert!(sink.is_gone());
        assert_eq!(sink.written().unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
