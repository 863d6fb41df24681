//! From a store or a registry into a directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use staith_model::{Digest, Package, Version, service::Trust};
use tokio_util::sync::CancellationToken;

use super::{Heard, Place, TransferError, files};
use crate::{
    registry::{
        client::Remote,
        manifest::{Descriptor, Manifest},
        names::{Reference as Asked, Tag},
        shelf::StoredManifest,
    },
    store::{Reference, Store, StoreError, Which, oci},
};

/// Versions that are named where the right one is not there.
const SHOWN: usize = 5;

/// A package that is here now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The package. Its content's digest is what the place says; verifying the file shows whether that is true.
    pub package: Package,
    /// The package file.
    pub path: PathBuf,
    /// Digest of the package's manifest.
    pub manifest: Digest,
    /// How far its maker is trusted, where the place says so.
    pub trust: Option<Trust>,
    /// Whether the file was here already.
    pub was_here: bool,
    /// Bytes that an earlier attempt had brought.
    pub resumed: u64,
    /// The files beside it, where they were wanted.
    pub beside: Vec<PathBuf>,
}

/// Brings a package's file into a directory, under [`Package::file_name`]; with `all` also what comes with it and what speaks
/// of it; where several files of that have the same title, the names of all but one begin with their digest. A file has its name when all of it is there and has the right digest. An interrupted pull from a registry is gone
/// on with. `stop` ends it as it ends [`super::push`].
///
/// # Errors
/// See [`TransferError`]. Files beside the package that are there with other content are not replaced.
pub fn pull(
    from: &Place,
    wanted: &Reference,
    to: &Path,
    all: bool,
    heard: &Heard<'_>,
    stop: &CancellationToken,
) -> Result<Pulled, TransferError> {
    fs::create_dir_all(to).map_err(files::at("make", to))?;
    let found = find(from, wanted)?;
    let Found { package, manifest, trust, beside, zip } = found;
    let path = to.join(package.file_name());
    let fetch = Fetch { from, package: &package, to, heard, stop };
    let was_here = files::is_there(&path, &zip.digest)? == Some(true);
    let resumed = if was_here { 0 } else { fetch.file(&zip, &path)? };
    let mut paths = Vec::new();
    if all {
        fetch.beside(&beside, &mut paths)?;
        for files in about(from, &package, &manifest)? {
            fetch.beside(&files, &mut paths)?;
        }
    }
    Ok(Pulled { path, manifest, trust, was_here, resumed, beside: paths, package })
}

struct Fetch<'a> {
    from: &'a Place,
    package: &'a Package,
    to: &'a Path,
    heard: &'a Heard<'a>,
    stop: &'a CancellationToken,
}

impl Fetch<'_> {
    /// Brings one file to its place. Bytes that were here from before.
    fn file(&self, blob: &Descriptor, path: &Path) -> Result<u64, TransferError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let partial = files::partial(self.to, &name, &blob.digest);
        let heard = |done, all| (self.heard)(&name, done, all);
        let resumed = match self.from {
            Place::Store(store) => {
                let mut open = store.get(&blob.digest)?;
                files::copy(&mut open.file, &partial, &|done| heard(done, blob.size), self.stop)?;
                0
            }
            Place::Registry(registry) => registry.fetch(&self.package.name, blob, &partial, &heard)?.resumed,
        };
        files::publish(&partial, path)?;
        Ok(resumed)
    }

    fn beside(&self, blobs: &[Descriptor], paths: &mut Vec<PathBuf>) -> Result<(), TransferError> {
        for blob in blobs {
            // What has no name is for programs, not for people.
            let Some(title) = annotation(blob.annotations.as_ref(), oci::TITLE) else { continue };
            let mut path = self.to.join(files::checked(title)?);
            if paths.contains(&path) && files::is_there(&path, &blob.digest)? == Some(false) {
                // Two say something about the package, each in a file of its own.
                path = self.to.join(files::checked(&format!("{}.{title}", blob.digest.short()))?);
            }
            match files::is_there(&path, &blob.digest)? {
                Some(true) => {}
                Some(false) => return Err(TransferError::InTheWay(path)),
                None => drop(self.file(blob, &path)?),
            }
            paths.push(path);
        }
        Ok(())
    }
}

/// A package, its file, and what comes with it.
struct Found {
    package: Package,
    manifest: Digest,
    trust: Option<Trust>,
    zip: Descriptor,
    beside: Vec<Descriptor>,
}

fn find(from: &Place, wanted: &Reference) -> Result<Found, TransferError> {
    let no_package =
        |why: String| TransferError::NoPackage { place: place(from), wanted: wanted.to_string(), why };
    let (stored, published, trust, which) = match from {
        Place::Store(store) => {
            let published = store.resolve(wanted)?;
            let digest = published.manifest().digest;
            let found = Store::manifest(store, &digest)?;
            let found =
                found.ok_or_else(|| StoreError::Missing { digest, path: store.blob_path(&digest) })?;
            let stored = StoredManifest { digest, media_type: found.media_type, bytes: found.bytes };
            (stored, Some(published.package), None, wanted.which.clone())
        }
        Place::Registry(registry) => {
            let ((stored, trust), which) = ask(registry, wanted)?;
            (stored, None, trust, which)
        }
    };
    let (manifest, _) = Manifest::parse(&stored.bytes, Some(&stored.media_type)).map_err(no_package)?;
    if manifest.artifact_type.as_deref() != Some(oci::PACKAGE) {
        let kind = manifest.artifact_type.as_deref().unwrap_or("an image").escape_default().to_string();
        return Err(no_package(format!("it is {kind}")));
    }
    let mut layers = manifest.layers.unwrap_or_default().into_iter();
    let zip = layers.next().ok_or_else(|| no_package("it has no file".to_owned()))?;
    if zip.media_type != oci::ZIP {
        return Err(no_package(format!("its file is {}", zip.media_type.escape_default())));
    }
    let package = match published {
        Some(package) => package,
        None => {
            let said = |key| annotation(manifest.annotations.as_ref(), key);
            let version = said(oci::VERSION).and_then(|version| version.parse().ok());
            let version: Version =
                version.ok_or_else(|| no_package("it does not say its version".to_owned()))?;
            if is_another(&which, &version) {
                return Err(no_package(format!("it says that it is the version {version}")));
            }
            let content = said(oci::CONTENT).and_then(|content| content.parse().ok()).unwrap_or(zip.digest);
            Package { name: wanted.name.clone(), version, digest: zip.digest, content, size: zip.size }
        }
    };
    Ok(Found { package, manifest: stored.digest, trust, zip, beside: layers.collect() })
}

