//! Outputs → package. A map, in reading order:
//!
//! 1. [`web_deploy`]: a tree of files as a Web Deploy package, written the same way everywhere, and read without trust.
//! 2. [`store`]: packages by content and by name, published once and for good.
//! 3. [`seal`]: the one way from a passed run to a package in the store.
//! 4. [`registry`]: packages over HTTP, for tools that know registries, and from registries of others.
//!
//! Everything here blocks: it reads, compresses and writes files on all cores. Callers with an async runtime run it
//! beside that runtime.

mod durable;
pub mod registry;
pub mod seal;
pub mod store;
pub mod web_deploy;
