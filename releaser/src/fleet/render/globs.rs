//! Globs over a package's files, as `runner.toml` means them.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use staith_model::RelPath;

use super::RenderError;

/// Globs over a package's files. `*` stays within one component; a glob that names a folder means all that is in it.
#[derive(Debug, Clone)]
pub struct Globs(GlobSet);

impl Globs {
    /// Compiles globs. None matches nothing.
    ///
    /// # Errors
    /// One is malformed.
    pub fn new(globs: &[String]) -> Result<Self, RenderError> {
        let mut set = GlobSetBuilder::new();
        let bad = |glob: &str, why: String| RenderError::BadGlob { glob: glob.to_owned(), why };
        for glob in globs {
            for text in [glob.clone(), format!("{glob}/**")] {
                let built = GlobBuilder::new(&text).literal_separator(true).build();
                set.add(built.map_err(|error| bad(glob, error.kind().to_string()))?);
            }
        }
        set.build().map(Self).map_err(|error| bad(&globs.join(", "), error.to_string()))
    }

    /// Whether one of them means a file.
    pub fn matches(&self, path: &RelPath) -> bool {
        self.0.is_match(path.as_str())
    }
}
