//! The patterns of OpenSSH's files: `*`, `?`, and `!` in front of what is excepted.

/// Whether a text fits a pattern in which `*` stands for any characters and `?` for one. Letters are compared as they are.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // Where the last star was, and how far it has reached: going back to it is enough, so that hostile patterns cost no more
    // than the product of both lengths.
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(&letter) if letter == '?' || letter == text[seen] => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((before, reached)) = star else { return false };
                star = Some((before, reached + 1));
                at = before + 1;
                seen = reached + 1;
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

/// Whether a text fits one of the patterns and none of those that begin with `!`.
pub(super) fn fits_list<'a>(patterns: impl IntoIterator<Item = &'a str>, text: &str) -> bool {
    let mut found = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(excepted) if fits(excepted, text) => return false,
            Some(_) => {}
            None => found |= fits(pattern, text),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, fit) in [
            ("web-*", "web-1", true),
            ("web-?", "web-12", false),
            ("*.example.org", "a.b.example.org", true),
            ("*", "", true),
            ("", "a", false),
            ("a*b*c", "a-bb-bc", true),
            ("a*b*c", "a-bb-b", false),
        ] {
            assert_eq!(fits(pattern, text), fit, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_excepted_wins_wherever_it_stands() {
        assert!(fits_list(["*.org", "!bad.org"], "good.org"));
        assert!(!fits_list(["!bad.org", "*.org"], "bad.org"));
        assert!(!fits_list(["!bad.org"], "good.org"));
    }

    proptest! {
        #[test]
        fn a_text_fits_itself_and_any_text_fits_a_star(text in "[a-c]{0,8}", rest in "[a-c]{0,8}") {
            prop_assert!(fits(&text, &text));
            let pattern = format!("{text}*");
            let whole = format!("{text}{rest}");
            prop_assert!(fits(&pattern, &whole));
        }
    }
}
