//! The terminal as `indicatif` sees it. Each frame reaches the terminal in one write, between marks that tell it to show
//! the frame at once, with the cursor hidden in between: nothing flickers, and there is no instant between writes at
//! which the terminal is left in another state than it was found in.

use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use console::measure_text_width;
use indicatif::TermLike;

use super::super::sink::{Sink, again};

const FRAME_BEGIN: &str = "\x1b[?2026h\x1b[?25l";
/// Erases what an earlier, longer frame left below.
const FRAME_END: &str = "\x1b[J\x1b[?25h\x1b[?2026l";
const ERASE_REST_OF_ROW: &str = "\x1b[K";

/// Tells a terminal's columns and rows.
pub(super) type Size = Arc<dyn Fn() -> (u16, u16) + Send + Sync>;

/// A terminal to draw frames on. Clones draw on the same terminal.
#[derive(Clone)]
pub(super) struct Canvas {
    inner: Arc<Mutex<Inner>>,
    /// Set once nothing can be written any more, with the reason where it is a failure. Beside the lock, which is held
    /// while a slow terminal takes its time: whoever asks must not wait for it.
    lost: Arc<OnceLock<Option<io::Error>>>,
}

struct Inner {
    out: Sink<Box<dyn Write + Send>>,
    size: Size,
    /// The size that holds for the frame in hand.
    current: (u16, u16),
    frame: String,
    /// Widths of the frame's rows.
    rows: Vec<usize>,
    /// Widths of the rows that are on the terminal.
    shown: Vec<usize>,
    has_moved: bool,
}

impl Canvas {
    pub(super) fn new(out: Box<dyn Write + Send>, size: Size) -> Self {
        let current = usable(size());
        let inner = Inner {
            out: Sink::new(out),
            size,
            current,
            frame: String::new(),
            rows: Vec::new(),
            shown: Vec::new(),
            has_moved: false,
        };
        Self { inner: Arc::new(Mutex::new(inner)), lost: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere must not keep the terminal from being left in order.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the terminal for its size, which holds until this is called again.
    pub(super) fn measure(&self) -> (u16, u16) {
        let mut inner = self.lock();
        inner.current = usable((inner.size)());
        inner.current
    }

    /// Writes rows that stay, below nothing: call it when no frame is on the terminal.
    pub(super) fn write_rows(&self, rows: &[String]) {
        let mut text = rows.join("\r\n");
        text.push_str("\r\n");
        self.write(&mut self.lock(), &text);
    }

    fn write(&self, inner: &mut Inner, text: &str) {
        inner.out.write(text);
        if inner.out.is_gone() {
            self.lost.get_or_init(|| inner.out.failure());
        }
    }

    /// Leaves the frame that is on the terminal where it is and goes below it.
    pub(super) fn leave(&self) {
        let mut inner = self.lock();
        if !inner.shown.is_empty() {
            inner.shown.clear();
            self.write(&mut inner, "\r\n");
        }
    }

    /// Whether nothing can be written any more. Never blocks.
    pub(super) fn is_gone(&self) -> bool {
        self.lost.get().is_some()
    }

    /// Why nothing can be written any more, if not because the reader left. Never blocks.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.lost.get()?.as_ref().map(again)
    }
}

/// Some terminals say 0 x 0; and a picture needs some room, even if it is more than there is.
fn usable((columns, rows): (u16, u16)) -> (u16, u16) {
    (if columns == 0 { 80 } else { columns.max(20) }, if rows == 0 { 24 } else { rows.max(5) })
}

impl Inner {
    /// Rows that the terminal added by wrapping, when it became narrower than the frame it shows.
    fn wrapped(&self) -> usize {
        let columns = usize::from(self.current.0);
        self.shown.iter().map(|width| width.saturating_sub(1) / columns).sum()
    }

    fn move_up(&mut self, rows: usize) {
        let rows = if self.has_moved { rows } else { rows + self.wrapped() };
        self.has_moved = true;
        if rows > 0 {
            self.frame.push_str(&format!("\x1b[{rows}A"));
        }
    }

    /// `indicatif` writes a row, then spaces up to the terminal's right edge. The spaces would wrap when the terminal
    /// becomes narrower; here each row but the first begins with a new line instead.
    fn row(&mut self, text: &str) {
        if !text.is_empty() && text.bytes().all(|byte| byte == b' ') {
            return;
        }
        if text == "\r" {
            self.frame.push('\r');
            return;
        }
        self.frame.push_str(if self.rows.is_empty() { "\r" } else { "\r\n" });
        self.frame.push_str(text);
        self.frame.push_str(ERASE_REST_OF_ROW);
        self.rows.push(measure_text_width(text));
    }

    fn end_frame(&mut self) -> String {
        self.shown = std::mem::take(&mut self.rows);
        self.has_moved = false;
        [FRAME_BEGIN, &std::mem::take(&mut self.frame), FRAME_END].concat()
    }
}

impl fmt::Debug for Canvas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Canvas")
    }
}

impl TermLike for Canvas {
    fn width(&self) -> u16 {
        self.lock().current.0
    }

    fn height(&self) -> u16 {
        self.lock().current.1
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.lock().move_up(n);
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        if n > 0 {
            self.lock().frame.push_str(&format!("\x1b[{n}B"));
        }
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        if n > 0 {
            self.lock().frame.push_str(&format!("\x1b[{n}C"));
        }
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        if n > 0 {
            self.lock().frame.push_str(&format!("\x1b[{n}D"));
        }
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.lock().row(text);
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.lock().row(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.lock().frame.push_str("\r\x1b[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut inner = self.lock();
        let frame = inner.end_frame();
        self.write(&mut inner, &frame);
        Ok(())
    }
}
