//! Reaching machines by ssh. A map, in reading order:
//!
//! 1. [`Destination`]: which machine is meant.
//! 2. `resolve`, `settings`: what OpenSSH's configuration says of it, asked of OpenSSH itself (`reader` where it is not installed).
//! 3. [`SshClient`]: one kept connection to each machine, through jump hosts.
//! 4. `dial`: one connection from its first byte on: `transport`, `host_key` with `known_hosts`, `auth` with `identity`.
//! 5. [`Connection`], `channel`: programs and forwarded connections over it; `run`: a short script.
//! 6. [`SshWay`], `start`: the machine's program, brought there and started by `start.sh`.

mod auth;
mod channel;
mod client;
mod connection;
mod destination;
mod dial;
mod error;
mod host_key;
mod identity;
mod known_hosts;
mod pattern;
mod reader;
mod resolve;
mod run;
mod settings;
mod start;
mod transport;
mod way;

pub use client::{SshClient, SshOptions};
pub use connection::{Connection, Endpoint};
pub use destination::Destination;
pub use error::SshError;
pub use settings::{Algorithms, Settings, Surroundings};
pub use start::{Places, Program};
pub use transport::Duplex;
pub use way::SshWay;

use super::machine::MachineError;
