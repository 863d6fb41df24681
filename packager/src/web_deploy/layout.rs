//! Which entries a package has, and in which order.

use std::collections::BTreeSet;

use staith_model::{Digest, Entry, Manifest, RelPath};

use crate::parameters::Declarations;

use super::{
    metadata::{self, ROOT},
    rules::{self, Refusals},
    sealed,
};

/// One entry to be.
#[derive(Debug)]
pub(super) struct Slot {
    /// The name in the zip.
    pub(super) name: String,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    Directory,
    /// Bytes that are made here.
    Text(Vec<u8>),
    /// A file of the tree.
    File {
        path: RelPath,
        size: u64,
        digest: Digest,
    },
}

/// Every entry of the package for `manifest` with the declared `parameters`, in order.
pub(super) fn plan(manifest: &Manifest, parameters: &Declarations) -> Result<Vec<Slot>, Refusals> {
    rules::check(manifest)?;
    let content = content(manifest);
    // A manifest of our own types always has a spelling as JSON.
    let sealed = sealed::encode(manifest, manifest.digest()).unwrap_or_default();
    let text = |name: &str, text: &[u8]| Slot { name: name.to_owned(), body: Body::Text(text.to_owned()) };
    let mut slots = Vec::with_capacity(content.len() + 4);
    slots.push(text(metadata::ARCHIVE_XML, metadata::ARCHIVE.as_bytes()));
    slots.extend(content);
    slots.push(text(metadata::PARAMETERS_XML, parameters.with_application().to_xml().as_bytes()));
    slots.push(text(metadata::MANIFEST_JSON, &sealed));
    slots.push(text(metadata::SYSTEM_INFO_XML, metadata::SYSTEM_INFO.as_bytes()));
    rules::check_size(&slots)?;
    Ok(slots)
}

/// Directories and files as Web Deploy orders them: name by name ignoring case, a directory before what it holds.
///
/// Case is ignored for ASCII only: tables for the rest grow with every Unicode version, and bytes must not change with them.
fn content(manifest: &Manifest) -> Vec<Slot> {
    let mut slots: Vec<_> = unordered(manifest).collect();
    slots.sort_by_cached_key(|slot| {
        let folded = slot.name.to_ascii_uppercase().replace('/', "\0");
        (folded, slot.name.clone())
    });
    slots
}

fn unordered(manifest: &Manifest) -> impl Iterator<Item = Slot> {
    let root = Slot { name: format!("Content/{ROOT}/"), body: Body::Directory };
    let directories = directories(manifest)
        .into_iter()
        .map(|path| Slot { name: format!("{}/", name_of(&path)), body: Body::Directory });
    let files = manifest.entries.iter().filter_map(|(path, entry)| match entry {
        Entry::File { size, digest, .. } => Some(Slot {
            name: name_of(path),
            body: Body::File { path: path.clone(), size: *size, digest: *digest },
        }),
        Entry::Directory | Entry::Symlink { .. } => None,
    });
    std::iter::once(root).chain(directories).chain(files)
}

/// Every directory of the tree, implied ones included. Each needs an entry: Web Deploy skips content below one that has none, and calls that success.
pub(super) fn directories(manifest: &Manifest) -> BTreeSet<RelPath> {
    let mut all = BTreeSet::new();
    for (path, entry) in &manifest.entries {
        let mut next = match entry {
            Entry::Directory => Some(path.clone()),
            Entry::File { .. } | Entry::Symlink { .. } => path.parent(),
        };
        while let Some(path) = next {
            next = path.parent();
            if !all.insert(path) {
                break;
            }
        }
    }
    all
}

/// Names of the entries below `Content/` that the package of `manifest` has, in no order.
pub(super) fn content_names(manifest: &Manifest) -> impl Iterator<Item = String> {
    unordered(manifest).map(|slot| slot.name)
}

/// Where the content of a package of ours lies.
pub(super) const CONTENT: &str = "Content/app";

/// The name in the zip of a file of the tree.
pub(super) fn name_of(path: &RelPath) -> String {
    format!("Content/{ROOT}/{path}")
}
