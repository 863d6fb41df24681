//! Files of settings brought into the shape of an environment. In reading order:
//!
//! 1. [`xdt`]: Microsoft's XML Document Transform, for `Web.Release.config` and the like.
//! 2. [`variables`]: values put into JSON and XML files by their names.
//! 3. [`apply`]: both, over several files, as a pure function.

pub mod variables;
pub mod xdt;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    transform::{
        variables::{Variable, VariablesError, substitute},
        xdt::{Done, XdtError},
    },
    xml::{Text, XmlError},
};

/// What shall become of files.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Transform files, in the order in which they are applied.
    pub transforms: Vec<Transform>,
    /// Variables, put in after all transforms.
    pub variables: Vec<Variable>,
    /// The files that variables are put into.
    pub substitute_in: Vec<String>,
}

/// A transform file and what it is applied to.
#[derive(Debug, Clone)]
pub struct Transform {
    /// The name of the file to change.
    pub target: String,
    /// The transform file's name, for messages.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What has become of files.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Those whose bytes are others now, by name.
    pub changed: BTreeMap<String, Vec<u8>>,
    /// What was done, in that order.
    pub log: Vec<Deed>,
}

/// One thing that was done. It holds no values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A transform.
    Transformed {
        /// The file that was changed.
        file: String,
        /// The transform file.
        by: String,
        /// What it did.
        done: Done,
    },
    /// A variable.
    Substituted {
        /// The file that it was put into.
        file: String,
        /// Its name.
        variable: String,
        /// In how many places.
        places: usize,
    },
    /// An optional variable that was found in no file.
    NotFound {
        /// Its name.
        variable: String,
    },
}

/// Why files can't be changed as planned. No message holds the value of a variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransformError {
    /// The plan names a file that is not there.
    #[error("there is no file {0} to change")]
    NoFile(String),
    /// A transform file can't be applied.
    #[error("{by} can't be applied to {file}: {error}")]
    Xdt {
        /// The file to change.
        file: String,
        /// The transform file.
        by: String,
        /// Why not.
        error: XdtError,
    },
    /// The text of a file can't be read or written.
    #[error("{file}: {error}")]
    Text {
        /// The file.
        file: String,
        /// Why not.
        error: XmlError,
    },
    /// Variables can't be put into a file.
    #[error("{file}: {error}")]
    Variables {
        /// The file.
        file: String,
        /// Why not.
        error: VariablesError,
    },
    /// A variable is given twice.
    #[error("the variable {0} is given twice")]
    Twice(String),
    /// A variable is found in no file, and may not be.
    #[error("no place was found for the variable {}; correct the name, or mark it as optional", xdt::with_suggestion(name, &near.iter().map(String::as_str).collect::<Vec<_>>()))]
    NotFound {
        /// Its name.
        name: String,
        /// Some names that are there.
        near: Vec<String>,
    },
}

/// Carries out a plan on files, all of it or nothing. It reads and writes nothing else.
///
/// # Errors
/// The first thing that can't be done.
pub fn apply(files: &BTreeMap<String, Vec<u8>>, plan: &Plan) -> Result<Outcome, TransformError> {
    let mut work = Work { files, texts: BTreeMap::new(), log: Vec::new() };
    for transform in &plan.transforms {
        work.transform(transform)?;
    }
    work.substitute(plan)?;
    work.outcome()
}

struct Work<'f> {
    files: &'f BTreeMap<String, Vec<u8>>,
    texts: BTreeMap<String, Text>,
    log: Vec<Deed>,
}

impl Work<'_> {
    /// The text of a file as it is by now.
    fn text(&self, file: &str) -> Result<Text, TransformError> {
        if let Some(text) = self.texts.get(file) {
            return Ok(text.clone());
        }
        let bytes = self.files.get(file).ok_or_else(|| TransformError::NoFile(file.to_owned()))?;
        Text::decode(bytes).map_err(|error| TransformError::Text { file: file.to_owned(), error })
    }

    fn transform(&mut self, transform: &Transform) -> Result<(), TransformError> {
        let refuse =
            |error| TransformError::Xdt { file: transform.target.clone(), by: transform.name.clone(), error };
        let target = self.text(&transform.target)?;
        let by = Text::decode(&transform.bytes).map_err(|error| refuse(XdtError::TransformFile(error)))?;
        let (text, done) = xdt::apply(&target, &by).map_err(refuse)?;
        self.texts.insert(transform.target.clone(), text);
        let deed =
            |done| Deed::Transformed { file: transform.target.clone(), by: transform.name.clone(), done };
        self.log.extend(done.into_iter().map(deed));
        Ok(())
    }

    fn substitute(&mut self, plan: &Plan) -> Result<(), TransformError> {
        let mut given = BTreeSet::new();
        if let Some(twice) = plan.variables.iter().find(|variable| !given.insert(&variable.name)) {
            return Err(TransformError::Twice(twice.name.clone()));
        }
        if plan.variables.is_empty() {
            return Ok(());
        }
        let mut found = vec![0; plan.variables.len()];
        let mut names = BTreeSet::new();
        for file in &plan.substitute_in {
            let substituted = substitute(&self.text(file)?, &plan.variables)
                .map_err(|error| TransformError::Variables { file: file.clone(), error })?;
            for (index, places) in substituted.found.iter().enumerate().filter(|(_, places)| **places > 0) {
                found[index] += places;
                let variable = plan.variables[index].name.clone();
                self.log.push(Deed::Substituted { file: file.clone(), variable, places: *places });
            }
            names.extend(substituted.names);
            self.texts.insert(file.clone(), substituted.text);
        }
        for (variable, _) in plan.variables.iter().zip(found).filter(|(_, found)| *found == 0) {
            if !variable.optional {
                return Err(not_found(&variable.name, names));
            }
            self.log.push(Deed::NotFound { variable: variable.name.clone() });
        }
        Ok(())
    }

    fn outcome(self) -> Result<Outcome, TransformError> {
        let mut changed = BTreeMap::new();
        for (file, text) in self.texts {
            let bytes = text.encode().map_err(|error| TransformError::Text { file: file.clone(), error })?;
            if self.files.get(&file) != Some(&bytes) {
                changed.insert(file, bytes);
            }
        }
        Ok(Outcome { changed, log: self.log })
    }
}

/// With the names that are most like it.
fn not_found(name: &str, names: BTreeSet<String>) -> TransformError {
    const SHOWN: usize = 5;
    let likeness =
        |other: &String| (strsim::jaro_winkler(&name.to_lowercase(), &other.to_lowercase()) * 1000.0) as i64;
    let mut near: Vec<String> = names.into_iter().filter(|other| !other.is_empty()).collect();
    near.sort_by_key(|other| std::cmp::Reverse(likeness(other)));
    near.truncate(SHOWN);
    TransformError::NotFound { name: name.to_owned(), near }
}
