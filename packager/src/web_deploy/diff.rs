//! How two packages differ: files, parameters, providers.
//!
//! Files are compared by what they are below their root, so that a package that was built in another directory compares with
//! one that was not. Digests say whether two files are the same where Staith made both packages. Otherwise lengths and checksums
//! tell files apart, and content has the last word: 32 bits of checksum are the same for many contents.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
};

use rayon::prelude::*;
use serde::Serialize;
use staith_model::{Digest, DigestStream};

use super::{
    ItemKind, PackageReader, ReadError,
    archive::Provider,
    read::{ContentRoot, Declared},
    secrecy::{HIDDEN, holds_a_password, names_a_secret},
};

/// How one package differs from another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Files, directories and links, by path.
    pub files: Vec<Change<FileFact>>,
    /// Declared parameters, by name.
    pub parameters: Vec<Change<TextFact>>,
    /// Providers, by their place in the tree: `iisApp/createApp`, `setAcl[2]`.
    pub providers: Vec<Change<TextFact>>,
}

impl Difference {
    /// Whether the packages bring the same. Their bytes may still differ: in times, order, compression.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.parameters.is_empty() && self.providers.is_empty()
    }
}

/// One thing that is not in both packages as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change<F> {
    /// Path, or name.
    pub name: String,
    /// What happened to it.
    pub what: What,
    /// What is different, where it is in both packages; what it is, where it is in one.
    pub facts: Vec<F>,
}

/// What happened to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It is in the second package only.
    Added,
    /// It is in the first package only.
    Removed,
    /// It is in both, and not the same.
    Changed,
}

/// What is different about a file; `None` stands for a package that does not have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
pub enum FileFact {
    /// Its bytes. Both lengths may be the same.
    Bytes {
        /// Length in bytes in the first package.
        old: Option<u64>,
        /// Length in bytes in the second package.
        new: Option<u64>,
    },
    /// Its Unix permission bits.
    Mode {
        /// In the first package.
        old: u32,
        /// In the second package.
        new: u32,
    },
    /// What a symbolic link says.
    Target {
        /// In the first package.
        old: Option<String>,
        /// In the second package.
        new: Option<String>,
    },
    /// Whether it is a file, a directory or a link.
    Kind {
        /// In the first package.
        old: Option<&'static str>,
        /// In the second package.
        new: Option<&'static str>,
    },
}

/// What is different about a parameter or a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TextFact {
    /// Which property.
    pub property: String,
    /// In the first package; `None` if it is not there.
    pub old: Option<String>,
    /// In the second package; `None` if it is not there.
    pub new: Option<String>,
}

/// Says how `new` differs from `old`. Inflates the files that lengths, checksums and digests leave in doubt, on all cores of the
/// caller's rayon pool; writes nothing.
///
/// Values that look like secrets are compared, and shown as `(hidden)`.
///
/// # Errors
/// An entry that had to be read is not what it says.
pub fn diff(old: &PackageReader, new: &PackageReader) -> Result<Difference, ReadError> {
    Ok(Difference {
        files: files(old, new)?,
        parameters: texts(&parameters(old)?, &parameters(new)?),
        providers: texts(&providers(old)?, &providers(new)?),
    })
}

/// The content of a package by path. Roots are told apart by their place only where there are several.
fn content(package: &PackageReader) -> BTreeMap<String, ItemKind> {
    let roots = package.content_roots();
    let above = ContentRoot::places(&roots);
    let mut content = BTreeMap::new();
    for (root, above) in roots.iter().zip(above) {
        content.extend(package.items(root).map(|item| (format!("{above}{}", item.path), item.kind)));
    }
    content
}

fn files(old: &PackageReader, new: &PackageReader) -> Result<Vec<Change<FileFact>>, ReadError> {
    let (mut before, mut after) = (content(old), content(new));
    let has_directories = |package: &PackageReader| package.dialect() == super::Dialect::Archive;
    if !has_directories(old) || !has_directories(new) {
        // One of the two can't tell of its directories.
        let is_file = |_: &String, kind: &mut ItemKind| *kind != ItemKind::Directory;
        before.retain(is_file);
        after.retain(is_file);
    }
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let compared: Vec<_> = names
        .into_par_iter()
        .map(|name| {
            let (was, is) = (before.get(name), after.get(name));
            let what = what(was.is_some(), is.is_some());
            let facts = match (was, is) {
                (Some(was), Some(is)) => compare((old, was), (new, is))?,
                (was, is) => vec![alone(was, is)],
            };
            let change = Change { name: name.clone(), what, facts };
            Ok((change.what != What::Changed || !change.facts.is_empty()).then_some(change))
        })
        .collect();
    compared.into_iter().filter_map(Result::transpose).collect()
}

