//! Values on their way into providers and files.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use super::{Entry, From, Kind, Matcher, Parameter, Value, text::TextFile, xml_file};
use crate::pattern::{Exhausted, Pattern};

/// Largest file that a parameter changes, in bytes: it is held in memory several times over.
const LARGEST: usize = 32 << 20;
/// Reasons kept of each entry for which it matched nothing.
const REASONS: usize = 3;

/// A parameter with its value.
#[derive(Debug, Clone)]
pub struct Settled {
    /// What was declared.
    pub parameter: Parameter,
    /// What it comes to.
    pub value: Value,
    /// Where that comes from, before references in it were replaced.
    pub from: From,
}

/// Parameters with their values, ready to be applied. May be shared by threads.
#[derive(Debug)]
pub struct Resolved {
    settled: Vec<Settled>,
    /// What became of each entry so far, in the order of parameters and their entries.
    seen: Mutex<Vec<Seen>>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    matched: bool,
    scoped: bool,
    why: Vec<String>,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewrite {
    /// No parameter is about it.
    Untouched,
    /// Parameters are about it, but nothing in it matched. Its bytes stay as they are.
    InScopeUnmatched {
        /// Why, where there is more to say than that it does not match.
        misses: Vec<Miss>,
    },
    /// It was changed.
    Rewritten {
        /// Its new bytes.
        bytes: Vec<u8>,
        /// The names of the parameters that did it.
        by: Vec<String>,
        /// What of other parameters was not possible.
        misses: Vec<Miss>,
    },
}

/// A parameter that is about a file and could do nothing there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// The parameter.
    pub parameter: String,
    /// What kept it. No value is in it.
    pub why: String,
}

/// Why a file can't be told to be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A search was given up.
    #[error("the parameter `{parameter}` can't be applied to {file}: {source}")]
    Exhausted {
        /// The parameter.
        parameter: String,
        /// The file.
        file: String,
        /// Which search.
        source: Exhausted,
    },
    /// The file is larger than parameters can change.
    #[error(
        "the parameter `{parameter}` is about {file}, which is larger than 32 MiB; let its scope match smaller files only"
    )]
    TooLarge {
        /// The parameter.
        parameter: String,
        /// The file.
        file: String,
    },
    /// The file can't take the value.
    #[error("the parameter `{parameter}` can't be applied to {file}: {why}")]
    Impossible {
        /// The parameter.
        parameter: String,
        /// The file.
        file: String,
        /// What keeps it. No value is in it.
        why: String,
    },
}

/// An entry that matched nothing, and did not say that it may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the parameter `{parameter}` changed nothing: its {kind} entry for `{matches}` in scope `{scope}` matched {}{}; correct it, or \
     give it the tag MayMatchNothing if that is all right",
    if *.scoped { "nothing there" } else { "no provider or file" },
    if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) }
)]
pub struct Unmatched {
    /// The parameter.
    pub parameter: String,
    /// The kind of the entry.
    pub kind: Kind,
    /// Its scope.
    pub scope: String,
    /// What it matches.
    pub matches: String,
    /// Whether its scope matched something.
    pub scoped: bool,
    /// What kept it, by file.
    pub why: Vec<String>,
}

/// An entry that only a Windows machine can apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForWindows {
    /// The parameter.
    pub parameter: String,
    /// The kind of the entry.
    pub kind: Kind,
    /// Its scope.
    pub scope: String,
    /// What it matches.
    pub matches: String,
}

/// What one entry does to one file.
pub(super) enum Done {
    /// New bytes, and what of the file could not be changed.
    Changed(Vec<u8>, Option<String>),
    NotThere,
    /// With what keeps it.
    Missed(String),
}

impl Resolved {
    pub(super) fn new(settled: Vec<Settled>) -> Self {
        let entries = settled.iter().map(|settled| settled.parameter.entries.len()).sum();
        Self { settled, seen: Mutex::new(vec![Seen::default(); entries]) }
    }

    /// Every parameter with its value, in the order in which they are applied.
    pub fn settled(&self) -> &[Settled] {
        &self.settled
    }

