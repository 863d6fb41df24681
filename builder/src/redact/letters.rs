//! What a person would read of what a step writes. A program that colours its output may put a control sequence into the
//! middle of a secret: then its bytes are apart, and its letters are not.
//!
//! Control characters and control sequences (ECMA-48: CSI, OSC and their like) are left out; line ends and tabs are not, but
//! for a carriage return. What a terminal does with them is not followed: letters that are written over others count, too.

use aho_corasick::automaton::StateID;

use super::{Forms, sieved::Sieved};

/// As much as is left out between the letters of what may become a form. What holds more is no longer taken for one: else
/// a picture that begins after the first letter of a secret would be held back as a whole.
const MOST_LEFT_OUT: u64 = 64 << 10;
/// The first byte of U+0080 to U+009F, which are control characters.
const LEAD: u8 = 0xc2;

/// Whether a byte may be left out, alone or with what follows.
pub(super) const fn may_begin_a_sequence(byte: u8) -> bool {
    is_left_out(byte) || byte == LEAD
}

const fn is_left_out(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | 0x7f) && !matches!(byte, b'\n' | b'\t')
}

/// The states of a terminal's parser, as far as they matter for finding where a sequence ends.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Within {
    #[default]
    Text,
    /// After the first byte of what may be a control character of two.
    Lead,
    /// After ESC.
    Escape,
    /// After ESC and a byte of 0x20 to 0x2f; one final byte follows.
    Designation,
    /// After ESC `[`.
    Control,
    /// After ESC and one of `]PX^_`; ends with BEL, CAN, SUB, U+009C or ESC `\`, and at the latest with its line.
    String,
    /// The same, after the first byte of U+009C.
    StringLead,
}

/// What becomes of a byte.
#[derive(Clone, Copy)]
enum Byte {
    /// It is read.
    Letter,
    /// It is left out.
    LeftOut,
    /// That depends on the next one.
    Undecided,
}

/// The searches of a stream in its letters, as long as they are apart from those in its bytes: from what is left out on,
/// until nothing that may become a form has a gap.
#[derive(Default)]
pub(super) struct Letters {
    are_apart: bool,
    within: Within,
    exact: Sieved,
    folded: Sieved,
    left_out: u64,
}

impl Letters {
    pub(super) const fn are_apart(&self) -> bool {
        self.are_apart
    }

    /// Begins, where the searches in the bytes are after `read` of them.
    pub(super) fn part(&mut self, exact: StateID, read: u64, folded: &Sieved) {
        self.are_apart = true;
        self.exact.begin(exact, read);
        self.folded.follow(folded);
        self.left_out = 0;
    }

    /// Ends where the searches in the bytes find from here on all that these would.
    pub(super) fn meet(&mut self, exact: StateID, folded: &Sieved, forms: &Forms) {
        let meet = self.within == Within::Text
            && self.exact.goes_on_like(exact, &forms.exact)
            && self.folded.goes_on_like(folded.state(), &forms.folded);
        self.are_apart = !meet;
    }

    /// Takes a byte; the positions from which on a form ends with it.
    pub(super) fn take(&mut self, byte: u8, forms: &Forms) -> [Option<u64>; 2] {
        let was_lead = self.within == Within::Lead;
        match self.follow(byte) {
            Byte::Undecided => [None, None],
            Byte::LeftOut => {
                self.leave_out(byte, if was_lead { 2 } else { 1 }, forms);
                [None, None]
            }
            Byte::Letter => {
                if was_lead {
                    // A form that ends with this byte is found in the bytes.
                    self.exact.take(LEAD, &forms.exact);
                    self.folded.take(LEAD, &forms.folded);
                }
                let exact = self.exact.take(byte, &forms.exact);
                if byte == b'\n' {
                    self.folded.end_line(&forms.folded);
                    return [exact, None];
                }
                [exact, self.folded.take(byte, &forms.folded)]
            }
        }
    }

    fn leave_out(&mut self, byte: u8, bytes: u64, forms: &Forms) {
        self.exact.leave_out(bytes);
        if byte == b'\r' {
            self.folded.end_line(&forms.folded);
        } else {
            self.folded.leave_out(bytes);
        }
        self.left_out += bytes;
        if self.left_out > MOST_LEFT_OUT {
            self.left_out = 0;
            self.exact.start_again(&forms.exact);
            self.folded.start_again(&forms.folded);
        }
    }

    fn follow(&mut self, byte: u8) -> Byte {
        let (within, becomes) = match (self.within, byte) {
            (Within::Lead, 0x9b) => (Within::Control, Byte::LeftOut),
            (Within::Lead, 0x90 | 0x98 | 0x9d..=0x9f) => (Within::String, Byte::LeftOut),
            (Within::Lead, 0x80..=0x9f) => (Within::Text, Byte::LeftOut),
            // No sequence goes on in the next line.
            (_, b'\n') => (Within::Text, Byte::Letter),
            (Within::Lead, 0x80..=0xbf) => (Within::Text, Byte::Letter),
            (_, 0x1b) => (Within::Escape, Byte::LeftOut),
            (Within::Escape, b'[') => (Within::Control, Byte::LeftOut),
            (Within::Escape, b']' | b'P' | b'X' | b'^' | b'_') => (Within::String, Byte::LeftOut),
            (Within::Escape | Within::Designation, b' '..=b'/') => (Within::Designation, Byte::LeftOut),
            (Within::Escape | Within::Designation, b'0'..=b'~') => (Within::Text, Byte::LeftOut),
            (Within::Control, b' '..=b'?') => (Within::Control, Byte::LeftOut),
            (Within::Control, b'@'..=b'~') => (Within::Text, Byte::LeftOut),
            (Within::String | Within::StringLead, 0x07 | 0x18 | 0x1a) => (Within::Text, Byte::LeftOut),
            (Within::StringLead, 0x9c) => (Within::Text, Byte::LeftOut),
            (Within::String | Within::StringLead, LEAD) => (Within::StringLead, Byte::LeftOut),
            (Within::String | Within::StringLead, _) => (Within::String, Byte::LeftOut),
            (_, LEAD) => (Within::Lead, Byte::Undecided),
            (_, byte) if is_left_out(byte) => (Within::Text, Byte::LeftOut),
            // No terminal goes on with a sequence after this.
            _ => (Within::Text, Byte::Letter),
        };
        self.within = within;
        becomes
    }

    /// Where what may become a form begins; `None` if there is no such thing.
    pub(super) fn open_from(&self, forms: &Forms) -> Option<u64> {
        if !self.are_apart {
            return None;
        }
        let open = [self.exact.open_from(&forms.exact), self.folded.open_from(&forms.folded)];
        open.into_iter().flatten().min()
    }

    /// Forgets what no form can reach back to any more.
    pub(super) fn forget(&mut self, forms: &Forms) {
        self.exact.forget(forms.exact.longest() as u64);
        self.folded.forget(forms.folded.longest() as u64);
    }
}
