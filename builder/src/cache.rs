//! What ran before with the same inputs is not run again.
//!
//! A step's key covers everything that it can see: command, environment, image, source files, layers below it, and the
//! services beside it, which see the same files. What it can't see can't change it, and the sandbox shows it nothing else; so a known key means a known result.
//!
//! Beside the results it is remembered what the last attempt at each step saw ([`Attempted`]), so that people can be told
//! what has changed since ([`changes`]). Nothing is decided by that.

mod attempted;
mod beside;
mod difference;
mod elsewhere;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use staith_model::{
    Command, CoverageBar, Digest, FindingsBar, Name, Network, RelPath, RunId, StepPlan, StepResults,
};

use self::beside::SeenService;
pub use self::{
    attempted::{Attempted, Inputs, inputs_of},
    beside::{Beside, of_service},
    difference::{Change, How, Sight, changes},
    elsewhere::{Elsewhere, StepPassed},
};

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
    /// Where it ran; records of earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Made>,
}

/// Where and when a result was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The run.
    pub run: RunId,
    /// When the step ended, in milliseconds since 1970.
    pub at: u64,
}

/// A record could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("the record of a step could not be written to {}: {source}", .at.display())]
pub struct CacheError {
    at: PathBuf,
    source: io::Error,
}

/// All that a step can see, and what its results had to come up to. Timeouts, limits and names decide whether and when it runs, not what it does.
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
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    services: BTreeMap<&'a Name, SeenService<'a>>,
    /// What a pass had to come up to is part of what was passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<CoverageBar>,
    #[serde(skip_serializing_if = "Option::is_none")]
    findings: Option<FindingsBar>,
}

/// The key of a step over an image and the layers below it, lowest first, with the services that it names beside it.
pub fn step_key(step: &StepPlan, image: Digest, layers: &[Digest], services: &[Beside<'_>]) -> Digest {
    Digest::of_value("staith.step-key.v2", &seen(step, image, layers, services))
}

/// What the key of a step is the digest of, as a value with a member for each part: for people, never for keys.
pub fn what_is_seen(step: &StepPlan, image: Digest, layers: &[Digest], services: &[Beside<'_>]) -> Value {
    serde_json::to_value(seen(step, image, layers, services)).unwrap_or_default()
}

fn seen<'a>(step: &'a StepPlan, image: Digest, layers: &'a [Digest], services: &[Beside<'a>]) -> Seen<'a> {
    Seen {
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
        services: beside::seen(services),
        coverage: step.coverage,
        findings: step.findings,
    }
}

impl StepCache {
    /// The cache in `directory`, which is made when something is first kept.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The record under a key. One that can't be read counts as unknown: running a step again is always right.
    pub fn find(&self, key: &Digest) -> Option<StepRecord> {
        let path = self.path(key);
        let record = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        // Its time tells when it was last of use.
        crate::layers::touch(&path);
        Some(record)
    }

    /// Keeps a record, atomically. Two processes that keep the same key both succeed.
    ///
    /// # Errors
    /// The file system refused.
    pub fn keep(&self, key: &Digest, record: &StepRecord) -> Result<(), CacheError> {
        self.write(self.path(key), || Ok(serde_json::to_vec(record)?))
    }

    fn write(&self, at: PathBuf, bytes: impl FnOnce() -> io::Result<Vec<u8>>) -> Result<(), CacheError> {
        let written = bytes().and_then(|bytes| write_whole(&at, &bytes));
        written.map_err(|source| CacheError { at, source })
    }

    fn path(&self, key: &Digest) -> PathBuf {
        self.directory.join(format!("{}.json", key.hex()))
    }
}

