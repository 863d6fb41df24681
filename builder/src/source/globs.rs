//! Globs over paths below a workspace: one meaning for inputs, outputs and reports.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// A set of globs. `*` and `?` stay within one component, `**` crosses them, and a pattern that names a directory takes
/// everything below it.
#[derive(Debug, Clone)]
pub struct Globs {
    patterns: Vec<String>,
    /// Two globs for each pattern: what it names, and everything below that.
    named: GlobSet,
    /// For each pattern what it names and, where it ends in `/**`, the directory before that.
    whole: GlobSet,
    /// The pattern behind each glob of `whole`.
    whole_of: Vec<usize>,
    /// Whether one of them is `**`, which needs no looking.
    takes_all: bool,
}

/// A pattern that can't be a glob below a workspace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a glob for files of a workspace: {why}", .pattern.escape_debug())]
pub struct BadGlob {
    /// The pattern as it was written.
    pub pattern: String,
    /// What is wrong with it, and what to write instead.
    pub why: String,
}

impl Globs {
    /// Compiles patterns. No pattern matches nothing.
    ///
    /// # Errors
    /// A pattern is malformed, absolute, negated, empty, or has a `..` component.
    pub fn new(patterns: &[String]) -> Result<Self, BadGlob> {
        let (mut named, mut whole, mut whole_of) = (GlobSetBuilder::new(), GlobSetBuilder::new(), Vec::new());
        for (index, pattern) in patterns.iter().enumerate() {
            let bad = |why: String| BadGlob { pattern: pattern.clone(), why };
            let compile = |text: &str| {
                GlobBuilder::new(text)
                    .literal_separator(true)
                    .build()
                    .map_err(|error| bad(error.kind().to_string()))
            };
            let text = plain(pattern).map_err(|why| bad(why.to_owned()))?;
            named.add(compile(text)?).add(compile(&format!("{text}/**"))?);
            for all_of in [Some(text), directory_of(text)].into_iter().flatten() {
                whole.add(compile(all_of)?).add(compile(&format!("{all_of}/**"))?);
                whole_of.extend([index, index]);
            }
        }
        let built = |set: GlobSetBuilder| {
            set.build().map_err(|error| BadGlob { pattern: patterns.join(", "), why: error.to_string() })
        };
        let takes_all = patterns.iter().any(|pattern| pattern == "**");
        Ok(Self {
            patterns: patterns.to_vec(),
            named: built(named)?,
            whole: built(whole)?,
            whole_of,
            takes_all,
        })
    }

    /// As [`new`](Self::new), but no pattern matches everything: the rule for inputs.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn or_everything(patterns: &[String]) -> Result<Self, BadGlob> {
        if patterns.is_empty() { Self::new(&["**".to_owned()]) } else { Self::new(patterns) }
    }

    /// The patterns as they were written.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// Whether a pattern names this path or a directory above it.
    pub fn matches(&self, path: &str) -> bool {
        self.takes_all || self.named.is_match(path)
    }

    /// Which patterns match this path, as positions in [`patterns`](Self::patterns).
    pub fn matching(&self, path: &str) -> impl Iterator<Item = usize> + use<> {
        self.named.matches(path).into_iter().map(|glob| glob / 2)
    }

    /// Which patterns take this directory together with whatever it may hold: `dist/**` does so for `dist`.
    pub fn covering<'a>(&'a self, directory: &str) -> impl Iterator<Item = usize> + use<'a> {
        self.whole.matches(directory).into_iter().map(|glob| self.whole_of[glob])
    }

    /// Whether some pattern is in [`covering`](Self::covering).
    pub fn covers(&self, directory: &str) -> bool {
        self.whole.is_match(directory)
    }
}

/// The pattern without what means nothing: a leading `./`, a trailing `/`.
fn plain(pattern: &str) -> Result<&str, &'static str> {
    let text = pattern.strip_prefix("./").unwrap_or(pattern).trim_end_matches('/');
    let text = if text == "." && !pattern.is_empty() { "**" } else { text };
    match text {
        _ if pattern.starts_with('/') => Err("it is absolute; write it relative to the project's folder"),
        "" => Err("it is empty; write `**` for every file"),
        _ if text.starts_with('!') => Err("globs can't be negated; name what is wanted instead"),
        _ if text.split('/').any(|part| part == "..") => Err("`..` leads out of the workspace"),
        _ if text.contains('\0') => Err("it holds a NUL character"),
        _ => Ok(text),
    }
}

fn directory_of(text: &str) -> Option<&str> {
    text.strip_suffix("/**").or_else(|| text.strip_suffix("/**/*")).filter(|directory| !directory.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn globs(patterns: &[&str]) -> Globs {
        Globs::new(&patterns.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn components_are_respected() {
        let globs = globs(&["*.py", "src/**/*.rs", "assets/", "./docs/a?.md"]);
        for yes in ["a.py", "src/a.rs", "src/x/y/a.rs", "assets", "assets/x", "assets/x/y", "docs/ab.md"] {
            assert!(globs.matches(yes), "{yes}");
        }
        for no in ["x/a.py", "a.rs", "src/a.py", "assetsx", "docs/a.md", "docs/a/b.md", "x/assets/y"] {
            assert!(!globs.matches(no), "{no}");
        }
    }

    #[test]
    fn a_directory_is_covered_when_all_below_it_is_taken() {
        let globs = globs(&["dist/**", "out", "lib/*.so", "gen/**/*"]);
        for yes in ["dist", "dist/x", "out", "out/x", "gen"] {
            assert!(globs.covers(yes), "{yes}");
        }
        assert!(!globs.covers("lib") && !globs.matches("dist"));
        assert_eq!(globs.covering("out/x").collect::<Vec<_>>(), [1]);
        assert_eq!(globs.matching("lib/a.so").collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn nothing_and_everything() {
        assert!(!globs(&[]).matches("a"));
        for all in [Globs::or_everything(&[]).unwrap(), globs(&["."]), globs(&["**"])] {
            assert!(all.matches("a") && all.matches("a/.b/c"));
        }
    }

    #[test]
    fn patterns_that_lead_nowhere_are_refused() {
        for bad in ["", "/", "/etc/*", "../x", "a/../b", "!x", "a[", "{a", "a\0b"] {
            let refusal = Globs::new(&[bad.to_owned()]).unwrap_err();
            assert!(refusal.to_string().contains("is not a glob"), "{bad:?}: {refusal}");
        }
    }

    proptest! {
        #[test]
        fn a_plain_path_matches_itself_and_what_is_below_it(parts in prop::collection::vec("[a-z.]{0,3}x", 1..4), more in "[a-z]{1,4}") {
            let path = parts.join("/");
            let globs = globs(&[&path]);
            prop_assert!(globs.matches(&path));
            let below = format!("{path}/{more}");
            prop_assert!(globs.matches(&below));
            let beside = format!("{path}{more}");
            prop_assert!(!globs.matches(&beside));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,20}", path in "[a-z/.*]{0,20}") {
            if let Ok(globs) = Globs::new(&[text]) {
                let _ = globs.matches(&path);
            }
        }
    }
}
