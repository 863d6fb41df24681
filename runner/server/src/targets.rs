//! Machines that pull their deployments: hosts that the server can't reach, and that reach it. A map, in reading order:
//!
//! 1. `pipe`, `tunnel`: bytes in both directions between the deployer and the program on a machine, as a state machine. Pure.
//! 2. [`Relay`]: all tunnels, who is at their ends, and which runner of a machine counts. In memory only.
//! 3. `deployer`, `machine`: what both ends ask; `end`: what they ask alike. `problems`: what they are refused.
//!
//! A host becomes a machine's runner by a code that an administrator made for that machine ([`crate::enrolment`]). It gets no jobs, and
//! no build host gets tunnels: who they are is of another type ([`crate::api::Who`]). The server passes bytes on and understands none
//! of them; it keeps them no longer than until they have arrived.

mod deployer;
mod end;
mod machine;
mod pipe;
mod problems;
mod relay;
mod tunnel;

use axum::Router;

pub use self::relay::Relay;
pub(crate) use self::relay::Standing;
use crate::site::Site;

/// The routes of this room.
pub fn routes() -> Router<Site> {
    Router::new().merge(deployer::routes()).merge(machine::routes())
}
