//! Text of a report, made fit for people.

/// A person reads the beginning of a failure here; the rest is in the report.
const MESSAGE_LINES: usize = 20;
const MESSAGE_BYTES: usize = 4 << 10;
/// Names are shown in one line.
const NAME_BYTES: usize = 300;

/// The first lines of a failure: what it says of itself, then its text unless that begins with the same.
pub(super) fn message(attribute: &str, body: &str) -> String {
    let (attribute, body) = (clean(attribute), clean(body));
    let (attribute, body) = (attribute.trim(), body.trim_matches(['\n', '\r']).trim_end());
    let whole = if attribute.is_empty() || body.contains(attribute) {
        body.to_owned()
    } else {
        format!("{attribute}\n{body}")
    };
    let first: Vec<&str> = whole.lines().take(MESSAGE_LINES).map(str::trim_end).collect();
    cut(first.join("\n").trim_end(), MESSAGE_BYTES).to_owned()
}

/// A name in one line.
pub(super) fn name(text: &str) -> String {
    let line = clean(text).split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&line, NAME_BYTES).to_owned()
}

fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Without colours and other terminal sequences; any control character that is left becomes U+FFFD.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len().min(2 * MESSAGE_BYTES));
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' if rest.next_if_eq(&'[').is_some() => {
                // ECMA-48: parameters and intermediates, then one final byte.
                while rest.next_if(|c| ('\u{20}'..='\u{3f}').contains(c)).is_some() {}
                rest.next_if(|c| ('\u{40}'..='\u{7e}').contains(c));
            }
            '\u{1b}' if rest.next_if_eq(&']').is_some() => skip_string(&mut rest),
            '\n' | '\t' => cleaned.push(c),
            '\r' => {}
            c if c.is_control() => cleaned.push('\u{fffd}'),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                cleaned.push('\u{fffd}')
            }
            c => cleaned.push(c),
        }
        // Long texts are cut anyway; there is no need to clean megabytes first.
        if cleaned.len() > 4 * MESSAGE_BYTES {
            break;
        }
    }
    cleaned
}

/// Passes over an operating system command, such as the links that GCC writes around the names of warnings. One that does
/// not end takes the rest of its line and no more.
fn skip_string(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(c) = rest.next_if(|c| *c != '\n') {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                rest.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(message("", "\u{1b}[1;31mfailed\u{1b}[0m\u{7}\r\n  at x\n"), "failed\u{fffd}\n  at x");
        assert_eq!(name("[\u{1b}]8;;http://x\u{7}-Wall\u{1b}]8;;\u{1b}\\]"), "[-Wall]");
        assert_eq!(message("", "\u{1b}]0;never ends\nnext"), "\nnext".trim());
    }

    #[test]
    fn what_is_said_twice_is_told_once() {
        assert_eq!(message("boom", "panicked: boom\n at x"), "panicked: boom\n at x");
        assert_eq!(message("boom", "at x"), "boom\nat x");
        assert_eq!(message("boom", ""), "boom");
    }

    proptest! {
        #[test]
        fn messages_are_bounded_and_harmless(attribute: String, body in "(?s).{0,200}", times in 0..200usize) {
            let message = message(&attribute, &body.repeat(times));
            prop_assert!(message.len() <= MESSAGE_BYTES && message.lines().count() <= MESSAGE_LINES);
            prop_assert!(message.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()));
        }
    }
}
