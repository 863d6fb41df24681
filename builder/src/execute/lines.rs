//! From the bytes that a step writes to lines for people.

/// A line longer than this is shown in pieces: what a terminal or a browser can still handle.
const LONGEST_LINE: usize = 64 * 1024;

/// Splits one stream into lines, holding back an unfinished one.
#[derive(Debug, Default)]
pub(super) struct LineSplitter {
    held: Vec<u8>,
}

impl LineSplitter {
    /// Takes bytes and gives each line that they finish.
    pub(super) fn push(&mut self, bytes: &[u8], mut line: impl FnMut(String)) {
        for &byte in bytes {
            if byte == b'\n' {
                line(self.take());
            } else {
                self.held.push(byte);
                if self.held.len() >= LONGEST_LINE {
                    line(self.take());
                }
            }
        }
    }

    /// Gives the last line if the stream did not end with a line's end.
    pub(super) fn finish(&mut self, line: impl FnOnce(String)) {
        if !self.held.is_empty() {
            line(self.take());
        }
    }

    fn take(&mut self) -> String {
        let bytes = std::mem::take(&mut self.held);
        let text = String::from_utf8_lossy(&bytes);
        // Programs redraw a progress line by returning to its start; what they drew last is what a terminal would show.
        let text = text.trim_end_matches('\r');
        text.rsplit('\r').next().unwrap_or(text).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let (mut splitter, mut lines) = (LineSplitter::default(), vec![]);
        chunks.iter().for_each(|chunk| splitter.push(chunk, |line| lines.push(line)));
        splitter.finish(|line| lines.push(line));
        lines
    }

    #[test]
    fn lines_are_split_where_a_terminal_would() {
        assert_eq!(lines(&[b"a\nb", b"c\r\n\nd"]), ["a", "bc", "", "d"]);
        assert_eq!(lines(&[b"10%\r50%\r100%\ndone"]), ["100%", "done"]);
        assert_eq!(lines(&[b"\xff\n"]), ["\u{fffd}"]);
        assert_eq!(lines(&[&vec![b'x'; LONGEST_LINE + 1]]).len(), 2);
    }

    proptest! {
        #[test]
        fn how_bytes_arrive_changes_nothing(bytes: Vec<u8>, cut: prop::sample::Index) {
            let cut = cut.index(bytes.len() + 1);
            prop_assert_eq!(lines(&[&bytes]), lines(&[&bytes[..cut], &bytes[cut..]]));
        }
    }
}
