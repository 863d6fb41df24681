//! The chain from its beginning: which entries are there, and what is wrong with it.

use std::{
    collections::BTreeSet,
    io::{self, BufRead as _, BufReader, Read as _},
};

use staith_model::Digest;

use super::{
    entry::{Head, NotAnEntry, RawEntry, beginning, parse},
    error::LedgerError,
    file::{Held, LONGEST_LINE},
    verify::{Flaw, FlawKind},
};

/// A write that was interrupted leaves a last line without its end; a loss of power may also leave blocks that were never
/// written, which read as zeros. No JSON has a zero.
pub(super) fn is_torn(bytes: &[u8], is_ended: bool) -> bool {
    !is_ended || bytes.contains(&0)
}

/// What a walk along the chain comes to.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) head: Head,
    pub(super) flaws: Vec<Flaw>,
}

/// Walks along the whole chain and gives every entry that is what was written to `found`. A last line that is torn is a flaw of its
/// own kind, and given if it lacks nothing but its end.
pub(super) fn walk(held: &Held, about: &str, mut found: impl FnMut(RawEntry)) -> Result<Walked, LedgerError> {
    let mut lines = BufReader::with_capacity(1 << 16, (&held.file).take(held.length));
    let mut walker = Walker::new(about);
    let mut left = held.length;
    let mut line = Vec::new();
    while left > 0 {
        line.clear();
        let most = LONGEST_LINE as u64 + 1;
        let read = (&mut lines).take(most).read_until(b'\n', &mut line);
        let read = read.map_err(LedgerError::io("read", &held.path))?;
        if read == 0 {
            let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read");
            return Err(LedgerError::io("read", &held.path)(cut));
        }
        left -= read as u64;
        let is_ended = line.last() == Some(&b'\n');
        if is_ended {
            line.pop();
        }
        if left == 0 && is_torn(&line, is_ended) {
            walker.torn(&line, &mut found);
        } else {
            walker.step(&line, &mut found);
        }
    }
    Ok(walker.done())
}

struct Walker<'a> {
    about: &'a str,
    line: u64,
    /// The place that the next entry should have, and the hash that it should continue; `None` after a line that tells nothing.
    expected: u64,
    previous: Option<Digest>,
    head: Head,
    seen: BTreeSet<u64>,
    flaws: Vec<Flaw>,
}

impl<'a> Walker<'a> {
    fn new(about: &'a str) -> Self {
        let hash = beginning(about);
        Self {
            about,
            line: 0,
            expected: 1,
            previous: Some(hash),
            head: Head { position: 0, hash },
            seen: BTreeSet::new(),
            flaws: Vec::new(),
        }
    }

    fn flaw(&mut self, kind: FlawKind) {
        self.flaws.push(Flaw { line: Some(self.line), kind });
    }

    fn torn(&mut self, line: &[u8], found: &mut impl FnMut(RawEntry)) {
        if parse(line).is_ok() {
            self.step(line, found);
        } else {
            self.line += 1;
        }
        self.flaw(FlawKind::Torn { bytes: line.len() as u64 });
    }

    fn step(&mut self, line: &[u8], found: &mut impl FnMut(RawEntry)) {
        self.line += 1;
        let entry = match parse(line) {
            Ok(entry) => entry,
            Err(why) => {
                let why = match why {
                    NotAnEntry::Altered(why) => why.to_owned(),
                    NotAnEntry::Unknown { why, .. } => why,
                };
                self.flaw(FlawKind::Altered { position: self.expected, why });
                self.seen.insert(self.expected);
                self.expected += 1;
                self.previous = None;
                return;
            }
        };
        let (place, expected) = (entry.position, self.expected);
        if place != expected {
            self.flaw(FlawKind::Reordered { expected, found: place });
        } else if self.previous.is_some_and(|previous| previous != entry.previous) {
            let is_first = place == 1;
            self.flaw(match is_first {
                true => FlawKind::OtherLedger { about: self.about.to_owned() },
                false => FlawKind::Replaced { position: place },
            });
        }
        self.seen.insert(place);
        self.expected = place.saturating_add(1);
        self.previous = Some(entry.hash);
        self.head = entry.head();
        found(entry);
    }

    fn done(self) -> Walked {
        let Self { head, seen, flaws, .. } = self;
        // A jump over places that are nowhere else is a removal; the rest of the jumps are about order.
        let is_elsewhere = |from: u64, to: u64| seen.range(from..to).count() as u64 == to - from;
        let told = flaws.into_iter().map(|flaw| match flaw.kind {
            FlawKind::Reordered { expected, found } if found > expected && !is_elsewhere(expected, found) => {
                Flaw { kind: FlawKind::Removed { from: expected, to: found - 1 }, ..flaw }
            }
            _ => flaw,
        });
        Walked { head, flaws: told.collect() }
    }
}
