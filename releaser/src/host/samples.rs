//! Packages and releases for tests.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::atomic::{AtomicUsize, Ordering},
};

use staith_model::{
    Digest, Entry, HealthCheck, LocalEnvironment, Manifest, Package, Process, RelPath, Release,
};

use super::PackageFiles;

pub(crate) fn environment() -> LocalEnvironment {
    LocalEnvironment {
        name: "staging".parse().unwrap(),
        listen: "127.0.0.1:0".parse().unwrap(),
        process: Process { command: vec!["./app".into()], env: BTreeMap::new(), stop_seconds: 5 },
        health: HealthCheck {
            path: "/health".into(),
            release_header: None,
            release_file: None,
            deadline_seconds: 10,
            successes: 2,
        },
        drain_seconds: 5,
        keep_releases: 2,
    }
}

pub(crate) fn package(version: &str, content: &[u8]) -> Package {
    Tree::of(&[("app", content)]).package(version)
}

pub(crate) fn release(version: &str, content: &[u8]) -> Release {
    crate::release::freeze(package(version, content), &environment())
}

/// A package in memory.
pub(crate) struct Tree {
    manifest: Manifest,
    contents: BTreeMap<RelPath, Vec<u8>>,
    pub(crate) asked: AtomicUsize,
}

impl Tree {
    /// A package of files; a path that ends in `*` is executable.
    pub(crate) fn of(files: &[(&str, &[u8])]) -> Self {
        let mut tree =
            Self { manifest: Manifest::default(), contents: BTreeMap::new(), asked: AtomicUsize::new(0) };
        for (path, bytes) in files {
            let mode = if path.ends_with('*') { 0o755 } else { 0o644 };
            let path: RelPath = path.trim_end_matches('*').try_into().unwrap();
            let entry = Entry::File { mode, size: bytes.len() as u64, digest: Digest::of(bytes) };
            tree.manifest.entries.insert(path.clone(), entry);
            tree.contents.insert(path, bytes.to_vec());
        }
        tree
    }

    pub(crate) fn with(mut self, path: &str, entry: Entry) -> Self {
        self.manifest.entries.insert(path.try_into().unwrap(), entry);
        self
    }

    /// Says something else than its manifest promises.
    pub(crate) fn lying(mut self, path: &str, bytes: &[u8]) -> Self {
        self.contents.insert(path.try_into().unwrap(), bytes.to_vec());
        self
    }

    pub(crate) fn package(&self, version: &str) -> Package {
        Package {
            name: "demo".parse().unwrap(),
            version: version.parse().unwrap(),
            digest: Digest::of(version.as_bytes()),
            content: self.manifest.digest(),
            size: 1,
        }
    }

    pub(crate) fn release(&self, version: &str) -> Release {
        crate::release::freeze(self.package(version), &environment())
    }
}

impl PackageFiles for Tree {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn copy_file(
        &self,
        path: &RelPath,
        to: &mut dyn Write,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        to.write_all(self.contents.get(path).ok_or("no such file")?)?;
        Ok(())
    }
}
