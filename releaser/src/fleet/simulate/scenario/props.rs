//! What a driver is given in the simulated world beside machines and a balancer: a judge, and releases.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use staith_model::{DeploymentRecord, Digest, Manifest, RelPath, ReleaseSetting, Service, Target, Version};

use crate::{
    fleet::{
        drive::{Cargo, Gates, Judge, Releases, Verdict},
        machine::Load,
    },
    host::PackageFiles,
};

/// Gates never change, and measurements say the same in the end.
#[derive(Debug)]
pub struct TheJudge {
    pub(super) shut: bool,
    pub(super) first: Mutex<VecDeque<Verdict>>,
    pub(super) verdict: Verdict,
}

impl TheJudge {
    /// Gates that are shut or not, and what measurements say.
    pub const fn new(shut: bool, verdict: Verdict) -> Self {
        Self { shut, first: Mutex::new(VecDeque::new()), verdict }
    }
}

#[async_trait]
impl Judge for TheJudge {
    async fn gates(&self, _record: &DeploymentRecord) -> Gates {
        if self.shut {
            return Gates::Waiting { what: vec!["nobody approved".into()], until: u64::MAX };
        }
        Gates::Open
    }

    async fn analyse(&self, _record: &DeploymentRecord, _wave: u32) -> Verdict {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        first.unwrap_or_else(|| self.verdict.clone())
    }
}

/// Releases of which nothing is known, and that hold no file.
pub(super) struct Shelf;

struct NoFiles(Manifest);

impl PackageFiles for NoFiles {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    fn copy_file(
        &self,
        _path: &RelPath,
        _to: &mut dyn std::io::Write,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

#[async_trait]
impl Releases for Shelf {
    async fn cargo(&self, release: &Digest, _target: &Target) -> Result<Cargo, String> {
        let load = Load {
            every_byte: false,
            release: *release,
            manifest: Arc::new(Manifest::default()),
            service: Service::Files,
            secrets: Vec::new(),
            private: BTreeSet::new(),
        };
        Ok(Cargo { load, files: Arc::new(NoFiles(Manifest::default())) })
    }

    fn setting(&self, _release: &Digest) -> Option<ReleaseSetting> {
        None
    }

    fn version(&self, release: &Digest) -> Option<Version> {
        let versions = [(super::digest("old"), "1.0.0"), (super::digest("new"), "2.0.0")];
        let known = versions.into_iter().find(|(known, _)| known == release);
        known.and_then(|(_, version)| version.parse().ok())
    }

    fn masked(&self, said: &[u8]) -> String {
        String::from_utf8_lossy(said).into_owned()
    }
}