/// Whether somebody gave one version the tag of another.
fn is_another(which: &Which, version: &Version) -> bool {
    let Which::Named(text) = which else { return false };
    tag_of(text).is_some_and(|tag| tag.reads_as_version()) && version.as_str() != text
}

fn tag_of(text: &str) -> Option<Tag> {
    text.replace('+', "_").parse().ok()
}

fn annotation<'a>(all: Option<&'a serde_json::Map<String, serde_json::Value>>, key: &str) -> Option<&'a str> {
    all.and_then(|all| all.get(key)?.as_str())
}

fn place(from: &Place) -> String {
    match from {
        Place::Store(_) => "the store".to_owned(),
        Place::Registry(registry) => registry.place(),
    }
}

/// A manifest, and how far its registry trusts whoever made it.
type Vouched = (StoredManifest, Option<Trust>);

/// The manifest of what is wanted, and what that is exactly.
fn ask(registry: &Remote, wanted: &Reference) -> Result<(Vouched, Which), TransferError> {
    let name = &wanted.name;
    let asked = match &wanted.which {
        Which::Latest => tag_of(Tag::LATEST).map(Asked::Tag),
        Which::Named(text) => tag_of(text).map(Asked::Tag),
        Which::Digest(digest) => Some(Asked::Digest(*digest)),
    };
    if let Some(asked) = asked
        && let Some(found) = registry.manifest_vouched(name, &asked)?
    {
        return Ok((found, wanted.which.clone()));
    }
    let mut tags = registry.tags(name)?;
    tags.retain(|tag| tag.parse::<Tag>().is_ok() && !tag.starts_with("sha256-"));
    if let Some(tag) = completed(&wanted.which, &tags)
        && let Some(found) = registry.manifest_vouched(name, &Asked::Tag(tag.clone()))?
    {
        return Ok((found, Which::Named(tag.as_str().replace('_', "+"))));
    }
    let known = match tags.split_off(tags.len().saturating_sub(SHOWN)) {
        some if some.is_empty() => "it has no package of that name".to_owned(),
        some => {
            let more = if tags.is_empty() { String::new() } else { format!(" and {} more", tags.len()) };
            format!("of that name it has {}{more}", some.join(", ").replace('_', "+"))
        }
    };
    Err(TransferError::Unknown { place: registry.place(), wanted: wanted.to_string(), known })
}

/// The one tag that has build metadata beside what is wanted: `1.0.0` means `1.0.0+c.3f2a` where there is no other like it. Of several
/// nobody knows here which came last.
fn completed(which: &Which, tags: &[String]) -> Option<Tag> {
    let Which::Named(text) = which else { return None };
    let wanted = tag_of(text).filter(Tag::reads_as_version)?;
    let is_meant =
        |tag: &&String| tag.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.starts_with('_'));
    let mut meant = tags.iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(tag), None) => tag.parse().ok(),
        _ => None,
    }
}

/// The files of what speaks of a package.
fn about(from: &Place, package: &Package, manifest: &Digest) -> Result<Vec<Vec<Descriptor>>, TransferError> {
    let mut found = Vec::new();
    match from {
        Place::Store(store) => {
            for referrer in store.referrers(manifest)? {
                let stored = Store::manifest(store, &referrer.manifest.digest)?;
                found.extend(stored.map(|it| (it.bytes, it.media_type)));
            }
        }
        Place::Registry(registry) => {
            for digest in registry.referrers(&package.name, manifest)? {
                let stored = registry.manifest(&package.name, &Asked::Digest(digest))?;
                found.extend(stored.map(|it| (it.bytes, it.media_type)));
            }
        }
    }
    // What can't be read as an image says nothing that could be a file.
    let parsed = found.iter().filter_map(|(bytes, kind)| Manifest::parse(bytes, Some(kind)).ok());
    Ok(parsed.filter_map(|(manifest, _)| manifest.layers).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_completed_where_one_is_meant() {
        let of = |text: &str, tags: &[&str]| {
            let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
            completed(&Which::Named(text.to_owned()), &tags).map(|tag| tag.as_str().to_owned())
        };
        let tags = ["1.0.0_c.0123", "1.0.01_c.4", "stable", "2.0.0_c.1", "2.0.0_c.2"];
        assert_eq!(of("1.0.0", &tags).as_deref(), Some("1.0.0_c.0123"));
        assert_eq!(of("2.0.0", &tags), None, "two are meant");
        assert_eq!(of("stab", &tags), None);
        assert_eq!(completed(&Which::Latest, &[]), None);
    }
}
