//! Releases to machines. A map, in reading order:
//!
//! 1. [`inventory`]: who the machines of an environment are.
//! 2. [`freeze`]: a package and what environments say, frozen together. [`diff`]: what two releases differ in.
//! 3. [`render`]: files that get the values of an environment, a role and a machine.
//! 4. [`machine`]: the seam to one machine, which runs one release at a time.
//! 5. [`remote`]: the same through the program on it ([`program`]), over the streams ([`wire`]) that a [`way`] opens: a child process, or [`ssh`]; [`windows`]: through PowerShell.
//! 6. [`balancer`]: the seam to whoever decides which machines get requests, and what fills it.
//! 7. [`plan`]: what will happen to each machine. Pure.
//! 8. [`drive`]: makes a plan true, survives being killed, goes back when something fails.
//! 9. [`gate`]: what has to hold before a deployment may begin.
//! 10. [`record`]: what the ledger of an environment tells: history, origins, figures, notes, drift, a run-book.
//! 11. [`survey`]: a look at all machines at once, for people.
//! 12. [`provision`]: machines that come and go with their environment.
//! 13. [`simulate`]: machines and a balancer in memory, under faults: for tests.
//!
//! `point` is where tests let a deployer die.

pub mod balancer;
pub mod diff;
pub mod drive;
pub mod freeze;
pub mod gate;
pub mod inventory;
pub mod machine;
pub mod plan;
mod point;
pub mod program;
pub mod provision;
pub mod record;
pub mod remote;
pub mod render;
#[cfg(any(test, feature = "simulate"))]
pub mod simulate;
pub mod ssh;
pub mod survey;
pub mod way;
pub mod windows;
pub mod wire;
