//! What a person would read of a line. A program that colours its output may put a control sequence into the middle of a
//! secret: then its bytes are apart, and its letters are not.

/// The line without control sequences and control characters.
pub(super) fn letters(line: &str) -> String {
    let mut rest = line.chars();
    let mut letters = String::with_capacity(line.len());
    while let Some(next) = rest.next() {
        match next {
            '\u{1b}' => skip_sequence(&mut rest),
            // The same as ESC [ and ESC ], in one character.
            '\u{9b}' => skip_parameters(&mut rest),
            '\u{9d}' => skip_string(&mut rest),
            next if next.is_control() && next != '\t' => {}
            next => letters.push(next),
        }
    }
    letters
}

/// ECMA-48: what follows an escape character.
fn skip_sequence(rest: &mut std::str::Chars<'_>) {
    match rest.next() {
        Some('[') => skip_parameters(rest),
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(rest),
        // Intermediate characters, and the one that ends them: `ESC ( B` chooses a set of characters.
        Some(' '..='/') => drop(rest.find(|c| !matches!(c, ' '..='/'))),
        _ => {}
    }
}

fn skip_parameters(rest: &mut std::str::Chars<'_>) {
    let _ = rest.find(|c| matches!(c, '@'..='~'));
}

/// Up to BEL, or to the string terminator.
fn skip_string(rest: &mut std::str::Chars<'_>) {
    while let Some(next) = rest.next() {
        match next {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                rest.next();
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
    fn what_a_terminal_does_not_show_is_left_out() {
        for line in [
            "S3cr\u{1b}[01;31m\u{1b}[Ket\u{1b}[m",
            "S3\u{1b}(Bcret",
            "S3\u{1b}]8;;https://x.example\u{7}cret\u{1b}]8;;\u{1b}\\",
            "S3\u{9b}1mcret\u{8}",
        ] {
            assert_eq!(letters(line), "S3cret", "{line:?}");
        }
        assert_eq!(letters("a\tb ü"), "a\tb ü");
    }

    proptest! {
        #[test]
        fn what_has_no_control_characters_is_left_as_it_is(line in "[^\\pC]{0,40}") {
            prop_assert_eq!(letters(&line), line);
        }
    }
}
