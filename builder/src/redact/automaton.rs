//! A search for many texts at once, which knows at every byte how much of what it has read may still become one of them.

use std::collections::BTreeSet;

use aho_corasick::{
    Anchored, MatchKind, automaton::Automaton as _, automaton::StateID, nfa::contiguous::NFA,
};

pub(super) struct Automaton {
    search: NFA,
    start: StateID,
    /// For each state, by its number: of what was read, how many bytes at the end are the beginning of a longer text that is
    /// looked for. Numbers are places in the search's own memory, so this takes about as much as that.
    open: Vec<u32>,
    longest: usize,
    /// With which bytes a text begins.
    first: [bool; 256],
}

impl Automaton {
    /// A search for these texts, none of which is empty.
    pub(super) fn new(texts: Vec<Vec<u8>>) -> Result<Self, String> {
        let texts: BTreeSet<Vec<u8>> = texts.into_iter().collect();
        // With this kind of match no state is left out: after the first bytes of a text the search is in the state that
        // stands for exactly these bytes.
        let search = NFA::builder().match_kind(MatchKind::Standard).prefilter(false).build(&texts);
        let search = search.map_err(|error| error.to_string())?;
        let start = search.start_state(Anchored::No).map_err(|error| error.to_string())?;
        let longest = texts.iter().map(Vec::len).max().unwrap_or_default();
        let mut first = [false; 256];
        texts.iter().filter_map(|text| text.first()).for_each(|byte| first[usize::from(*byte)] = true);
        let mut automaton = Self { search, start, open: Vec::new(), longest, first };
        automaton.measure(&texts)?;
        Ok(automaton)
    }

    fn measure(&mut self, texts: &BTreeSet<Vec<u8>>) -> Result<(), String> {
        let mut is_beginning = Vec::new();
        for text in texts {
            let mut state = self.start;
            for (place, byte) in text.iter().enumerate() {
                set(&mut self.open, state, u32::try_from(place).map_err(|error| error.to_string())?);
                set(&mut is_beginning, state, true);
                state = self.next(state, *byte);
            }
        }
        // A text that no other goes on from: what may still become something is a shorter end of it. Short ones come
        // first, because the ends of long ones may be whole short ones.
        let mut by_length: Vec<&Vec<u8>> = texts.iter().collect();
        by_length.sort_by_key(|text| text.len());
        for text in by_length {
            let end = self.after(text);
            if !is_beginning.get(end.as_usize()).copied().unwrap_or_default() {
                let rest = self.open(self.after(text.get(1..).unwrap_or_default()));
                set(&mut self.open, end, u32::try_from(rest).map_err(|error| error.to_string())?);
            }
        }
        Ok(())
    }

    fn after(&self, text: &[u8]) -> StateID {
        text.iter().fold(self.start, |state, byte| self.next(state, *byte))
    }

    pub(super) const fn start(&self) -> StateID {
        self.start
    }

    pub(super) fn next(&self, state: StateID, byte: u8) -> StateID {
        self.search.next_state(Anchored::No, state, byte)
    }

    /// The length of the longest text that ends here.
    pub(super) fn found(&self, state: StateID) -> Option<usize> {
        if !self.search.is_special(state) || !self.search.is_match(state) {
            return None;
        }
        let lengths = (0..self.search.match_len(state))
            .map(|index| self.search.pattern_len(self.search.match_pattern(state, index)));
        lengths.max()
    }

    /// How many bytes at the end of what was read may be the beginning of a text.
    pub(super) fn open(&self, state: StateID) -> usize {
        self.open.get(state.as_usize()).map_or(0, |open| *open as usize)
    }

    pub(super) const fn begins_with(&self, byte: u8) -> bool {
        self.first[byte as usize]
    }

    pub(super) const fn longest(&self) -> usize {
        self.longest
    }
}

fn set<T: Clone + Default>(list: &mut Vec<T>, state: StateID, value: T) {
    let at = state.as_usize();
    if list.len() <= at {
        list.resize(at + 1, T::default());
    }
    list[at] = value;
}