const fn what(was: bool, is: bool) -> What {
    match (was, is) {
        (false, _) => What::Added,
        (true, false) => What::Removed,
        (true, true) => What::Changed,
    }
}

fn size(kind: &ItemKind) -> Option<u64> {
    if let ItemKind::File { size, .. } = kind { Some(*size) } else { None }
}

const fn kind(kind: &ItemKind) -> &'static str {
    match kind {
        ItemKind::Directory => "directory",
        ItemKind::File { .. } => "file",
        ItemKind::Symlink { .. } => "link",
    }
}

/// What there is to say of something that only one package has.
fn alone(was: Option<&ItemKind>, is: Option<&ItemKind>) -> FileFact {
    let target = |kind: Option<&ItemKind>| match kind {
        Some(ItemKind::Symlink { target }) => Some(target.clone()),
        _ => None,
    };
    match was.or(is) {
        Some(ItemKind::Symlink { .. }) => FileFact::Target { old: target(was), new: target(is) },
        Some(ItemKind::File { .. }) => FileFact::Bytes { old: was.and_then(size), new: is.and_then(size) },
        _ => FileFact::Kind { old: was.map(kind), new: is.map(kind) },
    }
}

type Held<'a> = (&'a PackageReader, &'a ItemKind);

fn compare((old, was): Held<'_>, (new, is): Held<'_>) -> Result<Vec<FileFact>, ReadError> {
    let mut facts = Vec::new();
    match (was, is) {
        (ItemKind::Directory, ItemKind::Directory) => {}
        (ItemKind::Symlink { target: was }, ItemKind::Symlink { target: is }) => {
            if was != is {
                facts.push(FileFact::Target { old: Some(was.clone()), new: Some(is.clone()) });
            }
        }
        (ItemKind::File { mode: mode_was, .. }, ItemKind::File { mode: mode_is, .. }) => {
            if !is_same((old, was), (new, is))? {
                facts.push(FileFact::Bytes { old: size(was), new: size(is) });
            }
            // Packages of other tools have no modes: nothing can be said of them.
            if let (Some(was), Some(is)) = (mode_was, mode_is)
                && was != is
            {
                facts.push(FileFact::Mode { old: *was, new: *is });
            }
        }
        _ => facts.push(FileFact::Kind { old: Some(kind(was)), new: Some(kind(is)) }),
    }
    Ok(facts)
}

/// Whether two files hold the same bytes.
fn is_same((old, was): Held<'_>, (new, is): Held<'_>) -> Result<bool, ReadError> {
    let (
        ItemKind::File { entry: was, size: old_size, crc: old_crc, digest: old_digest, .. },
        ItemKind::File { entry: is, size: new_size, crc: new_crc, digest: new_digest, .. },
    ) = (was, is)
    else {
        return Ok(false);
    };
    if let (Some(old), Some(new)) = (old_digest, new_digest) {
        return Ok(old == new);
    }
    if (old_size, old_crc) != (new_size, new_crc) {
        return Ok(false);
    }
    Ok(hash(old, *was)? == hash(new, *is)?)
}

/// The digest of an entry's content.
fn hash(package: &PackageReader, entry: usize) -> Result<Digest, ReadError> {
    struct Hashing(DigestStream);

    impl io::Write for Hashing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut hashing = Hashing(DigestStream::new());
    package.read_entry(entry, &mut hashing)?;
    Ok(hashing.0.finish())
}

/// Properties with their values; those of secrets are compared but never shown.
#[derive(Debug, Default, PartialEq, Eq)]
struct Properties(BTreeMap<String, (String, bool)>);

impl Properties {
    fn say(&mut self, property: impl Into<String>, value: impl Into<String>, is_secret: bool) {
        let value = value.into();
        let is_secret = is_secret || holds_a_password(&value);
        self.0.insert(property.into(), (value, is_secret));
    }
}

