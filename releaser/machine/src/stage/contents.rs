//! Which contents there are on the machine: found by digest and mode among the files of all releases.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use staith_model::{Digest, Entry, Manifest};

use super::{Site, reuse::Kept};
use crate::{
    protocol::Asked,
    refusal::{self, Outcome},
    spec::{self, Manifests},
    state,
    tree::{self, Wrong, is_executable, kept_mode},
    verified::{Mark, Verified},
};

/// What two files must have in common to be one on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    digest: Digest,
    executable: bool,
    private: bool,
}

/// A content of the release.
struct Wanted {
    key: Key,
    size: u64,
    /// Places in the manifest; the first stands for all where nothing is there yet.
    places: Vec<u32>,
    /// Places where it is already.
    kept: Vec<u32>,
    /// Where it may be found.
    sources: Vec<PathBuf>,
    there: bool,
}

/// All contents of the release.
pub(super) struct Contents {
    wanted: Vec<Wanted>,
    linked: u64,
}

struct Source {
    root: PathBuf,
    manifest: PathBuf,
    known: Option<Arc<Manifest>>,
}

impl Contents {
    /// Says where each content may be found. Nothing is looked at but manifests.
    pub(super) fn plan(
        site: &Site<'_>,
        base: Option<Digest>,
        manifests: &mut Manifests,
        kept: &Kept,
    ) -> Outcome<Self> {
        let mut sources = sources(site, base, manifests)?;
        let first = sources.first().and_then(|source| Some((source.root.clone(), source.known.clone()?)));
        let mut wanted = wanted(site, kept);
        let mut missing: HashMap<Key, usize> = HashMap::new();
        for (nth, content) in wanted.iter_mut().enumerate() {
            if content.key.private || content.there {
                continue;
            }
            if let Some((root, manifest)) = &first
                && let Some((path, _)) = entry_at(site, content.places[0])
                && manifest.entries.get(path).and_then(key_of) == Some(content.key)
            {
                content.sources.push(root.join(path.as_str()));
            }
            // A release that is built anew may be damaged: the others are looked at, too.
            let own =
                first.as_ref().is_some_and(|(root, _)| *root == site.layout.release(&site.stage.release));
            if own || content.sources.is_empty() {
                missing.insert(content.key, nth);
            }
        }
        for source in &mut sources {
            if missing.is_empty() {
                break;
            }
            for (key, path) in source.find(&missing) {
                if let Some(nth) = missing.get(&key) {
                    wanted[*nth].sources.push(path);
                }
            }
        }
        Ok(Self { wanted, linked: 0 })
    }

    /// Links what is there, verified, into the new tree. What is damaged is taken for lacking.
    pub(super) fn link(&mut self, site: &Site<'_>, verified: &Verified) -> Outcome<Vec<(u64, Mark)>> {
        let marks = tree::together(&self.wanted, |content| {
            if content.there || content.sources.is_empty() {
                return Ok(None);
            }
            if site.session.flags().stop() {
                return Err(Asked::Cancelled);
            }
            let Some((path, _)) = entry_at(site, content.places[0]) else { return Ok(None) };
            let at = site.scratch.join(path.as_str());
            for source in &content.sources {
                if let Some(mark) = link_verified(source, &at, content, verified, site)? {
                    return Ok(Some(mark));
                }
            }
            Ok(None)
        })?;
        for (content, mark) in self.wanted.iter_mut().zip(&marks) {
            content.there |= mark.is_some();
            self.linked += if content.there { content.places.len() as u64 } else { 0 };
        }
        Ok(marks.into_iter().flatten().collect())
    }

    /// Places of the contents that have to come, in ascending order.
    pub(super) fn lacking(&self) -> Vec<u32> {
        let mut places: Vec<u32> =
            self.wanted.iter().filter(|content| !content.there).map(|content| content.places[0]).collect();
        places.sort_unstable();
        places
    }

    /// How many files are in place by links.
    pub(super) const fn linked(&self) -> u64 {
        self.linked
    }

    /// Gives the other files with the same content theirs.
    pub(super) fn repeat(&self, site: &Site<'_>) -> Outcome<Vec<(u64, Mark)>> {
        let mut marks = Vec::new();
        for content in self.wanted.iter().filter(|content| content.places.len() > 1) {
            let stands = content.kept.first().unwrap_or(&content.places[0]);
            let Some((first, _)) = entry_at(site, *stands) else { continue };
            let source = site.scratch.join(first.as_str());
            let others =
                content.places.iter().filter(|place| *place != stands && !content.kept.contains(place));
            let paths: Vec<_> = others.filter_map(|place| entry_at(site, *place)).collect();
            if paths.is_empty() {
                continue;
            }
            for (path, _) in paths {
                let at = site.scratch.join(path.as_str());
                marks.extend(link_or_copy(&source, &at, content).map_err(refusal::io("link", &at))?);
            }
            let metadata = fs::symlink_metadata(&source).map_err(refusal::io("look at", &source))?;
            marks.push((metadata.ino(), Mark::of(&metadata, content.key.digest)));
        }
        Ok(marks)
    }
}

