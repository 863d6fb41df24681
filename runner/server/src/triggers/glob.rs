//! Globs over names of branches and tags: `*` does not go over a `/`, `**` does.

use globset::{Glob, GlobBuilder};

fn understood(pattern: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(true).build()
}

/// # Errors
/// What is wrong with a pattern, in words.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    if pattern.is_empty() || pattern.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("no branch or tag is called like this".to_owned());
    }
    if pattern.starts_with("refs/") {
        return Err("branches and tags are named without `refs/heads/` and `refs/tags/`".to_owned());
    }
    understood(pattern).map(drop).map_err(|bad| bad.kind().to_string())
}

/// The first of the patterns that matches a name.
pub(super) fn first<'a>(patterns: &'a [String], name: &str) -> Option<&'a String> {
    let matches =
        |pattern: &&String| understood(pattern).is_ok_and(|glob| glob.compile_matcher().is_match(name));
    patterns.iter().find(matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_matches_names_as_git_writes_them() {
        let patterns = ["main".to_owned(), "release/*".to_owned()];
        for (name, found) in [
            ("main", true),
            ("mainly", false),
            ("release/1", true),
            ("release/1/x", false),
            ("x/main", false),
        ] {
            assert_eq!(first(&patterns, name).is_some(), found, "{name}");
        }
        for bad in ["", "a b", "refs/heads/main", "[", "{a"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
