//! Files, directories and links by path.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use staith_model::Digest;

use super::{Change, FileFact, What, what};
use crate::{
    hashing::Hashing,
    web_deploy::{Dialect, ItemKind, PackageReader, ReadError, read::ContentRoot},
};

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

/// How the files of two packages differ.
pub(super) fn compare(old: &PackageReader, new: &PackageReader) -> Result<Vec<Change<FileFact>>, ReadError> {
    let (mut before, mut after) = (content(old), content(new));
    let has_directories = |package: &PackageReader| package.dialect() == Dialect::Archive;
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
                (Some(was), Some(is)) => facts((old, was), (new, is))?,
                (was, is) => vec![alone(was, is)],
            };
            let change = Change { name: name.clone(), what, facts };
            Ok((change.what != What::Changed || !change.facts.is_empty()).then_some(change))
        })
        .collect();
    compared.into_iter().filter_map(Result::transpose).collect()
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

fn facts((old, was): Held<'_>, (new, is): Held<'_>) -> Result<Vec<FileFact>, ReadError> {
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
pub(super) fn hash(package: &PackageReader, entry: usize) -> Result<Digest, ReadError> {
    let mut hashing = Hashing::only();
    package.read_entry(entry, &mut hashing)?;
    Ok(hashing.told().0)
}
