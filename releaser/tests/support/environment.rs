//! A local environment with a real keeper and real programs, in a directory of its own.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use staith_model::Digest;
use staith_releaser::keeper::{Keeper, KeeperError, Pool, PoolPhase, PoolSpec};

use super::until;

/// The environment; its keeper and programs end when it is dropped.
pub struct Environment {
    pub dir: PathBuf,
    temp: tempfile::TempDir,
}

/// The release with a number.
pub fn release(number: usize) -> Digest {
    Digest::of(number.to_string().as_bytes())
}

/// The number of a release, among the first thousand.
pub fn number(digest: &str) -> Option<usize> {
    (0..1000).find(|number| release(*number).to_string() == digest)
}

pub fn launcher() -> Vec<OsString> {
    vec![env!("CARGO_BIN_EXE_staith-keeper").into()]
}

/// An address that was free a moment ago; keepers that are started again shall find it again.
pub fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

impl Environment {
    pub fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        // As in life, the directory lies deep, deeper than the address of a socket is long.
        let dir = temp.path().canonicalize().unwrap().join("environments/guestbook".repeat(5)).join("local");
        Self { dir, temp }
    }

    pub async fn ensure(&self) -> Result<Keeper, KeeperError> {
        Keeper::ensure(&self.dir, &launcher(), anywhere()).await
    }

    pub async fn keeper(&self) -> Keeper {
        self.ensure().await.unwrap()
    }

    /// A release of the test application, with further arguments for it.
    pub fn spec(&self, number: usize, arguments: &[&str]) -> PoolSpec {
        let root = self.temp.path().canonicalize().unwrap().join(release(number).hex());
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("app.py"), include_str!("app.py")).unwrap();
        let command = [python(), "app.py".to_owned()]
            .into_iter()
            .chain(arguments.iter().map(|text| (*text).to_owned()));
        PoolSpec {
            release: release(number),
            root,
            command: command.collect(),
            env: BTreeMap::from([("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned())]),
            stop_seconds: 10,
        }
    }

    /// Fills a pool and waits until it can be switched to.
    pub async fn fill(&self, keeper: &Keeper, epoch: u64, pool: Pool, spec: PoolSpec) {
        keeper.ensure_pool(epoch, pool, spec).await.unwrap();
        until_phase(keeper, pool, PoolPhase::Running).await;
    }

    /// Processes that this environment's keeper has started, and which are still there.
    pub fn programs(&self) -> Vec<u32> {
        let mark = format!("STAITH_KEEPER={}", self.dir.display());
        let environ = |pid: &u32| fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        processes()
            .filter(|pid| environ(pid).split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()))
            .collect()
    }

    /// Processes of this environment's keeper, from its first moment to its last.
    pub fn keepers(&self) -> Vec<u32> {
        let command = |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let dir = self.dir.to_str().unwrap().as_bytes();
        let is_ours = |pid: &u32| {
            let command = command(pid);
            let mut words = command.split(|byte| *byte == 0);
            words.next().is_some_and(|program| program.ends_with(b"staith-keeper"))
                && words.any(|word| word == dir)
        };
        processes().filter(is_ours).collect()
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        // The keeper first, so that it starts nothing again.
        for pid in self.keepers().into_iter().chain(self.programs()) {
            kill(pid, "KILL");
        }
        for pid in self.programs() {
            kill(pid, "KILL");
        }
    }
}

pub async fn until_phase(keeper: &Keeper, pool: Pool, phase: PoolPhase) {
    until(&format!("pool {pool} is {phase}"), || async {
        keeper.status().await.unwrap().pools[&pool].phase == phase
    })
    .await;
}

pub fn kill(pid: u32, signal: &str) {
    // Gone already is as good.
    let _ = Command::new("/bin/kill").arg(format!("-{signal}")).arg(pid.to_string()).output();
}

pub fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z') && !state.starts_with('X'))
}

pub async fn until_gone(pid: u32) {
    until(&format!("process {pid} is gone"), || async { !is_alive(pid) }).await;
}

pub const A_WHILE: Duration = Duration::from_secs(60);

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The interpreter itself: a version manager's stand-in for it would be another process in between.
fn python() -> String {
    let system = Path::new("/usr/bin/python3");
    if system.exists() {
        return system.to_str().unwrap().to_owned();
    }
    let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    String::from_utf8(asked.expect("the tests of the keeper need python3").stdout).unwrap().trim().to_owned()
}
