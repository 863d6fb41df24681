//! Server-sent events, as far as the server writes them: `event`, `id` and one line of `data`.

/// The longest event; the server's have a piece of 64 KiB in them, at most six times as long as text.
const LONGEST: usize = 4 << 20;

/// Makes events of bytes. Pure.
#[derive(Debug, Default)]
pub(super) struct Events {
    left: Vec<u8>,
    begun: SentEvent,
    made: std::collections::VecDeque<SentEvent>,
}

/// An event.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct SentEvent {
    pub(super) kind: String,
    pub(super) data: String,
}

impl Events {
    /// Takes bytes as they came.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.left.len() + part.len() <= LONGEST {
                self.left.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.left);
                self.line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
            }
        }
    }

    /// The next event that is whole.
    pub(super) fn next(&mut self) -> Option<SentEvent> {
        self.made.pop_front()
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.begun);
            if !event.data.is_empty() {
                self.made.push_back(event);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.begun.kind),
            "data" => self.begun.data.push_str(value),
            // Signs of life are comments. Where to go on is known from the bytes.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SENT: &str = ": still here\n\nevent: bytes\nid: 2\ndata: {\"text\":\"é\"}\n\nevent: end\r\nid: 2\r\ndata: {}\r\n\r\nevent: bytes\nda";

    proptest! {
        #[test]
        fn events_are_the_same_however_they_come(cuts in prop::collection::vec(0..SENT.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.extend([0, SENT.len()]);
            cuts.sort_unstable();
            let mut events = Events::default();
            for cut in cuts.windows(2) {
                events.take(&SENT.as_bytes()[cut[0]..cut[1]]);
            }
            let made: Vec<SentEvent> = std::iter::from_fn(|| events.next()).collect();
            let event = |kind: &str, data: &str| SentEvent { kind: kind.into(), data: data.into() };
            prop_assert_eq!(made, vec![event("bytes", "{\"text\":\"é\"}"), event("end", "{}")]);
        }
    }
}