pub(super) fn entry_at<'a>(site: &'a Site<'_>, place: u32) -> Option<(&'a staith_model::RelPath, &'a Entry)> {
    site.entries.get(place as usize).copied()
}

fn wanted(site: &Site<'_>, kept: &Kept) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut known: HashMap<Key, usize> = HashMap::new();
    for (place, (path, entry)) in site.entries.iter().enumerate() {
        let (Some(mut key), Entry::File { size, .. }) = (key_of(entry), entry) else { continue };
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        key.private = site.stage.private.contains(*path);
        let nth = *known.entry(key).or_insert_with(|| {
            let (places, kept, sources) = (Vec::new(), Vec::new(), Vec::new());
            wanted.push(Wanted { key, size: *size, places, kept, sources, there: false });
            wanted.len() - 1
        });
        wanted[nth].places.push(place);
        if kept.file(place) {
            wanted[nth].kept.push(place);
            wanted[nth].there = true;
        }
    }
    wanted
}

fn key_of(entry: &Entry) -> Option<Key> {
    let Entry::File { mode, digest, .. } = entry else { return None };
    Some(Key { digest: *digest, executable: is_executable(*mode), private: false })
}

/// The releases that are there: first the one that most will come from.
fn sources(site: &Site<'_>, base: Option<Digest>, manifests: &mut Manifests) -> Outcome<Vec<Source>> {
    let current = state::pointed(&site.layout.current())?;
    let mut releases = spec::releases(site.layout)?;
    releases.sort_by_key(|(release, spec)| {
        (Some(spec.manifest) != base, *release != site.stage.release, Some(*release) != current)
    });
    let mut sources = Vec::new();
    for (release, spec) in releases {
        let known = match sources.is_empty() {
            true => manifests.find(site.layout, spec.manifest)?,
            false => None,
        };
        let manifest = site.layout.beside(&release, "manifest");
        sources.push(Source { root: site.layout.release(&release), manifest, known });
    }
    Ok(sources)
}

impl Source {
    /// Where in this release some contents are.
    fn find(&mut self, missing: &HashMap<Key, usize>) -> BTreeMap<Key, PathBuf> {
        if self.known.is_none() {
            // Most releases have nothing that the best one has not; reading a manifest takes longer than looking that up.
            let digests: HashSet<Digest> = missing.keys().map(|key| key.digest).collect();
            let bytes = fs::read(&self.manifest).unwrap_or_default();
            if !names_any(&bytes, &digests) {
                return BTreeMap::new();
            }
            self.known = serde_json::from_slice(&bytes).ok().map(Arc::new);
        }
        let Some(manifest) = &self.known else { return BTreeMap::new() };
        let found = manifest.entries.iter().filter_map(|(path, entry)| {
            let key = key_of(entry).filter(|key| missing.contains_key(key))?;
            Some((key, self.root.join(path.as_str())))
        });
        found.collect()
    }
}

/// Whether some of these digests are written in a JSON text.
fn names_any(json: &[u8], digests: &HashSet<Digest>) -> bool {
    json.split(|byte| *byte == b'"')
        .filter(|word| word.len() == 71 && word.starts_with(b"sha256:"))
        .filter_map(|word| str::from_utf8(word).ok()?.parse().ok())
        .any(|digest| digests.contains(&digest))
}

fn link_verified(
    source: &Path,
    at: &Path,
    content: &Wanted,
    verified: &Verified,
    site: &Site<'_>,
) -> Outcome<Option<(u64, Mark)>> {
    let wanted = (content.size, content.key.digest, kept_mode(content.key.executable));
    let usable = fs::symlink_metadata(source)
        .map_err(Wrong::Io)
        .and_then(|metadata| tree::is_content(source, &metadata, wanted, verified, site.session.flags()));
    match usable {
        Ok(true) => link_or_copy(source, at, content).map_err(refusal::io("link a content to", at)),
        Err(Wrong::Stop) => Err(Asked::Cancelled),
        // Whatever is wrong with it, the package has it too.
        Ok(false) | Err(Wrong::Io(_) | Wrong::Damage(_)) => Ok(None),
    }
}

/// A second name for a file; what has as many names as a file may have is copied.
fn link_or_copy(source: &Path, at: &Path, content: &Wanted) -> io::Result<Option<(u64, Mark)>> {
    match fs::hard_link(source, at) {
        Err(error) if error.kind() == io::ErrorKind::TooManyLinks => {
            let mode = fs::metadata(source)?.permissions().mode();
            fs::copy(source, at)?;
            fs::set_permissions(at, fs::Permissions::from_mode(mode))?;
            // Not marked: nobody has read the copy. It is hashed when it is looked at.
            let metadata = fs::symlink_metadata(source)?;
            return Ok(Some((metadata.ino(), Mark::of(&metadata, content.key.digest))));
        }
        Err(error) => return Err(error),
        Ok(()) => {}
    }
    // A new name is a change of the file's status.
    let metadata = fs::symlink_metadata(at)?;
    Ok(Some((metadata.ino(), Mark::of(&metadata, content.key.digest))))
}
