//! Package → release → deployment → health. A map, in reading order:
//!
//! 1. [`release`]: package and configuration, frozen together.
//! 2. [`host`]: the seam to a place where releases run, and the local one.
//! 3. [`traffic`]: the seam to whoever decides which pool gets requests, and the built-in proxy.
//! 4. [`keeper`]: the small process that stays: it supervises the pools and answers for them through [`proxy`].
//! 5. [`health`]: a verdict that cites its observations.
//! 6. [`plan`]: what will be done, from what is wanted and what is there. Pure.
//! 7. [`drive`]: executes a plan, survives being killed, goes back when it fails.
//! 8. [`fleet`]: the same for environments of machines.
//! 9. [`ledger`]: what happened in an environment, in a file that only grows and tells when it was tampered with.

pub mod drive;
pub mod fleet;
pub mod health;
pub mod host;
pub mod keeper;
pub mod ledger;
pub mod plan;
pub mod proxy;
pub mod release;
pub mod traffic;
