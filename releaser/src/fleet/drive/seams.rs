//! What a driver is given: machines, whoever balances, what releases are made of, and who judges.

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use staith_model::{DeploymentRecord, Digest, FleetEnvironment, Name, ReleaseSetting, Target, Version};

use super::{
    super::{
        balancer::Balancer,
        machine::{Load, Machine},
    },
    log::Log,
    view::{Gates, Limits},
};
use crate::host::{PackageFiles, StageProgress};

/// An environment with everything that is needed to deploy to it. Cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    /// The environment.
    pub environment: FleetEnvironment,
    /// Its machines: those of the file and those of the inventory.
    pub targets: Vec<Target>,
    /// How each is spoken to.
    pub machines: BTreeMap<Name, Arc<dyn Machine>>,
    /// Who balances, where somebody does.
    pub balancer: Option<Arc<dyn Balancer>>,
    /// What releases are made of.
    pub releases: Arc<dyn Releases>,
    /// Who judges gates and measurements.
    pub judge: Arc<dyn Judge>,
    /// The environment's log.
    pub log: Log,
    /// The file whose lock says who drives; `None` where nobody else could.
    pub lock: Option<PathBuf>,
    /// The time.
    pub clock: Clock,
    /// How long things may take.
    pub limits: Limits,
    /// Which process this is, for people.
    pub who: String,
    /// Told while files are brought to a machine.
    pub watch: StageWatch,
}

/// Told how far staging is on a machine; must be quick.
pub type StageWatch = Arc<dyn Fn(&Name, StageProgress) + Send + Sync>;

/// What is brought to a machine.
pub struct Cargo {
    /// What it needs to hold and run the release.
    pub load: Load,
    /// Where contents come from.
    pub files: Arc<dyn PackageFiles>,
}

/// What releases are made of.
#[async_trait]
pub trait Releases: Send + Sync {
    /// What a machine needs of a release: its files, rendered for it, and its secrets.
    ///
    /// # Errors
    /// It can't be put together, in words that say what to do.
    async fn cargo(&self, release: &Digest, target: &Target) -> Result<Cargo, String>;

    /// How a release runs in this environment, if it is known here.
    fn setting(&self, release: &Digest) -> Option<ReleaseSetting>;

    /// The version of a release's package, if it is known here.
    fn version(&self, release: &Digest) -> Option<Version>;

    /// What a program said, as text in which no secret stands.
    fn masked(&self, said: &[u8]) -> String;
}

/// Who judges gates and measurements.
#[async_trait]
pub trait Judge: Send + Sync {
    /// Whether a deployment may begin now. May be dropped at any time, and is asked again and again while it waits.
    async fn gates(&self, record: &DeploymentRecord) -> Gates;

    /// What measurements say of a wave now: this one look and none before it. The driver says when, and counts. May be dropped at any time.
    async fn analyse(&self, record: &DeploymentRecord, wave: u32) -> Verdict;
}

/// What one look at the measurements says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Pass,
    /// It is not.
    Fail(String),
    /// It can't be told. Never a success.
    Inconclusive(String),
}

/// Nobody guards the environment, and nothing is measured.
#[derive(Debug, Clone, Copy)]
pub struct NoGates;

#[async_trait]
impl Judge for NoGates {
    async fn gates(&self, _record: &DeploymentRecord) -> Gates {
        Gates::Open
    }

    async fn analyse(&self, _record: &DeploymentRecord, _wave: u32) -> Verdict {
        Verdict::Inconclusive("nothing measures here".into())
    }
}

/// Where the time comes from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// This machine's clock.
    pub fn system() -> Self {
        Self(Arc::new(now))
    }

    /// Another clock, in milliseconds since 1970.
    pub fn of(clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(clock))
    }

    /// Now, in milliseconds since 1970.
    pub fn now(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// Now, in milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
