//! Makes a plan true on many machines, survives being killed, goes back when something fails.
//!
//! In reading order: [`View`] is what a decision is made from, [`decide()`] makes it (pure; `reconcile`, `shares`, `target`,
//! `phases` and `soak` are its parts), `work` does one thing to one machine, `session` is the loop: read the log, decide, write the
//! intent, do it, write the outcome. [`Deployer`] is what commands use, `cool` what is stopped afterwards, [`Log`] what survives a kill.

mod cool;
mod decide;
mod deployer;
mod error;
#[cfg(test)]
mod invariants;
mod lingering;
mod log;
mod phases;
mod reconcile;
mod seams;
mod session;
mod shares;
mod soak;
mod status;
mod target;
mod view;
mod work;
#[cfg(test)]
mod wrong;

pub use cool::Cooled;
pub use decide::decide;
pub use deployer::{Deployer, Request, Rollback};
pub use error::FleetDriveError;
pub use log::{Log, LogError, Stamped};
pub use seams::{Cargo, Clock, Fleet, Judge, NoGates, Releases, StageWatch, Verdict};
pub use session::{Stopped, Watcher};
pub use status::{DeploymentStatus, FleetStatus, TargetStatus, is_driven, status};
pub use view::{Decision, Gates, Limits, Sight, Sights, View, Waiting, WaitsFor};
