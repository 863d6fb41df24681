//! Text of others in pages of ours: it must say what it says, and do nothing.

/// Longer texts of others are cut.
const LONGEST: usize = 300;

/// Text as Markdown that shows it and nothing else: on one line, without marks that turn the direction of what follows, with every
/// character that could mean something to Markdown or HTML escaped.
pub(super) fn text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for (place, c) in text.chars().filter(|c| is_harmless(*c)).enumerate() {
        if place == LONGEST {
            escaped.push('…');
            break;
        }
        match c {
            // An entity, where a backslash would not keep a page from being linked or a person from being called.
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '@' => escaped.push_str("&#64;"),
            ':' => escaped.push_str("&#58;"),
            c if c.is_ascii_punctuation() => {
                escaped.push('\\');
                escaped.push(c);
            }
            // What is no space but separates lines or columns.
            c if c.is_whitespace() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    // An address that begins with `www.` is linked without a scheme.
    escaped.trim().replace("www\\.", "www&#46;")
}

/// Text as code that shows it and nothing else.
pub(super) fn code(text: &str) -> String {
    let shown: String =
        text.chars().filter(|c| is_harmless(*c)).map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    let longest = shown.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    if shown.is_empty() || shown.starts_with(['`', ' ']) || shown.ends_with(['`', ' ']) {
        return format!("{fence} {shown} {fence}");
    }
    format!("{fence}{shown}{fence}")
}

fn is_harmless(c: char) -> bool {
    let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}');
    !turns && (!c.is_control() || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_of_it_means_anything() {
        assert_eq!(text("<script>x</script>"), "&lt;script&gt;x&lt;\\/script&gt;");
        assert_eq!(text("[a](javascript:b)"), "\\[a\\]\\(javascript&#58;b\\)");
        assert_eq!(text("# a\n- b\r\n| c"), "\\# a \\- b  \\| c");
        assert_eq!(text("@all www.evil \u{202e}x"), "&#64;all www&#46;evil x");
        assert_eq!(code("a`b``c"), "```a`b``c```");
        assert_eq!(code("`"), "`` ` ``");
    }

    proptest! {
        #[test]
        fn one_line_and_every_mark_escaped(given in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
            let shown = text(&given);
            prop_assert!(!shown.contains(['\n', '\r', '<', '>', '@', ':']));
            let mut before = ' ';
            for c in shown.chars() {
                let is_ours = c == '\\' || c == '&' || c == '#' || c == ';';
                prop_assert!(!c.is_ascii_punctuation() || is_ours || before == '\\', "{:?}", shown);
                before = if before == '\\' && c == '\\' { ' ' } else { c };
            }
        }
    }
}
