//! The small process that stays: it supervises the two pools of a local environment and is the proxy before them.
//!
//! One keeper runs per environment directory. It outlives the command that started it, answers one JSON line per
//! request on `keeper.sock`, and remembers what it was told in `keeper.json`, so that a keeper that was killed and
//! started again serves the same release. In reading order:
//!
//! 1. [`Pool`], [`PoolSpec`], [`PoolStatus`]: what is kept.
//! 2. [`Keeper`]: how others talk to it. [`KeeperError`]: what can go wrong.
//! 3. `protocol`: what is said. `socket`: where.
//! 4. `daemon`: the process from its first line to its last. `start`: how it comes to be, and comes loose.
//! 5. `desk`: what a request does. `pools`: what it does it to.
//! 6. `supervise`, `process`, `backoff`, `orphans`: keeping a program running, and ending what was left behind.
//! 7. `state`: what survives a kill. `log`: what programs say. `port`: who listens where.

mod backoff;
mod client;
mod daemon;
mod desk;
mod error;
mod log;
mod orphans;
mod pool;
mod pools;
mod port;
mod process;
mod protocol;
mod socket;
mod start;
mod state;
mod supervise;

pub use client::Keeper;
pub use daemon::keeper_main;
pub use error::KeeperError;
pub use pool::{KeeperStatus, Pool, PoolPhase, PoolSpec, PoolStatus};
pub use port::{PortHolder, PortTaken, port_holder, port_is_free};
