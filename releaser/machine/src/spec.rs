//! What lies beside a release's files: its manifest, how it is run, its secrets.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    path::Path,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use staith_model::{Digest, Manifest, RelPath, Service};

use crate::{
    layout::{Layout, UNFINISHED, release_of},
    protocol::{Hidden, State},
    refusal::{self, Outcome},
    verified::shared::Shared,
};

/// The content of `releases/<release>.service`. A release is there if its folder and this file are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// Digest of the manifest beside it.
    pub(crate) manifest: Digest,
    /// How it is started and stopped.
    pub(crate) service: Service,
    /// Files of it that hold secrets.
    pub(crate) private: BTreeSet<RelPath>,
}

impl Spec {
    /// That of a release; `None` if the release is not there.
    pub(crate) fn read(layout: &Layout, release: &Digest) -> Outcome<Option<Self>> {
        if !layout.release(release).is_dir() {
            return Ok(None);
        }
        let path = layout.beside(release, "service");
        match fs::read(&path) {
            // A damaged one is as none: the release is staged again.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(refusal::told("read", &path, &error)),
        }
    }
}

/// The releases that are there.
pub(crate) fn releases(layout: &Layout) -> Outcome<Vec<(Digest, Spec)>> {
    let folder = layout.releases();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => return Ok(Vec::new()),
        Err(error) => return Err(refusal::told("list", &folder, &error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(refusal::io("list", &folder))?;
        let Some(release) = entry.file_name().to_str().and_then(release_of) else { continue };
        if let Some(spec) = Spec::read(layout, &release)? {
            found.push((release, spec));
        }
    }
    found.sort_by_key(|(release, _)| *release);
    Ok(found)
}

/// The environment secrets of a release.
pub(crate) fn secrets(layout: &Layout, release: &Digest) -> Outcome<Vec<(String, Hidden)>> {
    let path = layout.beside(release, "secrets");
    match fs::read(&path) {
        // Nothing of the file is in the error.
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| {
            refusal::environment(format!("{} is damaged", path.display()), "deploy the release again")
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(refusal::told("read", &path, &error)),
    }
}

/// Removes what was never finished: by a program that was killed, or ended half-way.
pub(crate) fn clear_leftovers(layout: &Layout) -> Outcome<()> {
    clear_leftovers_but(layout, None)
}

/// Removes what was never finished, but for one tree.
pub(crate) fn clear_leftovers_but(layout: &Layout, but: Option<&Path>) -> Outcome<()> {
    let shared = Shared::with_unfinished(layout, but);
    let cleared = clear_unfinished(layout, but);
    shared.keep(layout);
    cleared
}

fn clear_unfinished(layout: &Layout, but: Option<&Path>) -> Outcome<()> {
    for folder in [layout.root().to_owned(), layout.releases(), layout.operations()] {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) && Some(&*path) != but {
                crate::durable::clear(&path).map_err(refusal::io("remove", &path))?;
            }
        }
    }
    Ok(())
}

/// Manifests that were read, by their digests.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    known: HashMap<Digest, Arc<Manifest>>,
}

impl Manifests {
    /// A few are enough: those of the releases that are kept.
    const MOST: usize = 8;

    /// The manifest with this digest, if a release has it or it was seen before.
    pub(crate) fn find(&mut self, layout: &Layout, digest: Digest) -> Outcome<Option<Arc<Manifest>>> {
        if let Some(known) = self.known.get(&digest) {
            return Ok(Some(known.clone()));
        }
        for (release, spec) in releases(layout)? {
            if spec.manifest == digest
                && let Ok(json) = fs::read(layout.beside(&release, "manifest"))
                && let Some(manifest) = Manifest::of_json(&json, digest)
            {
                return Ok(Some(self.learn(digest, manifest)));
            }
        }
        Ok(None)
    }

    /// Reads that of the release that runs, which may be asked for. Where it can't be read, that is told when it is.
    pub(crate) fn expect(&mut self, layout: &Layout, state: &State) {
        let current = state.releases.iter().find(|(release, _)| Some(*release) == state.current);
        if let Some((_, manifest)) = current {
            let _ = self.find(layout, *manifest);
        }
    }

    /// Remembers one whose digest was computed.
    pub(crate) fn learn(&mut self, digest: Digest, manifest: Manifest) -> Arc<Manifest> {
        if self.known.len() >= Self::MOST {
            self.known.clear();
        }
        let manifest = Arc::new(manifest);
        self.known.insert(digest, manifest.clone());
        manifest
    }
}
