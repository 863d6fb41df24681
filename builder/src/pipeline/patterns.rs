//! Globs over names of branches and tags, and filters of which `!` takes something away.

use globset::GlobBuilder;
use staith_model::RelPath;

use super::values::{self, Understood, complaint};
use crate::source::Globs;

/// Whether a glob matches a name. `*` does not go over a `/`, `**` does.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .is_ok_and(|glob| glob.compile_matcher().is_match(name))
}

/// Whether any of the paths is matched by any of the globs, which mean what they mean as a step's inputs.
pub(super) fn any_path(globs: &[String], paths: &[RelPath]) -> bool {
    // The parser has refused bad globs; should one have passed, doing too much is better than too little.
    let Ok(globs) = Globs::new(globs) else { return true };
    paths.iter().any(|path| globs.matches(path.as_str()))
}

/// Globs and exceptions from them, in any order. What is matched by a glob and by no exception passes; where there are only
/// exceptions, everything else passes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filter {
    taken: Vec<String>,
    refused: Vec<String>,
}

impl Filter {
    pub(super) fn of(items: Vec<String>) -> Self {
        let mut filter = Self::default();
        for item in items {
            match item.strip_prefix('!') {
                Some(exception) => filter.refused.push(exception.to_owned()),
                None => filter.taken.push(item),
            }
        }
        filter
    }

    pub(super) fn passes_name(&self, name: &str) -> bool {
        let any = |globs: &[String]| globs.iter().any(|glob| matches(glob, name));
        (self.taken.is_empty() || any(&self.taken)) && !any(&self.refused)
    }

    /// Whether one of the paths passes.
    pub(super) fn passes_path(&self, paths: &[RelPath]) -> bool {
        let passes = |path: &RelPath| {
            let path = std::slice::from_ref(path);
            (self.taken.is_empty() || any_path(&self.taken, path))
                && (self.refused.is_empty() || !any_path(&self.refused, path))
        };
        paths.iter().any(passes)
    }

    /// As it is written.
    pub(super) fn items(&self) -> Vec<String> {
        self.taken.iter().cloned().chain(self.refused.iter().map(|glob| format!("!{glob}"))).collect()
    }
}

/// A glob over names of branches or tags, or an exception.
pub(super) fn name_filter(text: &str) -> Understood<String> {
    let glob = text.strip_prefix('!').unwrap_or(text);
    if glob.is_empty() || glob.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return complaint(
            "is not a name or a glob",
            "no branch or tag is called like this",
            "write a name or a glob such as \"main\" or \"release/*\"; `!` before it makes an exception",
        );
    }
    for (prefix, kind) in [("refs/heads/", "branches"), ("refs/tags/", "tags"), ("origin/", "branches")] {
        if let Some(name) = glob.strip_prefix(prefix) {
            return complaint(
                "holds a reference",
                format!("{kind} are named without `{prefix}`"),
                format!("write \"{name}\""),
            );
        }
    }
    if glob.starts_with('/') || glob.contains('\\') {
        return complaint(
            "is not a name or a glob",
            "git has no branch or tag that begins with `/` or holds a `\\`",
            "write a name or a glob such as \"main\" or \"release/*\"; `!` before it makes an exception",
        );
    }
    match GlobBuilder::new(glob).literal_separator(true).build() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => complaint(
            "is not a glob",
            error.kind().to_string(),
            "`*` stands for anything but `/`, `**` for anything, `?` for one character",
        ),
    }
}

/// A glob over paths, or an exception.
pub(super) fn path_filter(text: &str) -> Understood<String> {
    values::glob(text.strip_prefix('!').unwrap_or(text)).map(|_| text.to_owned())
}
