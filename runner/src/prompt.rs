//! Asking a person for something that nobody else may see.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// More is no secret for a variable of the environment.
const LONGEST: u64 = 1 << 20;

/// What a person said.
pub(crate) enum Answer {
    /// This.
    Text(Zeroizing<Vec<u8>>),
    /// That they want none of it: Ctrl-C.
    Interrupted,
}

/// Reads a secret from standard input: all of it, without the line end that `echo` and files add; from a terminal a line,
/// which it does not show.
pub(crate) fn secret(question: &str) -> io::Result<Answer> {
    let mut stdin = io::stdin();
    if !stdin.is_terminal() {
        let mut text = Zeroizing::new(Vec::with_capacity(4096));
        stdin.lock().take(LONGEST).read_to_end(&mut text)?;
        if text.ends_with(b"\n") {
            let without = text.len() - if text.ends_with(b"\r\n") { 2 } else { 1 };
            text.truncate(without);
        }
        return Ok(Answer::Text(text));
    }
    let mut asked = io::stderr();
    write!(asked, "{question}")?;
    asked.flush()?;
    let quiet = Quiet::begin()?;
    let answer = read_line(&mut stdin);
    drop(quiet);
    writeln!(asked)?;
    answer
}

/// Byte by byte, as the terminal gives them in this mode.
fn read_line(from: &mut impl io::Read) -> io::Result<Answer> {
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    let mut byte = [0];
    while from.read(&mut byte)? == 1 {
        match byte[0] {
            b'\n' | b'\r' | 0x04 => break,
            0x03 => return Ok(Answer::Interrupted),
            0x15 => text.clear(),
            0x08 | 0x7f => drop_character(&mut text),
            other => text.push(other),
        }
    }
    Ok(Answer::Text(text))
}

fn drop_character(text: &mut Vec<u8>) {
    while let Some(byte) = text.pop() {
        // The bytes of a character that follow its first begin with the bits 10.
        if byte & 0b1100_0000 != 0b1000_0000 {
            break;
        }
    }
}

/// A terminal that shows nothing of what is typed and turns no key into a signal, so that it is always left as it was found.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_is_left_after_corrections() {
        let read = |typed: &str| match read_line(&mut typed.as_bytes()).unwrap() {
            Answer::Text(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
            Answer::Interrupted => None,
        };
        assert_eq!(read("hunter22\nmore").as_deref(), Some("hunter22"));
        assert_eq!(read("wrong\u{15}right\r").as_deref(), Some("right"));
        assert_eq!(read("aö\u{7f}\u{7f}\u{7f}b\u{4}").as_deref(), Some("b"));
        assert_eq!(read("hunt\u{3}er"), None);
    }
}
