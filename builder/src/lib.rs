//! Commit → layers and a test report. A map, in reading order:
//!
//! 1. [`source`]: from a repository or a working directory to an exact, read-only tree.
//! 2. [`pipeline`]: `runner.toml` as a value, or an error that points at the place.
//! 3. [`plan`]: source and pipeline become a plan with nothing left to choose.
//! 4. [`engine`]: the seam behind which a step is isolated; [`sandbox`], the built-in way to do it, and [`docker`], the way of
//!    container engines.
//!    [`images`]: root file systems from registries, archives and directories.
//! 5. [`layers`]: a workspace is a stack of layers; what a step leaves is another layer.
//! 6. [`cache`]: what ran before with the same inputs is not run again.
//! 7. [`report`]: what tests said.
//! 8. [`execute`]: one dispatcher starts steps, orders what they say, and ends with a report.

pub mod cache;
pub mod docker;
pub mod engine;
pub mod execute;
pub mod images;
pub mod layers;
pub mod pipeline;
pub mod plan;
pub mod report;
pub mod sandbox;
pub mod source;
