//! Pools: the two places in which a release of an environment can run.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use staith_model::Digest;

use super::log::LogFrom;

/// One of the two places in which a release can run. Neither is special; one of them is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pool {
    /// The first.
    Blue,
    /// The second.
    Green,
}

impl Pool {
    /// Both, in order.
    pub const ALL: [Pool; 2] = [Pool::Blue, Pool::Green];

    /// The one that this one is not.
    pub const fn other(self) -> Pool {
        match self {
            Pool::Blue => Pool::Green,
            Pool::Green => Pool::Blue,
        }
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pool::Blue => "blue",
            Pool::Green => "green",
        })
    }
}

/// What shall run in a pool. Two equal specs are the same thing running.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSpec {
    /// The release; the program sees it as `STAITH_RELEASE`.
    pub release: Digest,
    /// The release's own folder, absolute and without symbolic links; the program starts in it.
    pub root: PathBuf,
    /// Program and arguments. A program with a `/` in it is looked up in `root`, any other in `PATH`.
    pub command: Vec<String>,
    /// Environment beside `PATH`, `HOME`, `LANG`, `TZ` and `TMPDIR`, which come from the keeper, and `PORT`,
    /// `STAITH_RELEASE`, `STAITH_KEEPER` and `STAITH_POOL`, which it sets. Values may be secret: they are kept in a file that only the
    /// owner reads, and [`fmt::Debug`] shows names only.
    pub env: BTreeMap<String, String>,
    /// Seconds between asking the program to end and ending it.
    pub stop_seconds: u64,
}

impl fmt::Debug for PoolSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolSpec")
            .field("release", &self.release)
            .field("root", &self.root)
            .field("command", &self.command)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("stop_seconds", &self.stop_seconds)
            .finish()
    }
}

/// Where a pool is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolPhase {
    /// Nothing shall run here.
    Empty,
    /// The program runs and has not accepted a connection on its port yet.
    Starting,
    /// The program runs and accepts connections.
    Running,
    /// The program ended and will be started again after a pause.
    Restarting,
    /// The program is being ended.
    Stopping,
    /// The program ended again and again before it ever was active, and is not started any more.
    Stopped,
}

impl fmt::Display for PoolPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PoolPhase::Empty => "empty",
            PoolPhase::Starting => "starting (it runs, and does not accept connections yet)",
            PoolPhase::Running => "running",
            PoolPhase::Restarting => "restarting (its program ended)",
            PoolPhase::Stopping => "stopping",
            PoolPhase::Stopped => "stopped (its program ended too often)",
        })
    }
}

/// A pool as the keeper sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Where it is in its life.
    pub phase: PoolPhase,
    /// What shall run in it; `None` when it is empty.
    pub spec: Option<PoolSpec>,
    /// The loopback port (of 127.0.0.1) that the program was given, while it runs. A restart may give another.
    pub port: Option<u16>,
    /// The program's process, while it runs. It leads a process group of its own.
    pub pid: Option<u32>,
    /// Requests (and upgraded connections) that the pool is answering now.
    pub in_flight: u64,
    /// How often the program was started again since the pool was filled.
    pub restarts: u32,
    /// How the program ended the last time since the pool was filled: exit code or signal, or why it did not start.
    pub last_exit: Option<String>,
    /// How often the program was started since the pool was filled; 0 when it could not be.
    #[serde(default)]
    pub starts: u32,
    /// Where the program's output is kept.
    pub log: PathBuf,
    /// Where in it this filling of the pool began.
    #[serde(default)]
    pub(super) log_from: LogFrom,
}

impl PoolStatus {
    /// The last `lines` lines that the program wrote since the pool was filled, at most 16 KiB of them; empty when it
    /// wrote none.
    pub fn log_tail(&self, lines: usize) -> String {
        super::log::tail(&self.log, lines, self.log_from)
    }
}

/// A keeper as it sees itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperStatus {
    /// Its process.
    pub pid: u32,
    /// The highest epoch that it has seen; it refuses every lower one.
    pub epoch: u64,
    /// Where its proxy listens.
    pub listen: SocketAddr,
    /// The pool that gets requests; `None` until the first switch.
    pub active: Option<Pool>,
    /// Both pools.
    pub pools: BTreeMap<Pool, PoolStatus>,
    /// Requests that a pool has answered since the keeper started.
    pub served: u64,
}
