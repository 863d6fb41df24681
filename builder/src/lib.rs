//! Commit → layers and a test report. A map, in reading order:
//!
//! 1. [`source`]: from a repository or a working directory to an exact, read-only tree.
//! 2. [`pipeline`]: `runner.toml` as a value, or an error that points at the place.
//! 3. [`plan`]: source and pipeline become a plan with nothing left to choose.
//! 4. [`engine`]: the seam behind which a step is isolated; [`sandbox`], the built-in way to do it, and [`docker`], the way of
//!    container engines.
//!    [`images`]: root file systems from registries, archives and directories.
//!    `disk` ends what writes too much.
//! 5. [`layers`]: a workspace is a stack of layers; what a step leaves is another layer.
//! 6. [`cache`]: what ran before with the same inputs is not run again.
//! 7. [`outlook`]: what of a plan is known before it is run.
//! 8. [`report`]: what tests said.
//! 9. [`secrets`]: which steps get them, and where from. [`redact`]: they are masked in all that steps write.
//! 10. [`step_log`]: all that a step wrote.
//! 11. [`execute`]: one dispatcher starts steps, orders what they say, and ends with a report.
//! 12. [`upkeep`]: what is kept stays within a budget.
//! 13. [`addresses`]: which addresses a commit may name. `proxies`: how this machine reaches others.
//!
//! `cores` does work over many things on all of them, where there is enough of it.

pub mod addresses;
pub mod cache;
mod cores;
mod disk;
pub mod docker;
pub mod engine;
pub mod execute;
pub mod images;
pub mod layers;
pub mod outlook;
pub mod pipeline;
pub mod plan;
mod proxies;
pub mod redact;
pub mod report;
pub mod sandbox;
pub mod secrets;
pub mod source;
pub mod step_log;
pub mod upkeep;
