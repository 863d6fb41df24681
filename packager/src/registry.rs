//! Packages over HTTP, by the protocol of OCI Distribution 1.1. A map, in reading order:
//!
//! 1. [`names`]: tags, references and ids, and nothing else that came from outside.
//! 2. [`shelf`]: the seam between the protocol and what keeps packages.

pub mod names;
pub mod shelf;
