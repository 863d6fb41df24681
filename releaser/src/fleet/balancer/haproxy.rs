//! HAProxy, through its runtime API.
//!
//! The members are the servers of one backend, by the targets' names. Several nodes are all told the same. In reading order:
//!
//! 1. [`Dial`]: how a node's socket is reached; `elsewhere`: by ssh. `talk`: one command, one reply, every reply read.
//! 2. [`report`]: what a node says of itself and its servers. Columns are found by their names, so that other versions' tables are read.
//! 3. `next`: what is to be told a node now, from what it says. Pure; who was killed in between begins here again.
//! 4. [`HaProxy`]: the [`Balancer`](super::Balancer).
//! 5. [`persist`]: the same truth where the next reload finds it. [`lint`]: what in a configuration would cost requests.
//!
//! **Epochs** are kept in a variable of the process (`proc.staith_epoch_BACKEND`), which a reload or restart forgets: then the epoch is
//! unknown, and the deployment's lease alone keeps two deployments apart. HAProxy calls the command that sets it experimental and
//! says so in `show info` (`Tainted`); where the socket does not allow it, there is no epoch.
//!
//! **Health.** A member must have a `check` of its own in HAProxy's configuration. HAProxy takes a server that leaves maintenance for one
//! that is up until its check says otherwise; so each that comes is declared down first, without weight, and has to pass its check.

mod balancer;
mod dial;
mod elsewhere;
pub mod lint;
mod next;
mod node;
pub mod persist;
pub mod report;
mod talk;

pub use balancer::{HaProxy, NodeSpec};
pub use dial::{Dial, Open, Stream};
pub use elsewhere::{SshFile, SshSocket};
pub use persist::{Keep, Place};
