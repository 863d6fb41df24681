//! What the last attempt at each step saw, so that people can be told what has changed since.
//!
//! `last/<digest of project and step>.json` has one file for each step, written whole and replaced by the next attempt.
//! `inputs/<input tree>` lists files by path and content, once for each set of files that a step saw.

use std::{fmt::Write as _, fs, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use staith_model::{Digest, Name, RelPath, RunId, StepOutcome};

use super::{CacheError, StepCache};
use crate::source::{BadGlob, FileEntry, Globs, Resolved};

/// A list of input files that is longer than this is not kept. People are told then that inputs changed, and not which.
const LONGEST_LIST: usize = 8 << 20;

/// What one attempt at a step saw and came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempted {
    /// The run.
    pub run: RunId,
    /// When the step ended, in milliseconds since 1970.
    pub at: u64,
    /// How it ended.
    pub outcome: StepOutcome,
    /// Its key.
    pub key: Digest,
    /// What the key is the digest of: [`what_is_seen`](super::what_is_seen).
    pub seen: Value,
    /// The steps whose outputs it saw, lowest first, and what they had left.
    pub layers: Vec<(Name, Digest)>,
}

/// The files that a step sees, by path, each with what tells contents and modes apart; sorted.
pub type Inputs = Vec<(RelPath, String)>;

impl StepCache {
    /// Remembers the last attempt at a step of a project, and with `source` which files it saw: those that `globs` match.
    /// Two processes that do this at once both succeed; one of them is the last.
    ///
    /// # Errors
    /// The file system refused.
    pub fn remember(
        &self,
        (project, step): (&Name, &Name),
        attempted: &Attempted,
        (input_tree, source, globs): (&Digest, &Resolved, &[String]),
    ) -> Result<(), CacheError> {
        let list = self.inputs_path(input_tree);
        if !list.exists()
            && let Ok(inputs) = inputs_of(source, globs)
            && let Some(text) = listed(&inputs)
        {
            self.write(list, || Ok(text.into_bytes()))?;
        }
        self.write(self.last_path(project, step), || Ok(serde_json::to_vec(attempted)?))
    }

    /// The last attempt at a step of a project. One that can't be read counts as none.
    pub fn last(&self, project: &Name, step: &Name) -> Option<Attempted> {
        serde_json::from_slice(&fs::read(self.last_path(project, step)).ok()?).ok()
    }

    /// The files behind an input tree, if they are remembered.
    pub fn inputs(&self, input_tree: &Digest) -> Option<Inputs> {
        let text = fs::read_to_string(self.inputs_path(input_tree)).ok()?;
        text.split_terminator('\0')
            .map(|line| {
                let (content, path) = line.split_once(' ')?;
                Some((path.try_into().ok()?, content.to_owned()))
            })
            .collect()
    }

    fn last_path(&self, project: &Name, step: &Name) -> PathBuf {
        let whose = Digest::of_value("staith.last-attempt.v1", &(project, step));
        self.directory.join("last").join(format!("{}.json", whose.hex()))
    }

    fn inputs_path(&self, input_tree: &Digest) -> PathBuf {
        self.directory.join("inputs").join(input_tree.hex())
    }
}

/// The files of a source that a step with these globs sees; no globs mean all.
///
/// # Errors
/// A glob is malformed.
pub fn inputs_of(source: &Resolved, globs: &[String]) -> Result<Inputs, BadGlob> {
    let globs = Globs::or_everything(globs)?;
    let matching = source.files.iter().filter(|(path, _)| globs.matches(path.as_str()));
    let content =
        |(path, file): &(RelPath, FileEntry)| (path.clone(), format!("{}{}", file.blob, file.letter()));
    Ok(matching.map(content).collect())
}

/// One text of a list, each file with a NUL behind it, which no path has; none where the list is too long to be kept.
fn listed(inputs: &Inputs) -> Option<String> {
    let mut text = String::with_capacity(inputs.len() * 80);
    for (path, content) in inputs {
        // Writing to a text can't fail.
        let _ = write!(text, "{content} {path}\0");
        if text.len() > LONGEST_LIST {
            return None;
        }
    }
    Some(text)
}
