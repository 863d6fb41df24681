//! The events themselves, one per line, exactly as the journal has them.

use std::io::{self, Write};

use staith_model::{Event, RunState};

use super::{Summary, Watch, sink::Sink};

/// Shows a run to programs.
pub(crate) struct Json<W> {
    out: Sink<W>,
}

impl<W: Write> Json<W> {
    /// Writes events to `out`.
    pub(crate) fn new(out: W) -> Self {
        Self { out: Sink::new(out) }
    }
}

impl<W: Write + Send> Watch for Json<W> {
    fn event(&mut self, event: &Event, _: &RunState) {
        // Events are made of types that JSON can hold; the journal would have refused one that is not.
        if let Ok(line) = serde_json::to_string(event) {
            self.out.line(&line);
        }
    }

    /// Events say all there is to say.
    fn finish(&mut self, _: &Summary) {}

    fn is_gone(&self) -> bool {
        self.out.is_gone()
    }

    fn failure(&self) -> Option<io::Error> {
        self.out.failure()
    }
}
