//! Long lines, broken between words. Pure.

use console::{Term, measure_text_width};

/// Narrower than this, broken lines are harder to read than those that the terminal breaks.
const NARROWEST: usize = 10;

/// The columns of a terminal that a text may use; `None` where there is no terminal, whose lines are nobody's to break. The
/// last column stays free, because terminals differ in when they wrap.
pub(crate) fn columns(terminal: &Term) -> Option<usize> {
    terminal.size_checked().map(|(_, columns)| usize::from(columns).saturating_sub(1))
}

/// The line in rows of `width` columns at most, each indented as the line is. A word that is longer than that stays whole:
/// it may be a path or a command, which somebody wants to copy.
pub(crate) fn wrap(line: &str, width: usize) -> Vec<String> {
    let width = width.max(NARROWEST);
    let words = line.trim_start_matches(' ');
    let indent = &line[..line.len() - words.len()];
    let mut rows = Vec::new();
    let mut row = indent.to_owned();
    for word in words.split_inclusive(' ') {
        let is_full = measure_text_width(&row) + measure_text_width(word.trim_end_matches(' ')) > width;
        if is_full && row.len() > indent.len() {
            rows.push(row.trim_end_matches(' ').to_owned());
            indent.clone_into(&mut row);
        }
        row.push_str(word);
    }
    rows.push(row.trim_end_matches(' ').to_owned());
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_break_between_words_and_keep_their_indentation() {
        let line = "  one two three  four /a/path/that/is/longer/than/a/row five";
        let rows = ["  one two three", "  four", "  /a/path/that/is/longer/than/a/row", "  five"];
        assert_eq!(wrap(line, 20), rows);
        assert_eq!(wrap("a line  that fits", 20), ["a line  that fits"]);
        assert_eq!(wrap("", 20), [""]);
    }

    proptest! {
        #[test]
        fn no_word_is_lost_and_no_row_of_several_words_is_too_wide(line in "[a-z日 ]{0,120}", width in 20..60usize) {
            let rows = wrap(&line, width);
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(words(&rows.join(" ")), words(&line));
            for row in rows {
                prop_assert!(measure_text_width(&row) <= width || words(&row).len() <= 1, "{:?}", row);
            }
        }
    }
}
