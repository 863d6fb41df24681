//! What was refused: an answer for the client, and a note for whoever reads the step's log. Many programs show nothing of a
//! proxy's answer but its number.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// As many different ones are remembered.
const MOST: usize = 10;

/// An answer of the proxy itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) why: String,
}

impl Refusal {
    pub(super) fn new(status: u16, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }

    /// As a client gets it.
    pub(super) fn answer(&self) -> String {
        let Self { status, why } = self;
        let reason = match status {
            403 => "Forbidden",
            408 => "Request Timeout",
            431 => "Request Header Fields Too Large",
            502 => "Bad Gateway",
            _ => "Bad Request",
        };
        // The reason phrase is what some programs show of a proxy's refusal.
        let body = format!("staith: {why}\n");
        format!(
            "HTTP/1.1 {status} {reason}: {}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            why.replace(|c: char| c.is_control() || !c.is_ascii(), "?"),
            body.len()
        )
    }
}

/// Why requests of one step went nowhere.
#[derive(Debug, Clone, Default)]
pub(in crate::sandbox) struct Refusals(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    times: BTreeMap<String, u64>,
    others: u64,
    last: Option<Refusal>,
}

impl Refusals {
    pub(super) fn note(&self, refusal: &Refusal) {
        let Noted { times: known, others, last } =
            &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(refusal.clone());
        if known.len() < MOST || known.contains_key(&refusal.why) {
            *known.entry(refusal.why.clone()).or_default() += 1;
        } else {
            *others += 1;
        }
    }

    pub(super) fn last(&self) -> Option<Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }

    /// For the log, a line each.
    pub(in crate::sandbox) fn lines(&self) -> Vec<String> {
        let Noted { times: known, others, .. } = &*self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |(why, times): (&String, &u64)| {
            let why: String = why.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
            let often = if *times > 1 { format!(" ({times} times)") } else { String::new() };
            format!("a request to the network failed{often}: {why}")
        };
        let mut lines: Vec<String> = known.iter().map(line).collect();
        if *others > 0 {
            lines.push(format!("{others} more requests to the network failed, for other reasons"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_once_and_not_too_many() {
        let refusals = Refusals::default();
        assert!(refusals.lines().is_empty());
        for _ in 0..2 {
            for n in 0..MOST + 2 {
                refusals.note(&Refusal::new(403, format!("{n:02}\r\x1b[2J")));
            }
        }
        let lines = refusals.lines();
        assert_eq!(lines.len(), MOST + 1);
        assert_eq!(lines[0], "a request to the network failed (2 times): 00??[2J");
        assert_eq!(lines[MOST], "4 more requests to the network failed, for other reasons");
    }
}