/// Not synced: a record that a power loss takes costs one more run of the step, never a wrong answer, because readers
/// refuse what is not whole.
fn write_whole(at: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = at.parent().unwrap_or(at);
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.persist(at)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use staith_model::{Limits, Readiness, ServicePlan, StepKind};

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
        let base = step_key(&step(), image, &[], &[]);
        let changed = |change: fn(&mut StepPlan)| {
            let mut step = step();
            change(&mut step);
            step_key(&step, image, &[], &[]) != base
        };
        assert!(changed(|step| step.command = Command::Shell("make all".into())));
        assert!(changed(|step| step.workdir = Some("app".try_into().unwrap())));
        assert!(changed(|step| drop(step.env.insert("A".into(), "1".into()))));
        assert!(changed(|step| step.network = Network::None));
        assert!(changed(|step| step.input_tree = Digest::of(b"other tree")));
        assert!(changed(|step| step.outputs.clear()));
        assert!(changed(|step| step.reports.push("junit.xml".into())));
        assert!(changed(|step| step.coverage = Some(CoverageBar { lines: Some(80), branches: None })));
        assert!(changed(|step| step.findings = Some(FindingsBar::default())));
        assert_ne!(step_key(&step(), Digest::of(b"other image"), &[], &[]), base);
        assert_ne!(step_key(&step(), image, &[Digest::of(b"layer")], &[]), base);
        assert!(!changed(|step| step.timeout_seconds = 1));
        assert!(!changed(|step| step.name = "other".parse().unwrap()));
    }

    #[test]
    fn the_key_covers_what_the_step_sees_of_its_services() {
        let (image, old) = (Digest::of(b"image"), Digest::of(b"db 16"));
        let db = ServicePlan {
            name: "db".parse().unwrap(),
            image: Some("db:16".into()),
            command: None,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            ready: Readiness::Port(5432),
            ready_seconds: 60,
            ports: vec![5432],
            limits: Limits::default(),
        };
        let key = |service: &ServicePlan, of| step_key(&step(), image, &[], &[(service, of)]);
        let base = key(&db, old);
        assert_ne!(base, step_key(&step(), image, &[], &[]), "a service is seen");
        assert_ne!(key(&db, Digest::of(b"db 17")), base, "its image is, and not what it is called");
        let changed = |change: fn(&mut ServicePlan)| {
            let mut db = db.clone();
            change(&mut db);
            key(&db, old) != base
        };
        assert!(changed(|db| db.name = "sql".parse().unwrap()));
        assert!(changed(|db| db.command = Some(Command::Shell("postgres".into()))));
        assert!(changed(|db| drop(db.env.insert("A".into(), "1".into()))));
        assert!(changed(|db| drop(db.secrets.insert("A".into(), "s".into()))));
        assert!(changed(|db| db.ready = Readiness::Port(1)));
        assert!(changed(|db| db.ports.push(5433)));
        assert!(!changed(|db| db.limits.memory = Some(1)));
        assert!(!changed(|db| db.ready_seconds = 1));
        assert!(!changed(|db| db.image = Some("db@sha256:0".into())));
        // The order in which a step names its services means nothing.
        let web = ServicePlan { name: "web".parse().unwrap(), ..db.clone() };
        let of = |services: &[Beside<'_>]| step_key(&step(), image, &[], services);
        assert_eq!(of(&[(&db, old), (&web, image)]), of(&[(&web, image), (&db, old)]));
        assert_ne!(of(&[(&db, old), (&web, image)]), of(&[(&db, image), (&web, old)]));
    }

    #[test]
    fn records_survive_and_damaged_ones_count_as_unknown() {
        let directory = tempfile::tempdir().unwrap();
        let cache = StepCache::new(directory.path().join("cache"));
        let key = Digest::of(b"key");
        let record = StepRecord {
            layer: Some(Digest::of(b"layer")),
            results: StepResults::default(),
            millis: 7,
            made: None,
        };
        assert_eq!(cache.find(&key), None);
        cache.keep(&key, &record).unwrap();
        assert_eq!(cache.find(&key), Some(record));
        fs::write(cache.path(&key), b"{\"layer\":").unwrap();
        assert_eq!(cache.find(&key), None);
    }
}