fn texts(old: &BTreeMap<String, Properties>, new: &BTreeMap<String, Properties>) -> Vec<Change<TextFact>> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let none = Properties::default();
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| {
            let (was, is) = (old.get(name), new.get(name));
            let facts = compare_properties(was.unwrap_or(&none), is.unwrap_or(&none));
            Change { name: name.clone(), what: what(was.is_some(), is.is_some()), facts }
        })
        .collect()
}

fn compare_properties(was: &Properties, is: &Properties) -> Vec<TextFact> {
    let names: BTreeSet<&String> = was.0.keys().chain(is.0.keys()).collect();
    let shown = |value: Option<&(String, bool)>| match value {
        Some((_, true)) => Some(HIDDEN.to_owned()),
        Some((value, false)) => Some(value.clone()),
        None => None,
    };
    names
        .into_iter()
        .filter(|name| was.0.get(*name) != is.0.get(*name))
        .map(|name| TextFact {
            property: name.clone(),
            old: shown(was.0.get(name)),
            new: shown(is.0.get(name)),
        })
        .collect()
}

fn parameters(package: &PackageReader) -> Result<BTreeMap<String, Properties>, ReadError> {
    let declared = package.declared_parameters()?;
    Ok(declared.into_iter().map(|declared| (declared.name.clone(), properties(&declared))).collect())
}

fn properties(declared: &Declared) -> Properties {
    let mut properties = Properties::default();
    if let Some(description) = &declared.description {
        properties.say("description", description, false);
    }
    if let Some(default) = &declared.default {
        properties.say("default", default, declared.is_secret());
    }
    if !declared.tags.is_empty() {
        properties.say("tags", declared.tags.join(", "), false);
    }
    for (nth, entry) in declared.entries.iter().enumerate() {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let said = format!("{} in `{}`: `{}`", entry.kind, part(&entry.scope), part(&entry.matched));
        properties.say(format!("entry {}", nth + 1), said, false);
    }
    properties
}

fn providers(package: &PackageReader) -> Result<BTreeMap<String, Properties>, ReadError> {
    let mut naming = Naming { package, named: BTreeMap::new(), streams: HashMap::new() };
    naming.name(&package.archive().providers, "")?;
    Ok(naming.named)
}

/// Providers on their way to names.
struct Naming<'p> {
    package: &'p PackageReader,
    named: BTreeMap<String, Properties>,
    /// Digests by entry: each is read once, however many providers name it.
    streams: HashMap<usize, Digest>,
}

impl Naming<'_> {
    /// Names providers by their names and, from the second of a name on, by their number.
    fn name(&mut self, providers: &[Provider], above: &str) -> Result<(), ReadError> {
        let mut seen = BTreeMap::<String, usize>::new();
        for provider in providers {
            let times = seen.entry(provider.name.to_lowercase()).or_default();
            *times += 1;
            let number = if *times > 1 { format!("[{times}]") } else { String::new() };
            let name = format!("{above}{}{number}", provider.name);
            let mut properties = provider_properties(provider);
            if let Some(content) = self.stream(provider)? {
                properties.say("content", content.to_string(), false);
            }
            self.named.insert(name.clone(), properties);
            self.name(&provider.children, &format!("{name}/"))?;
        }
        Ok(())
    }

    /// The digest of a provider's bytes. Names of streams are random: what is in them counts.
    fn stream(&mut self, provider: &Provider) -> Result<Option<Digest>, ReadError> {
        let Some(entry) = provider.stream.as_deref().and_then(|stream| self.package.find(stream)) else {
            return Ok(None);
        };
        if let Some(known) = self.streams.get(&entry) {
            return Ok(Some(*known));
        }
        let digest = hash(self.package, entry)?;
        self.streams.insert(entry, digest);
        Ok(Some(digest))
    }
}

fn provider_properties(provider: &Provider) -> Properties {
    let mut properties = Properties::default();
    if let Some(path) = &provider.path {
        properties.say("path", path, false);
    }
    for attribute in &provider.attributes {
        properties.say(&attribute.name, attribute.value.to_string(), names_a_secret(&attribute.name));
    }
    for setting in provider.options.iter().flat_map(|options| &options.settings) {
        let value = setting.value.clone().unwrap_or_default();
        properties.say(format!("option {}", setting.name), value, names_a_secret(&setting.name));
    }
    properties
}
