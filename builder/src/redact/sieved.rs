//! The search in a text of which something is left out: its line ends, or what a terminal does not show.

use std::collections::VecDeque;

use aho_corasick::automaton::StateID;

use super::automaton::Automaton;

/// Where a form is broken into lines and less of it than this stands before the break, the line is not held back for the
/// rest: every line that ends like a form begins would come late. The rest is masked all the same.
const HELD_OVER_A_LINE_END: u64 = 16;
/// Line ends that may follow each other within a form.
const LINE_ENDS_IN_A_ROW: u64 = 2;

/// A search, and where in the whole text that lies which it has taken.
#[derive(Default)]
pub(super) struct Sieved {
    state: StateID,
    /// Bytes that the search has seen.
    taken: u64,
    gaps: VecDeque<Gap>,
    /// Bytes left out in gaps that are no longer in the list.
    forgotten: u64,
    /// After how many taken bytes the last was left out that is no line end.
    apart_at: u64,
}

/// Bytes that were left out.
#[derive(Clone)]
struct Gap {
    /// After how many taken bytes.
    after: u64,
    /// How many were left out up to the end of this gap.
    left_out: u64,
    /// How many of this gap's are line ends.
    line_ends: u64,
}

impl Sieved {
    /// Begins anew, in `state` after `taken` bytes of which none was left out.
    pub(super) fn begin(&mut self, state: StateID, taken: u64) {
        self.gaps.clear();
        (self.state, self.taken, self.forgotten, self.apart_at) = (state, taken, 0, 0);
    }

    /// Begins anew where another search is.
    pub(super) fn follow(&mut self, other: &Self) {
        self.gaps.clone_from(&other.gaps);
        (self.state, self.taken) = (other.state, other.taken);
        (self.forgotten, self.apart_at) = (other.forgotten, other.apart_at);
    }

    /// Takes a byte; the position from which on a form ends with it.
    pub(super) fn take(&mut self, byte: u8, automaton: &Automaton) -> Option<u64> {
        self.state = automaton.next(self.state, byte);
        self.taken += 1;
        automaton.found(self.state).map(|length| self.position(self.taken - length as u64))
    }

    /// Takes bytes with which no form begins, where none is open.
    pub(super) const fn pass_over(&mut self, bytes: u64) {
        self.taken += bytes;
    }

    /// Leaves out a line end.
    pub(super) fn end_line(&mut self, automaton: &Automaton) {
        let gap = self.gap();
        gap.left_out += 1;
        gap.line_ends += 1;
        if gap.line_ends > LINE_ENDS_IN_A_ROW {
            self.state = automaton.start();
        }
    }

    /// Leaves out bytes that are no line ends.
    pub(super) fn leave_out(&mut self, bytes: u64) {
        self.gap().left_out += bytes;
        self.apart_at = self.taken;
    }

    fn gap(&mut self) -> &mut Gap {
        if self.gaps.back().is_none_or(|gap| gap.after != self.taken) {
            let left_out = self.gaps.back().map_or(self.forgotten, |gap| gap.left_out);
            self.gaps.push_back(Gap { after: self.taken, left_out, line_ends: 0 });
        }
        let last = self.gaps.len() - 1;
        &mut self.gaps[last]
    }

    /// Gives up what may have become a form.
    pub(super) fn start_again(&mut self, automaton: &Automaton) {
        self.state = automaton.start();
    }

    pub(super) fn is_at(&self, state: StateID) -> bool {
        self.state == state
    }

    /// Whether a search in `state`, which left out no more than line ends, finds from here on the same in the same places.
    pub(super) fn goes_on_like(&self, state: StateID, automaton: &Automaton) -> bool {
        self.state == state
            && (state == automaton.start() || self.apart_at + automaton.open(state) as u64 <= self.taken)
    }

    /// The state that the search is in.
    pub(super) const fn state(&self) -> StateID {
        self.state
    }

    /// Where what may become a form begins; `None` if there is no such thing.
    pub(super) fn open_from(&self, automaton: &Automaton) -> Option<u64> {
        let open = automaton.open(self.state) as u64;
        (open > 0).then(|| self.position(self.taken - open))
    }

    /// The position in the whole text of a form that begins with the byte after `taken` others: of what of it stands after
    /// the last line end that was not worth holding a line back for.
    fn position(&self, taken: u64) -> u64 {
        let within = self.gaps.partition_point(|gap| gap.after <= taken);
        let near = self.gaps.range(within..).take_while(|gap| gap.after - taken < HELD_OVER_A_LINE_END);
        let begin = near.filter(|gap| gap.line_ends > 0).last().map_or(taken, |gap| gap.after);
        let before = self.gaps.partition_point(|gap| gap.after <= begin);
        let last = before.checked_sub(1).and_then(|last| self.gaps.get(last));
        begin + last.map_or(self.forgotten, |gap| gap.left_out)
    }

    /// Forgets gaps that no form can reach back to any more.
    pub(super) fn forget(&mut self, longest: u64) {
        while let Some(gap) = self.gaps.front()
            && gap.after + longest < self.taken
        {
            self.forgotten = gap.left_out;
            self.gaps.pop_front();
        }
    }
}
