//! Outputs → package. A map, in reading order:
//!
//! 1. [`web_deploy`]: a tree of files as a Web Deploy package, written the same way everywhere, and read without trust.
//! 2. [`xml`]: files that parameters and transforms change, read with the place of every node; [`pattern`]: .NET's regular
//!    expressions.
//! 3. [`parameters`]: what of a package is decided only when it is applied.
//! 4. [`transform`]: files of settings brought into the shape of an environment, by XDT and by variables.
//! 5. [`apply`]: a package onto a directory, with what is added, replaced and deleted told before and after.
//! 6. [`store`]: packages by content and by name, published once and for good.
//! 7. [`seal`]: the one way from a passed run to a package in the store.
//! 8. [`registry`]: packages over HTTP, for tools that know registries, and from registries of others.
//! 9. [`hashing`]: digests of what passes by. [`stopping`]: ending where nothing is half done.
//!
//! Everything here blocks: it reads, compresses and writes files on all cores. Callers with an async runtime run it
//! beside that runtime.

pub mod apply;
mod durable;
pub mod hashing;
pub mod parameters;
pub mod pattern;
pub mod registry;
pub mod seal;
mod secrecy;
pub mod stopping;
pub mod store;
pub mod transform;
pub mod web_deploy;
pub mod xml;
