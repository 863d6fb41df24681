//! "Did you mean ...?"

/// The candidate that `written` most probably stands for, if one is close enough that naming it helps.
pub fn closest<'c>(written: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let written = written.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&written, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= tolerated(written.chars().count().max(candidate.len())))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// One slip in a short word, two in a longer one: more, and any word would be like any other.
fn tolerated(length: usize) -> usize {
    match length {
        0..=2 => 0,
        3..=5 => 1,
        6..=8 => 2,
        _ => 3,
    }
}

/// `a`, `b` and `c`.
pub(super) fn listed<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut quoted: Vec<String> = items.into_iter().map(|item| format!("`{item}`")).collect();
    match quoted.pop() {
        None => String::new(),
        Some(last) if quoted.is_empty() => last,
        Some(last) => format!("{} and {last}", quoted.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let keys = ["run", "needs", "outputs", "timeout", "network"];
        for (written, meant) in [
            ("need", Some("needs")),
            ("Needs", Some("needs")),
            ("ouptuts", Some("outputs")),
            ("time-out", Some("timeout")),
            ("rum", Some("run")),
            ("banana", None),
            ("x", None),
        ] {
            assert_eq!(closest(written, keys), meant, "{written}");
        }
    }

    #[test]
    fn lists_read_like_sentences() {
        assert_eq!(listed(["a"]), "`a`");
        assert_eq!(listed(["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
