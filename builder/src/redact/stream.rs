//! Masking of bytes that come in pieces.

use std::{collections::VecDeque, sync::Arc};

use aho_corasick::automaton::StateID;

use super::{Forms, MASK, automaton::Automaton};

/// Where a form is broken into lines and less of it than this stands before the break, the line is not held back for the
/// rest: every line that ends like a form begins would come late. The rest is masked all the same.
const HELD_OVER_A_LINE_END: u64 = 16;
/// Line ends that may follow each other within a form.
const LINE_ENDS_IN_A_ROW: u64 = 2;

/// Masks one stream of bytes, however it is cut into pieces. Positions count from the beginning of the stream.
pub struct MaskStream {
    forms: Option<Arc<Forms>>,
    exact: StateID,
    folded: Folded,
    /// What was read and not yet passed on, because it may be or become a form.
    held: Vec<u8>,
    /// The position of the first held byte.
    held_from: u64,
    read: u64,
    /// What forms cover, apart from each other and in order, as far as it is not passed on.
    found: VecDeque<(u64, u64)>,
    /// Up to where the last mask that was written stands for.
    masked_to: u64,
}

impl MaskStream {
    pub(super) fn new(forms: Option<Arc<Forms>>) -> Self {
        let start = |automaton: fn(&Forms) -> &Automaton| {
            forms.as_deref().map_or(StateID::ZERO, |forms| automaton(forms).start())
        };
        Self {
            exact: start(|forms| &forms.exact),
            folded: Folded::new(start(|forms| &forms.folded)),
            forms,
            held: Vec::new(),
            held_from: 0,
            read: 0,
            found: VecDeque::new(),
            masked_to: 0,
        }
    }

    /// Takes the next bytes, and appends to `out` all that can be passed on.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Some(forms) = self.forms.clone() else { return out.extend_from_slice(bytes) };
        self.held.extend_from_slice(bytes);
        for &byte in bytes {
            self.read += 1;
            self.exact = forms.exact.next(self.exact, byte);
            if let Some(length) = forms.exact.found(self.exact) {
                self.cover(self.read - length as u64);
            }
            if let Some(from) = self.folded.take(byte, &forms.folded) {
                self.cover(from);
            }
        }
        let open = self.read - forms.exact.open(self.exact) as u64;
        let until = self.folded.open_from(&forms.folded).map_or(open, |folded| folded.min(open));
        self.folded.forget(forms.folded.longest() as u64);
        self.pass_on(until, out);
    }

    /// How many bytes are held back, because they may be the beginning of a form.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Appends to `out` what is held back, though more may follow: for a person who waits for it. Of a form that is completed
    /// later, what comes after this is masked all the same.
    pub fn release(&mut self, out: &mut Vec<u8>) {
        self.pass_on(self.read, out);
    }

    /// Takes the end of the stream, and appends to `out` what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.pass_on(self.read, out);
    }

    /// Everything from `from` to the byte that was read last is part of a form.
    fn cover(&mut self, mut from: u64) {
        while let Some(&(start, end)) = self.found.back()
            && end > from
        {
            from = from.min(start);
            self.found.pop_back();
        }
        self.found.push_back((from, self.read));
    }

    /// Passes on all that stands before `until`, where the first form may begin that has not ended.
    fn pass_on(&mut self, until: u64, out: &mut Vec<u8>) {
        let begin = self.held_from;
        let held =
            |from: u64, to: u64| (from.saturating_sub(begin) as usize)..(to.saturating_sub(begin) as usize);
        let mut at = begin;
        while let Some(&(start, end)) = self.found.front()
            && start < until
        {
            if start > at {
                out.extend_from_slice(&self.held[held(at, start)]);
            }
            // What overlaps the last mask is part of the same secret.
            if start >= self.masked_to {
                out.extend_from_slice(MASK.as_bytes());
            }
            self.masked_to = self.masked_to.max(end);
            at = at.max(end);
            self.found.pop_front();
        }
        if until > at {
            out.extend_from_slice(&self.held[held(at, until)]);
            at = until;
        }
        self.held.drain(held(begin, at));
        self.held_from = at;
    }
}

/// The search in the text without its line ends.
struct Folded {
    state: StateID,
    /// Bytes that are no line ends.
    taken: u64,
    /// Line ends: after how many taken bytes, and how many in a row.
    line_ends: VecDeque<(u64, u64)>,
    /// Line ends that are no longer in the list.
    forgotten: u64,
}

impl Folded {
    const fn new(start: StateID) -> Self {
        Self { state: start, taken: 0, line_ends: VecDeque::new(), forgotten: 0 }
    }

    /// Takes a byte; the position from which on a form ends with it.
    fn take(&mut self, byte: u8, automaton: &Automaton) -> Option<u64> {
        if matches!(byte, b'\n' | b'\r') {
            self.end_line(automaton);
            return None;
        }
        self.state = automaton.next(self.state, byte);
        self.taken += 1;
        automaton.found(self.state).map(|length| self.position(self.taken - length as u64))
    }

    fn end_line(&mut self, automaton: &Automaton) {
        match self.line_ends.back_mut() {
            Some((after, many)) if *after == self.taken => {
                *many += 1;
                if *many > LINE_ENDS_IN_A_ROW {
                    self.state = automaton.start();
                }
            }
            _ => self.line_ends.push_back((self.taken, 1)),
        }
    }

    /// Where what may become a form begins; `None` if there is no such thing.
    fn open_from(&self, automaton: &Automaton) -> Option<u64> {
        let open = automaton.open(self.state) as u64;
        (open > 0).then(|| self.position(self.taken - open))
    }

    /// The position in the whole text of a form that begins with the byte after `taken` others: of what of it stands after
    /// the last line end that was not worth holding a line back for.
    fn position(&self, taken: u64) -> u64 {
        let near = |after: u64| after > taken && after - taken < HELD_OVER_A_LINE_END;
        let begin =
            self.line_ends.iter().rev().map(|(after, _)| *after).find(|after| near(*after)).unwrap_or(taken);
        let before = self.line_ends.iter().take_while(|(after, _)| *after <= begin).map(|(_, many)| many);
        begin + self.forgotten + before.sum::<u64>()
    }

    /// Forgets line ends that no form can reach back to any more.
    fn forget(&mut self, longest: u64) {
        while let Some(&(after, many)) = self.line_ends.front()
            && after + longest < self.taken
        {
            self.forgotten += many;
            self.line_ends.pop_front();
        }
    }
}
