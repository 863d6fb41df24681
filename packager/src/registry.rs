//! Packages over HTTP, by the protocol of OCI Distribution 1.1. A map, in reading order:
//!
//! 1. [`names`]: tags, references and ids, and nothing else that came from outside.
//! 2. [`shelf`]: the seam between the protocol and what keeps packages.
//! 3. `route`, `range`, [`manifest`]: what requests and manifests say. `refusal`: what is answered when they can't be granted.
//! 4. [`access`]: who may do what. `serve`: the service itself, as a [`router`] to be mounted. [`listen`]: on a port of its own.
//! 5. `kept`: the store as a shelf.
//! 6. [`client`]: the same protocol from the other side, with registries that others run.
//! 7. [`transfer`]: packages from one place to another, and into files.

pub mod access;
pub mod client;
mod kept;
pub mod listen;
pub mod manifest;
pub mod names;
mod range;
mod refusal;
mod route;
mod serve;
pub mod shelf;
pub mod transfer;

pub use refusal::Code;
pub use serve::{Options, router};

/// The header by which a server of ours says how far the maker of a manifest is trusted: `fork`, `branch` or `protected`.
pub const TRUST: &str = "staith-trust";
