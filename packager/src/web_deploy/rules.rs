//! Which trees can't become a package, and what to do about it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use staith_model::{Entry, Manifest, RelPath};

use super::{
    container,
    layout::{Body, Slot, directories, name_of},
    limits, portable,
};

/// A rule that a tree breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Rule {
    /// A name that another system can't hold.
    #[error("{0}; rename it, or keep it out of the package")]
    Name(#[from] portable::NameFlaw),
    /// Two paths that differ in case only.
    #[error("names that differ in case only are one file on Windows; rename all but one")]
    CaseClash,
    /// The whole path is too long.
    #[error("the path in the package is longer than 4,096 bytes, the most that Linux takes; shorten it")]
    PathTooLong,
    /// A path below something that is no directory.
    #[error("something lies below it, but it is no directory; list the tree again")]
    NotADirectory,
    /// A mode with more than permission bits.
    #[error("its mode has bits beyond 0777 (set-user-id, set-group-id or sticky); take them away")]
    Mode,
    /// A link out of the tree.
    #[error(
        "the symbolic link leads out of the package, where other machines have other things; make it relative and \
         let it stay inside, or copy what it points at"
    )]
    Link,
    /// A file that Web Deploy can't hold.
    #[error("Web Deploy takes files of up to 2,147,483,647 bytes; split it, or deliver it by other means")]
    FileTooLarge,
    /// The package as a whole is too large. Lists the largest files.
    #[error(
        "the package would be larger than 4 GiB, the most that Web Deploy takes; these are the largest files: split \
         the package, or keep some out of it"
    )]
    PackageTooLarge,
    /// Too many entries. Lists the directories that hold the most.
    #[error(
        "the package would have more than 65,534 entries, the most that a plain zip holds; these top directories hold \
         the most: split the package, or keep some out of it"
    )]
    TooManyEntries,
}

/// A broken rule, with the paths that break it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The rule.
    pub rule: Rule,
    /// The offenders, sorted.
    pub paths: Vec<String>,
}

/// Everything about a tree that keeps it from becoming a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals(pub Vec<Refusal>);

/// Paths shown of each rule; the rest is counted, so that a message about ten thousand files stays readable.
const SHOWN: usize = 20;

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, refusal) in self.0.iter().enumerate() {
            let shown: Vec<_> =
                refusal.paths.iter().take(SHOWN).map(|path| format!("`{}`", path.escape_debug())).collect();
            let (line, rest) = (if nth == 0 { "" } else { "\n" }, refusal.paths.len().saturating_sub(SHOWN));
            write!(f, "{line}{}", shown.join(", "))?;
            if rest > 0 {
                write!(f, " and {rest} more")?;
            }
            write!(f, ": {}", refusal.rule)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusals {}

/// Refuses a tree that not every system can hold. Everything that is wrong is told at once.
pub(super) fn check(manifest: &Manifest) -> Result<(), Refusals> {
    let mut broken: BTreeMap<Rule, Vec<String>> = BTreeMap::new();
    let mut refuse = |rule, path: &RelPath| broken.entry(rule).or_default().push(path.to_string());
    for (path, entry) in &manifest.entries {
        if let Some(flaw) = path.as_str().split('/').find_map(portable::flaw) {
            refuse(Rule::Name(flaw), path);
        }
        if name_of(path).len() >= limits::MAX_NAME_BYTES {
            refuse(Rule::PathTooLong, path);
        }
        match entry {
            Entry::File { mode, .. } if mode & !0o777 != 0 => refuse(Rule::Mode, path),
            Entry::File { size, .. } if *size > limits::MAX_FILE_BYTES => refuse(Rule::FileTooLarge, path),
            Entry::Symlink { target } if leaves_tree(path, target) => refuse(Rule::Link, path),
            _ => {}
        }
        if let Some(parent) = path.parent()
            && manifest.entries.get(&parent).is_some_and(|above| *above != Entry::Directory)
        {
            refuse(Rule::NotADirectory, &parent);
        }
    }
    for path in case_clashes(manifest) {
        refuse(Rule::CaseClash, &path);
    }
    let refusals: Vec<_> = broken
        .into_iter()
        .map(|(rule, mut paths)| {
            paths.sort();
            paths.dedup();
            Refusal { rule, paths }
        })
        .collect();
    if refusals.is_empty() { Ok(()) } else { Err(Refusals(refusals)) }
}

/// Whether a link at `path` leads out of the tree, going by the words alone.
///
/// What words can't tell (links through links) the kernel resolves at run time inside the release's own directory.
fn leaves_tree(path: &RelPath, target: &str) -> bool {
    if target.is_empty() || target.starts_with('/') || target.contains('\0') {
        return true;
    }
    let mut depth = path.as_str().matches('/').count();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

/// Paths, implied directories included, of which another differs in case only. Of whole directories only the top is named.
fn case_clashes(manifest: &Manifest) -> Vec<RelPath> {
    let directories = directories(manifest);
    let mut seen: HashMap<String, &RelPath> = HashMap::with_capacity(manifest.entries.len());
    let mut clashes = Vec::new();
    for path in manifest.entries.keys().chain(&directories) {
        if let Some(other) = seen.insert(portable::fold(path.as_str()), path)
            && other != path
        {
            let (mut a, mut b) = (other.clone(), path.clone());
            while let (Some(above_a), Some(above_b)) = (a.parent(), b.parent()) {
                if above_a == above_b {
                    break;
                }
                (a, b) = (above_a, above_b);
            }
            clashes.extend([a, b]);
        }
    }
    clashes
}

/// Refuses what is too much as a whole, assuming that nothing can be compressed.
pub(super) fn check_size(slots: &[Slot]) -> Result<(), Refusals> {
    let refuse = |rule, paths| Err(Refusals(vec![Refusal { rule, paths }]));
    if slots.len() > limits::MAX_ENTRIES {
        return refuse(Rule::TooManyEntries, fullest(slots));
    }
    let headers = |slot: &Slot| container::LOCAL + container::CENTRAL + 2 * slot.name.len() as u64;
    let total: u64 = slots.iter().map(|slot| headers(slot) + size_of(slot)).sum();
    if total + container::END > limits::MAX_PACKAGE_BYTES {
        return refuse(Rule::PackageTooLarge, largest(slots));
    }
    Ok(())
}

fn size_of(slot: &Slot) -> u64 {
    match &slot.body {
        Body::Directory => 0,
        Body::Text(text) => text.len() as u64,
        Body::File { size, .. } => *size,
    }
}

/// Offenders named where all offend together.
const NAMED: usize = 5;

fn largest(slots: &[Slot]) -> Vec<String> {
    let mut files: Vec<_> = slots
        .iter()
        .filter_map(|slot| match &slot.body {
            Body::File { path, size, .. } => Some((*size, path)),
            _ => None,
        })
        .collect();
    files.sort_by(|a, b| b.cmp(a));
    files.into_iter().take(NAMED).map(|(size, path)| format!("{path} ({size} bytes)")).collect()
}

fn fullest(slots: &[Slot]) -> Vec<String> {
    let mut tops: BTreeMap<&str, usize> = BTreeMap::new();
    for slot in slots {
        let path = slot.name.split('/').nth(2).filter(|top| !top.is_empty());
        *tops.entry(path.unwrap_or(".")).or_default() += 1;
    }
    let mut tops: Vec<_> = tops.into_iter().map(|(top, entries)| (entries, top)).collect();
    tops.sort_by(|a, b| b.cmp(a));
    tops.into_iter().take(NAMED).map(|(entries, top)| format!("{top} ({entries} entries)")).collect()
}
