//! What can go wrong between a client and its keeper.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    pool::{Pool, PoolPhase},
    port::{PortTaken, stop_command},
    protocol::Refusal,
};

/// Why a keeper did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeeperError {
    /// The proxy's address can't be had.
    #[error(transparent)]
    PortTaken(#[from] PortTaken),
    /// A deployment with a higher epoch has spoken to this keeper: whoever asks is no longer in charge.
    #[error(
        "epoch {asked} was refused: this environment has already been written to under epoch {highest}; another deployment has taken over, so start a new one instead of continuing this one"
    )]
    Superseded {
        /// The epoch of the refused request.
        asked: u64,
        /// The highest that the keeper has seen.
        highest: u64,
    },
    /// The pool gets requests, and what was asked would have taken it away from them.
    #[error("pool {pool} was not touched because it is the active one and gets requests; switch to pool {} first", pool.other())]
    PoolIsActive {
        /// The active pool.
        pool: Pool,
    },
    /// A switch to a pool that could not answer.
    #[error("requests were not switched to pool {pool} because it is {phase}; last exit: {}", last_exit.as_deref().unwrap_or("none"))]
    PoolNotRunning {
        /// The pool.
        pool: Pool,
        /// What it is doing instead.
        phase: PoolPhase,
        /// How its program ended the last time.
        last_exit: Option<String>,
    },
    /// A pool can't be filled with this.
    #[error("pool {pool} can't run this: {why}")]
    UnusableSpec {
        /// The pool.
        pool: Pool,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The environment's keeper listens elsewhere.
    #[error("the keeper in {} listens on {listening}, and {asked} was asked for; {}, then the next release starts it on {asked}; or ask for {listening}", dir.display(), stop_it(dir))]
    ListensElsewhere {
        /// The environment's directory.
        dir: PathBuf,
        /// Where it listens.
        listening: SocketAddr,
        /// Where it should.
        asked: SocketAddr,
    },
    /// The keeper speaks another version of the protocol.
    #[error("the keeper in {} speaks version {theirs} of the protocol and this program version {ours}: they come from different versions of Staith; end that keeper with the version that started it, then try again", dir.display())]
    OtherVersion {
        /// The environment's directory.
        dir: PathBuf,
        /// What it speaks.
        theirs: u32,
        /// What this program speaks.
        ours: u32,
    },
    /// The keeper was started and did not come up.
    #[error("the keeper in {} did not start: {why}; what it said is in {}", dir.display(), log.display())]
    DidNotStart {
        /// The environment's directory.
        dir: PathBuf,
        /// What is known.
        why: String,
        /// Its log.
        log: PathBuf,
    },
    /// The connection ended before the answer: the keeper was ended, and may or may not have done what was asked.
    #[error("the keeper in {} went away while it was asked to {doing}: {why}; look at its state before asking again", dir.display())]
    Lost {
        /// The environment's directory.
        dir: PathBuf,
        /// What was asked.
        doing: &'static str,
        /// How it went.
        why: String,
    },
    /// The keeper did not answer in time.
    #[error("the keeper in {} did not {doing} within {within:?}; look at its log and its state before asking again", dir.display())]
    TooSlow {
        /// The environment's directory.
        dir: PathBuf,
        /// What was asked.
        doing: &'static str,
        /// The time it had.
        within: Duration,
    },
    /// The keeper could not do it for a reason of its own, such as a full disk.
    #[error("the keeper could not do it: {0}")]
    Failed(String),
    /// A file or socket of the environment can't be used.
    #[error("could not {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn stop_it(dir: &std::path::Path) -> String {
    stop_command(dir)
        .map_or_else(|| "stop the environment".to_owned(), |command| format!("end it with `{command}`"))
}

impl KeeperError {
    pub(super) fn refused(refusal: Refusal, dir: &std::path::Path) -> Self {
        match refusal {
            Refusal::Superseded { asked, highest } => KeeperError::Superseded { asked, highest },
            Refusal::PoolIsActive { pool } => KeeperError::PoolIsActive { pool },
            Refusal::PoolNotRunning { pool, phase, last_exit } => {
                KeeperError::PoolNotRunning { pool, phase, last_exit }
            }
            Refusal::UnusableSpec { pool, why } => KeeperError::UnusableSpec { pool, why },
            Refusal::OtherVersion { spoken } => KeeperError::OtherVersion {
                dir: dir.to_owned(),
                theirs: spoken,
                ours: super::protocol::VERSION,
            },
            Refusal::Failed { why } => KeeperError::Failed(why),
        }
    }
}
