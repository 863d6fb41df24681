//! Machines that come and go with their environment. A map, in reading order:
//!
//! 1. `place`: what is kept of it beside the environment's ledger. `files`: the copy of the project's folder.
//! 2. `program`: how a program is run: bounded, masked, without anything secret on its command line.
//! 3. `tool`: what plans, applies, names machines and destroys, by `command`, `terraform` or `bicep`.
//! 4. [`Provisioner`]: plans, and carries a plan out; each thing is in the ledger before it is done.
//! 5. `gates`: whether people and checks allow a plan.
//! 6. `ready`: machines are awaited until cloud-init is done. `user_data`: what cloud-init is told.
//! 7. `sweep`: what is past its time, or was left by a process that died, is taken down.
//!
//! What is true is a fold over the ledger ([`ProvisionState`](staith_model::ProvisionState)). A program that is still running after
//! its Staith was killed keeps the lock, because it inherits it: nothing else is begun before it ends.

mod bicep;
mod command;
mod drive;
mod error;
mod files;
mod gates;
mod outputs;
mod place;
mod program;
mod ready;
mod sweep;
mod terraform;
mod tool;
mod user_data;

pub use drive::{Proposal, Provisioner, Session};
pub use error::ProvisionError;
pub use gates::{Origin, Rules};
pub use place::Place;
pub use program::{Ear, Voice};
pub use ready::Reach;
pub use sweep::{Overdue, Swept, Why, overdue, sweep};
pub use user_data::user_data;
