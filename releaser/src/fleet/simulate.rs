//! Machines and a balancer in memory that fail as real ones do, by a schedule: for tests of whoever drives them.
//!
//! Time is tokio's: with a paused clock hours pass in no time, and every run of a schedule is the same. At each change the
//! world asks its oracle whether anything happened that must never happen; see [`World::violations`].

mod balancer;
mod faults;
mod machine;
mod oracle;
mod scenario;
mod world;

pub use faults::{Fault, Faults};
pub use scenario::{BEGINNING, Ended, Scenario, TheJudge, digest, name};
pub use world::{SimulatedMachine, World};
