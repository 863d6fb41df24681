//! Where a part of a text stands in the file: texts are written with quotes and escapes, and carets point into what is written.

use std::ops::Range;

/// The place in `file` of the bytes `within` of the text that is written at `written`, quotes included. The whole of `written`
/// where that can't be said.
pub(super) fn inner_place(file: &str, written: &Range<usize>, within: &Range<usize>) -> Range<usize> {
    let place = file.get(written.clone()).and_then(|raw| {
        let (mut start, mut end) = (None, None);
        let mut read = 0;
        for piece in pieces(raw)? {
            // An empty part stands before the next character.
            if start.is_none() && read + piece.means > within.start {
                start = Some(piece.at);
            }
            if read < within.end.max(within.start + 1) {
                end = Some(piece.at + piece.length);
            }
            read += piece.means;
        }
        let end = end?;
        Some((start.unwrap_or(end), end))
    });
    place
        .map_or_else(|| written.clone(), |(start, end)| written.start + start..written.start + end.max(start))
}

/// One character of a text as it is written.
struct Piece {
    /// Where it starts, counted from the first quote.
    at: usize,
    length: usize,
    /// How many bytes of the text it stands for.
    means: usize,
}

/// The characters of a text in quotes; none where it is not in quotes.
fn pieces(raw: &str) -> Option<Vec<Piece>> {
    let quote = ["\"\"\"", "'''", "\"", "'"]
        .into_iter()
        .find(|quote| raw.starts_with(quote) && raw.len() >= 2 * quote.len())?;
    let content = raw.get(quote.len()..raw.len() - quote.len())?;
    let mut at = quote.len();
    let mut rest = content;
    if quote.len() == 3 {
        // A line's end right after three quotes is not part of the text.
        let trimmed = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')).unwrap_or(rest);
        at += rest.len() - trimmed.len();
        rest = trimmed;
    }
    let mut pieces = Vec::new();
    while let Some(c) = rest.chars().next() {
        let (length, means) =
            if c == '\\' && quote.starts_with('"') { escape(rest) } else { (c.len_utf8(), c.len_utf8()) };
        pieces.push(Piece { at, length, means });
        at += length;
        rest = rest.get(length..)?;
    }
    Some(pieces)
}

/// How long an escape is, and how long what it means.
fn escape(rest: &str) -> (usize, usize) {
    let digits = match rest.as_bytes().get(1) {
        Some(b'x') => 2,
        Some(b'u') => 4,
        Some(b'U') => 8,
        // A backslash at a line's end joins it with the next line's first word.
        Some(b'\n' | b'\r' | b' ' | b'\t') => {
            return (1 + rest[1..].len() - rest[1..].trim_start().len(), 0);
        }
        Some(_) => return (1 + rest[1..].chars().next().map_or(0, char::len_utf8), 1),
        None => return (1, 0),
    };
    let code = rest.get(2..2 + digits).and_then(|code| u32::from_str_radix(code, 16).ok());
    match code.and_then(char::from_u32) {
        Some(c) => (2 + digits, c.len_utf8()),
        None => (1, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What of `file` is under the caret for the part of the text that reads `part`.
    fn caret<'f>(written: &'f str, text: &str, part: &str) -> &'f str {
        let at = text.find(part).unwrap();
        &written[inner_place(written, &(0..written.len()), &(at..at + part.len()))]
    }

    #[test]
    fn carets_are_under_what_is_written() {
        for (written, text, part, expected) in [
            (r#""abc""#, "abc", "b", "b"),
            (r#"'a "b" c'"#, r#"a "b" c"#, "c", "c"),
            (r#""a \"b\" c""#, r#"a "b" c"#, "c", "c"),
            (r#""a \"b\" c""#, r#"a "b" c"#, "\"b\"", r#"\"b\""#),
            (r#""\u00e4 = b""#, "ä = b", "b", "b"),
            ("\"\"\"\nab\n  c\"\"\"", "ab\n  c", "c", "c"),
            ("\"\"\"ab \\\n   c d\"\"\"", "ab c d", "d", "d"),
            ("'''ab'''", "ab", "b", "b"),
        ] {
            assert_eq!(caret(written, text, part), expected, "{written}");
        }
    }

    #[test]
    fn a_place_behind_the_end_is_the_last_character() {
        assert_eq!(inner_place("\"abc\"", &(0..5), &(3..3)), 4..4);
        assert_eq!(inner_place("\"\"", &(0..2), &(0..0)), 0..2);
    }

    proptest! {
        #[test]
        fn every_place_is_inside(raw in "(?s)[\"']{0,3}.{0,20}[\"']{0,3}", start in 0..30usize, length in 0..10usize) {
            let place = inner_place(&raw, &(0..raw.len()), &(start..start + length));
            prop_assert!(place.start <= place.end && place.end <= raw.len());
        }

        /// Whatever the writer of the TOML chose, the caret is under the same character.
        #[test]
        fn basic_texts_with_any_escapes(text in "[a-z\"\\\\\tä€ ]{1,12}", at in 0..12usize) {
            let (at, c) = text.char_indices().nth(at % text.chars().count()).unwrap();
            let escaped = |c: char| match c { '"' => "\\\"".into(), '\\' => "\\\\".into(), '\t' => "\\t".into(), 'ä' => "\\u00e4".into(), c => c.to_string() };
            let written = format!("\"{}\"", text.chars().map(escaped).collect::<String>());
            let place = inner_place(&written, &(0..written.len()), &(at..at + c.len_utf8()));
            prop_assert_eq!(&written[place], escaped(c));
        }
    }
}
