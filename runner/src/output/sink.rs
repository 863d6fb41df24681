//! A place to write lines to that may go away.

use std::{
    io::{self, ErrorKind, Write},
    thread,
    time::Duration,
};

/// How long to leave a reader alone who has set our output to non-blocking and is behind.
const READER_IS_BEHIND: Duration = Duration::from_millis(2);

/// Writes whole lines and flushes each. Once its reader is gone (`| head` has seen enough, the terminal was closed) it
/// writes no more and says so: that is no error of ours, and no reason to panic.
pub(crate) struct Sink<W> {
    to: W,
    gone: bool,
}

impl<W: Write> Sink<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, gone: false }
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
        if !self.gone {
            let written = patiently(&mut self.to, text.as_bytes());
            self.gone = written.is_err();
        }
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }
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
        assert_eq!((sink.to.taken.as_slice(), sink.to.calls), (&b"the "[..], calls));
    }
}
