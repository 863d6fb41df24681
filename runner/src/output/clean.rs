//! Makes hostile text safe to show.
//!
//! What a step writes goes to a terminal that obeys control sequences: they can rename its window, move the cursor over
//! other lines, put words on the clipboard, or make a line read differently from what it says. Here everything but
//! colour is taken out, and what would be invisible is made visible.
//!
//! Each line is read by itself. A string sequence (OSC, DCS, APC) that does not end swallows the rest of its own line and
//! no more, so that a stray byte can't hide all that follows.

use std::borrow::Cow;

/// Longer colour sequences are taken for noise; the longest useful one sets two 24-bit colours and some attributes.
const LONGEST_SGR: usize = 64;

/// A line that is safe on a terminal: no control character but tab, no control sequence but, where `colours` are kept,
/// SGR (colours and the like), which is reset at the end of the line.
///
/// Control characters, bidirectional overrides and invisible characters appear as `<U+202E>`. Of a line that was
/// overwritten after carriage returns, what was written last is shown, as on a terminal.
pub(crate) fn clean(line: &str, colours: bool) -> Cow<'_, str> {
    let line = last_overwrite(line);
    if line.chars().all(is_harmless) {
        return Cow::Borrowed(line);
    }
    let mut cleaner = Cleaner { colours, ..Cleaner::default() };
    line.chars().for_each(|c| cleaner.take(c));
    Cow::Owned(cleaner.finish())
}

/// A text of several lines, each [`clean`] and without colours.
pub(crate) fn clean_lines(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.lines().map(|line| clean(line, false))
}

/// A text on one line, [`clean`] and without colours or tabs.
pub(crate) fn clean_word(text: &str) -> String {
    let mut word = String::with_capacity(text.len());
    for line in clean_lines(text) {
        if !word.is_empty() {
            word.push(' ');
        }
        word.push_str(&line);
    }
    if word.contains('\t') { word.replace('\t', " ") } else { word }
}

fn last_overwrite(line: &str) -> &str {
    let line = line.trim_end_matches('\r');
    line.rsplit_once('\r').map_or(line, |(_, last)| last)
}

fn is_harmless(c: char) -> bool {
    c == '\t' || !(c.is_control() || deceives(c))
}

/// Characters that change how others appear, or that can't be seen. The zero-width joiner is none of them: emoji need it.
fn deceives(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The states of a terminal's parser, as far as they matter for finding where a sequence ends.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Within {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After ESC and a character of 0x20 to 0x2f; one final character follows.
    Designation,
    /// After ESC `[`.
    Control,
    /// After ESC and one of `]PX^_`; ends with BEL, CAN, SUB, U+009C or ESC `\`.
    String,
}

#[derive(Default)]
struct Cleaner {
    shown: String,
    within: Within,
    parameters: String,
    colours: bool,
    coloured: bool,
}

impl Cleaner {
    fn take(&mut self, c: char) {
        self.within = match (self.within, c) {
            (_, '\x1b') => Within::Escape,
            (Within::Text, c) => self.show(c),
            (Within::Escape, '[') => {
                self.parameters.clear();
                Within::Control
            }
            (Within::Escape, ']' | 'P' | 'X' | '^' | '_') => Within::String,
            (Within::Escape | Within::Designation, ' '..='/') => Within::Designation,
            (Within::Escape | Within::Designation, '0'..='~') => Within::Text,
            (Within::Control, ' '..='?') => {
                if self.parameters.len() <= LONGEST_SGR {
                    self.parameters.push(c);
                }
                Within::Control
            }
            (Within::Control, '@'..='~') => {
                self.end_control(c);
                Within::Text
            }
            (Within::String, '\x07' | '\x18' | '\x1a' | '\u{9c}') => Within::Text,
            (Within::String, _) => Within::String,
            // No terminal goes on with a sequence after this.
            (Within::Escape | Within::Designation | Within::Control, c) => self.show(c),
        };
    }

    fn show(&mut self, c: char) -> Within {
        if is_harmless(c) {
            self.shown.push(c);
        } else {
            self.shown.push_str(&format!("<U+{:04X}>", u32::from(c)));
        }
        Within::Text
    }

