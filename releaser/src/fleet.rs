//! Releases to machines. A map, in reading order:
//!
//! 1. [`machine`]: the seam to one machine, which runs one release at a time.
//! 2. [`wire`]: the streams to the program on it.
//! 3. [`balancer`]: the seam to whoever decides which machines get requests.

pub mod balancer;
pub mod machine;
pub mod wire;
