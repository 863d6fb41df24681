//! Masking of bytes that come in pieces.

use std::{collections::VecDeque, sync::Arc};

use aho_corasick::automaton::StateID;

use super::{
    Forms, MASK,
    automaton::Automaton,
    letters::{self, Letters},
    sieved::Sieved,
};

/// Masks one stream of bytes, however it is cut into pieces. Positions count from the beginning of the stream.
pub struct MaskStream {
    forms: Option<Arc<Forms>>,
    exact: StateID,
    folded: Sieved,
    /// What a person would read, as long as that may hold a form that the bytes do not.
    letters: Letters,
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
        let mut folded = Sieved::default();
        folded.begin(start(|forms| &forms.folded), 0);
        Self {
            exact: start(|forms| &forms.exact),
            folded,
            letters: Letters::default(),
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
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            self.take(byte, &forms);
            if !self.letters.are_apart() && !self.is_within_a_form(&forms) {
                rest = self.pass_over(rest, &forms);
            }
        }
        let open = self.read - forms.exact.open(self.exact) as u64;
        let folded = self.folded.open_from(&forms.folded);
        let letters = self.letters.open_from(&forms);
        let until = [folded, letters].into_iter().flatten().fold(open, u64::min);
        self.folded.forget(forms.folded.longest() as u64);
        self.letters.forget(&forms);
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

    fn take(&mut self, byte: u8, forms: &Forms) {
        if letters::may_begin_a_sequence(byte) && !self.letters.are_apart() && self.is_within_a_form(forms) {
            self.folded.forget(forms.folded.longest() as u64);
            self.letters.part(self.exact, self.read, &self.folded);
        }
        self.read += 1;
        self.exact = forms.exact.next(self.exact, byte);
        if let Some(length) = forms.exact.found(self.exact) {
            self.cover(self.read - length as u64);
        }
        if let Some(from) = self.take_folded(byte, forms) {
            self.cover(from);
        }
        if self.letters.are_apart() {
            self.take_letter(byte, forms);
        }
    }

    /// Passes over bytes with which no form begins, as long as nothing is open; what comes after them.
    fn pass_over<'b>(&mut self, bytes: &'b [u8], forms: &Forms) -> &'b [u8] {
        let begins = |byte: &u8| forms.begins_with(*byte) || matches!(byte, b'\n' | b'\r');
        let (over, rest) = bytes.split_at(bytes.iter().position(begins).unwrap_or(bytes.len()));
        self.read += over.len() as u64;
        self.folded.pass_over(over.len() as u64);
        rest
    }

    /// Whether what was read last may be the beginning of a form.
    fn is_within_a_form(&self, forms: &Forms) -> bool {
        self.exact != forms.exact.start() || !self.folded.is_at(forms.folded.start())
    }

    fn take_folded(&mut self, byte: u8, forms: &Forms) -> Option<u64> {
        if matches!(byte, b'\n' | b'\r') {
            self.folded.end_line(&forms.folded);
            return None;
        }
        self.folded.take(byte, &forms.folded)
    }

    fn take_letter(&mut self, byte: u8, forms: &Forms) {
        for from in self.letters.take(byte, forms).into_iter().flatten() {
            self.cover(from);
        }
        self.letters.meet(self.exact, &self.folded, forms);
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
