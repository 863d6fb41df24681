//! What ran before with the same inputs is not run again.
//!
//! A step's key covers everything that it can see: command, environment, image, source files, layers below it. What it
//! can't see can't change it, and the sandbox shows it nothing else; so a known key means a known result.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use staith_model::{Command, Digest, Network, RelPath, StepPlan, StepResults};

/// Records of passed steps, a file each, below one directory.
#[derive(Debug, Clone)]
pub struct StepCache {
    directory: PathBuf,
}

/// What is known of a step that passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// What it left; `None` where it declares no outputs.
    pub layer: Option<Digest>,
    /// What its reports said.
    #[serde(flatten)]
    pub results: StepResults,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// A record could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("the record of a step could not be written to {}: {source}", .at.display())]
pub struct CacheError {
    at: PathBuf,
    source: io::Error,
}

/// All that a step can see, and nothing else. Timeouts, limits and names decide whether and when it runs, not what it does.
#[derive(Serialize)]
struct Seen<'a> {
    command: &'a Command,
    workdir: &'a Option<RelPath>,
    env: &'a BTreeMap<String, String>,
    secrets: &'a BTreeMap<String, String>,
    network: Network,
    allow: &'a [String],
    image: Digest,
    input_tree: Digest,
    layers: &'a [Digest],
    outputs: &'a [String],
    reports: &'a [String],
    matcher: &'a Option<String>,
}

/// The key of a step over an image and the layers below it, lowest first.
pub fn step_key(step: &StepPlan, image: Digest, layers: &[Digest]) -> Digest {
    let seen = Seen {
        command: &step.command,
        workdir: &step.workdir,
        env: &step.env,
        secrets: &step.secrets,
        network: step.network,
        allow: &step.allow,
        image,
        input_tree: step.input_tree,
        layers,
        outputs: &step.outputs,
        reports: &step.reports,
        matcher: &step.matcher,
    };
    Digest::of_value("staith.step-key.v2", &seen)
}

impl StepCache {
    /// The cache in `directory`, which is made when something is first kept.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The record under a key. One that can't be read counts as unknown: running a step again is always right.
    pub fn find(&self, key: &Digest) -> Option<StepRecord> {
        serde_json::from_slice(&fs::read(self.path(key)).ok()?).ok()
    }

    /// Keeps a record, atomically. Two processes that keep the same key both succeed.
    ///
    /// # Errors
    /// The file system refused.
    pub fn keep(&self, key: &Digest, record: &StepRecord) -> Result<(), CacheError> {
        let at = self.path(key);
        self.write(&at, record).map_err(|source| CacheError { at, source })
    }

    fn write(&self, at: &Path, record: &StepRecord) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        // Not synced: a record that a power loss takes costs one more run of the step, never a wrong answer, because
        // `find` refuses what is not whole.
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.persist(at)?;
        Ok(())
    }

    fn path(&self, key: &Digest) -> PathBuf {
        self.directory.join(format!("{}.json", key.hex()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use staith_model::StepKind;

    fn step() -> StepPlan {
        StepPlan {
            kind: StepKind::Build,
            outputs: vec!["out".into()],
            ..StepPlan::new("build".parse().unwrap(), Command::Shell("make".into()), Digest::of(b"tree"))
        }
    }

    #[test]
    fn the_key_covers_all_that_a_step_sees_and_nothing_else() {
        let image = Digest::of(b"image");
        let base = step_key(&step(), image, &[]);
        let changed = |change: fn(&mut StepPlan)| {
            let mut step = step();
            change(&mut step);
            step_key(&step, image, &[]) != base
        };
        assert!(changed(|step| step.command = Command::Shell("make all".into())));
        assert!(changed(|step| step.workdir = Some("app".try_into().unwrap())));
        assert!(changed(|step| drop(step.env.insert("A".into(), "1".into()))));
        assert!(changed(|step| step.network = Network::None));
        assert!(changed(|step| step.input_tree = Digest::of(b"other tree")));
        assert!(changed(|step| step.outputs.clear()));
        assert!(changed(|step| step.reports.push("junit.xml".into())));
        assert_ne!(step_key(&step(), Digest::of(b"other image"), &[]), base);
        assert_ne!(step_key(&step(), image, &[Digest::of(b"layer")]), base);
        assert!(!changed(|step| step.timeout_seconds = 1));
        assert!(!changed(|step| step.name = "other".parse().unwrap()));
    }

    #[test]
    fn records_survive_and_damaged_ones_count_as_unknown() {
        let directory = tempfile::tempdir().unwrap();
        let cache = StepCache::new(directory.path().join("cache"));
        let key = Digest::of(b"key");
        let record =
            StepRecord { layer: Some(Digest::of(b"layer")), results: StepResults::default(), millis: 7 };
        assert_eq!(cache.find(&key), None);
        cache.keep(&key, &record).unwrap();
        assert_eq!(cache.find(&key), Some(record));
        fs::write(cache.path(&key), b"{\"layer\":").unwrap();
        assert_eq!(cache.find(&key), None);
    }
}