    fn end_control(&mut self, last: char) {
        let is_colour = last == 'm'
            && self.parameters.len() <= LONGEST_SGR
            && self.parameters.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b';' | b':'));
        if is_colour && self.colours {
            self.coloured = !matches!(self.parameters.as_str(), "" | "0");
            self.shown.extend(["\x1b[", &self.parameters, "m"]);
        }
    }

    fn finish(mut self) -> String {
        if self.coloured {
            self.shown.push_str("\x1b[0m");
        }
        self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_colour_survives() {
        let table = [
            ("plain ✓ text", "plain ✓ text"),
            ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
            ("\x1b[38:2::1:2:3mred", "\x1b[38:2::1:2:3mred\x1b[0m"),
            ("\x1b[2J\x1b[Hgone\x1b[?1049h", "gone"),
            ("\x1b[>4;2mxterm keys", "xterm keys"),
            ("\x1b]0;title\x07text", "text"),
            ("\x1b]52;c;Y29weQ==\x1b\\text", "text"),
            ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1b]0;never ends", ""),
            ("\x1bPq#0;2;0\u{9c}sixel", "sixel"),
            ("\x1bPtmux;\x1b\x1b]0;x\x07\x1b\\in", "in"),
            ("\x1b_Gf=100;AAAA\x1b\\kitty", "kitty"),
            ("\x1b(0lines\x1bcreset\x1b7", "linesreset"),
            ("a\x08b\x07", "a<U+0008>b<U+0007>"),
            ("\u{9b}2Jx", "<U+009B>2Jx"),
            ("if \u{202e}evil", "if <U+202E>evil"),
            ("tab\tstays", "tab\tstays"),
            (" 10%\r 50%\r100%", "100%"),
            ("windows\r", "windows"),
            ("\x1b[31\x01mx", "<U+0001>mx"),
            ("two\nlines", "two<U+000A>lines"),
        ];
        for (raw, shown) in table {
            assert_eq!(clean(raw, true), shown, "{raw:?}");
        }
        assert_eq!(clean("\x1b[31mred\x1b[m", false), "red");
        assert_eq!(clean_word("two\n\tlines"), "two  lines");
    }

    #[test]
    fn noise_that_looks_like_colour_is_dropped() {
        assert_eq!(clean(&format!("\x1b[{}mx", "1;".repeat(1000)), true), "x");
    }

    /// Takes the one allowed form of sequence away; whatever control is left is a mistake.
    fn without_colour(text: &str) -> Option<String> {
        let mut parts = text.split("\x1b[");
        let mut rest = parts.next()?.to_owned();
        for part in parts {
            let (parameters, after) = part.split_once('m')?;
            if !parameters.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b';' | b':')) {
                return None;
            }
            rest.push_str(after);
        }
        Some(rest)
    }

    /// Text in which the beginnings and ends of sequences are likely.
    fn hostile() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            any::<char>().prop_map(String::from),
            prop::char::range('\0', '\u{9f}').prop_map(String::from),
            prop::sample::select(vec![
                "\x1b", "\x1b[", "\x1b]", "\x1bP", "\x1b_", "\x1b\\", "\x07", "31m", "\u{9b}", "\r"
            ])
            .prop_map(String::from),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn nothing_but_colour_and_tabs_controls_the_terminal(raw in hostile(), colours: bool) {
            let shown = clean(&raw, colours).into_owned();
            let rest = without_colour(&shown);
            prop_assert!(rest.is_some(), "{shown:?}");
            let rest = rest.unwrap();
            prop_assert!(rest.chars().all(is_harmless), "{shown:?}");
            prop_assert!(colours || !shown.contains('\x1b'));
        }

        #[test]
        fn a_line_cut_anywhere_is_safe_in_both_halves(raw in hostile(), at: prop::sample::Index) {
            let cuts: Vec<usize> = raw.char_indices().map(|(place, _)| place).chain([raw.len()]).collect();
            let (head, tail) = raw.split_at(cuts[at.index(cuts.len())]);
            for half in [head, tail] {
                prop_assert!(without_colour(&clean(half, true)).is_some_and(|rest| rest.chars().all(is_harmless)));
            }
        }

        #[test]
        fn colours_end_with_their_line(raw in hostile()) {
            let shown = clean(&raw, true).into_owned();
            if let Some((_, last)) = shown.rsplit_once("\x1b[") {
                let parameters = last.split_once('m').map(|(parameters, _)| parameters);
                prop_assert!(matches!(parameters, Some("" | "0")), "{shown:?}");
            }
        }

        #[test]
        fn what_is_safe_stays_as_it_is(raw in hostile()) {
            let once = clean(&raw, true).into_owned();
            prop_assert_eq!(clean(&once, true).into_owned(), once);
        }

        #[test]
        fn ordinary_text_is_not_touched(text in "[ -~äöü€✓日本語\\t]{0,80}") {
            prop_assert_eq!(clean(&text, true), text.as_str());
        }
    }
}