    /// The value of a parameter, by its name in any letter case.
    pub fn value(&self, name: &str) -> Option<&Value> {
        let folded = super::declare::fold(name);
        let found =
            self.settled.iter().find(|settled| super::declare::fold(&settled.parameter.name) == folded);
        found.map(|settled| &settled.value)
    }

    /// The path that a provider gets in place of the one that it has in the package; `None` when no parameter is about it.
    /// Where several are, the last one counts.
    ///
    /// # Errors
    /// A search was given up.
    pub fn provider_path(&self, provider: &str, path: &str) -> Result<Option<Value>, ApplyError> {
        let mut new = None;
        for (nth, settled, entry) in self.entries() {
            let Matcher::ProviderPath(pattern) = &entry.matcher else { continue };
            let is_match = |pattern: &Pattern, text: &str| {
                pattern
                    .is_match(text)
                    .map_err(|source| exhausted(settled, &format!("`{provider} {path}`"), source))
            };
            if is_match(&entry.scope, provider)? {
                let is_meant = is_match(pattern, path)?;
                self.note(nth, is_meant, None);
                if is_meant {
                    new = Some(settled.value.clone());
                }
            }
        }
        Ok(new)
    }

    /// Whether a parameter is about a file, so that its bytes are needed. `source_path` is the file's path in the package with
    /// backslashes, below the provider's own: `C:\build\shop\web.config`, `app\web.config`.
    ///
    /// # Errors
    /// A search was given up.
    pub fn is_in_scope(&self, source_path: &str) -> Result<bool, ApplyError> {
        for (_, settled, entry) in self.entries() {
            if is_about_files(entry) && scopes(settled, entry, source_path)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Applies all parameters to a file's bytes, one after the other in the order of their declarations; each sees what those
    /// before it left.
    ///
    /// A file that an `XmlFile` entry is about and that is no XML is not changed by it, and is a [`Miss`].
    ///
    /// # Errors
    /// A search was given up, or a file can't take a value. The file must not be installed then.
    pub fn rewrite(&self, source_path: &str, bytes: &[u8]) -> Result<Rewrite, ApplyError> {
        let (mut new, mut by, mut misses, mut in_scope) =
            (None::<Vec<u8>>, Vec::<String>::new(), Vec::new(), false);
        for (nth, settled, entry) in self.entries() {
            if !is_about_files(entry) || !scopes(settled, entry, source_path)? {
                continue;
            }
            in_scope = true;
            let current = new.as_deref().unwrap_or(bytes);
            let name = &settled.parameter.name;
            if current.len() > LARGEST {
                return Err(ApplyError::TooLarge { parameter: name.clone(), file: quoted(source_path) });
            }
            match apply(settled, entry, source_path, current)? {
                Done::Changed(changed, missed) => {
                    new = Some(changed);
                    if !by.contains(name) {
                        by.push(name.clone());
                    }
                    misses.extend(missed.map(|why| Miss { parameter: name.clone(), why }));
                    self.note(nth, true, None);
                }
                Done::NotThere => self.note(nth, false, None),
                Done::Missed(why) => {
                    self.note(nth, false, Some(format!("{}: {why}", quoted(source_path))));
                    misses.push(Miss { parameter: name.clone(), why });
                }
            }
        }
        Ok(match new {
            Some(bytes) => Rewrite::Rewritten { bytes, by, misses },
            None if in_scope => Rewrite::InScopeUnmatched { misses },
            None => Rewrite::Untouched,
        })
    }

    /// The entries that matched nothing so far, save those that may and those for Windows: when all providers and all files of a
    /// package have been asked about, each of them is an error.
    pub fn unmatched(&self) -> Vec<Unmatched> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_missing = |(nth, settled, entry): &(usize, &Settled, &Entry)| {
            let may = entry.may_match_nothing() || settled.parameter.has_tag(super::MAY_MATCH_NOTHING);
            !seen[*nth].matched && !may && !entry.matcher.kind().is_for_windows()
        };
        let told = |(nth, settled, entry): (usize, &Settled, &Entry)| Unmatched {
            parameter: settled.parameter.name.clone(),
            kind: entry.matcher.kind(),
            scope: entry.scope.as_str().to_owned(),
            matches: entry.matcher.to_text(),
            scoped: seen[nth].scoped,
            why: seen[nth].why.clone(),
        };
        self.entries().filter(is_missing).map(told).collect()
    }

    /// The entries that are resolved but can't be applied here.
    pub fn for_windows(&self) -> Vec<ForWindows> {
        self.entries()
            .filter(|(_, _, entry)| entry.matcher.kind().is_for_windows())
            .map(|(_, settled, entry)| ForWindows {
                parameter: settled.parameter.name.clone(),
                kind: entry.matcher.kind(),
                scope: entry.scope.as_str().to_owned(),
                matches: entry.matcher.to_text(),
            })
            .collect()
    }

    /// Every entry with its number and its parameter.
    fn entries(&self) -> impl Iterator<Item = (usize, &Settled, &Entry)> {
        let all = self
            .settled
            .iter()
            .flat_map(|settled| settled.parameter.entries.iter().map(move |entry| (settled, entry)));
        all.enumerate().map(|(nth, (settled, entry))| (nth, settled, entry))
    }

    fn note(&self, nth: usize, matched: bool, why: Option<String>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = &mut seen[nth];
        seen.matched |= matched;
        seen.scoped = true;
        if seen.why.len() < REASONS {
            seen.why.extend(why);
        }
    }
}

fn quoted(path: &str) -> String {
    format!("`{}`", path.escape_debug())
}

fn exhausted(settled: &Settled, file: &str, source: Exhausted) -> ApplyError {
    ApplyError::Exhausted { parameter: settled.parameter.name.clone(), file: file.to_owned(), source }
}

const fn is_about_files(entry: &Entry) -> bool {
    matches!(entry.matcher, Matcher::XmlFile(_) | Matcher::TextFile(_) | Matcher::TextFilePosition(_))
}

fn scopes(settled: &Settled, entry: &Entry, path: &str) -> Result<bool, ApplyError> {
    entry.scope.is_match(path).map_err(|source| exhausted(settled, &quoted(path), source))
}

fn apply(settled: &Settled, entry: &Entry, path: &str, bytes: &[u8]) -> Result<Done, ApplyError> {
    let exhausted = |source| exhausted(settled, &quoted(path), source);
    let done = settled.value.expose_to(|value| match &entry.matcher {
        Matcher::TextFile(pattern) => {
            in_text(bytes, value, |text| Ok(Ok(pattern.replace_all(text, value).map_err(exhausted)?)))
        }
        Matcher::TextFilePosition(position) => in_text(bytes, value, |text| {
            let put = |range: Range<usize>| format!("{}{value}{}", &text[..range.start], &text[range.end..]);
            Ok(position.find(text).map(|range| Some(put(range))))
        }),
        Matcher::XmlFile(xpath) => Ok(xml_file::apply(xpath, bytes, value)),
        Matcher::ProviderPath(_)
        | Matcher::DeploymentObjectAttribute(_)
        | Matcher::DestinationVirtualDirectory(_)
        | Matcher::DestinationBinding(_)
        | Matcher::SqlCommandVariable(_) => Ok(Ok(Done::NotThere)),
    })?;
    done.map_err(|why| ApplyError::Impossible {
        parameter: settled.parameter.name.clone(),
        file: quoted(path),
        why,
    })
}

/// Changes a text file. `change` gives the new text, nothing where nothing matches, or what keeps it. The inner `Err` says why the
/// file can't hold the value.
fn in_text(
    bytes: &[u8],
    value: &str,
    change: impl FnOnce(&str) -> Result<Result<Option<String>, String>, ApplyError>,
) -> Result<Result<Done, String>, ApplyError> {
    let file = match TextFile::decode(bytes) {
        Ok(file) => file,
        Err(why) => return Ok(Ok(Done::Missed(why))),
    };
    Ok(match change(&file.text)? {
        Ok(None) => Ok(Done::NotThere),
        Ok(Some(text)) => file.admits(value).map(|()| Done::Changed(file.encode(&text), None)),
        Err(why) => Ok(Done::Missed(why)),
    })
}
