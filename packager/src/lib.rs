//! Outputs → package. A map, in reading order:
//!
//! 1. [`web_deploy`]: a tree of files as a Web Deploy package, written the same way everywhere, and read without trust.
//! 2. [`parameters`]: what of a package is decided only when it is applied; [`pattern`]: .NET's regular expressions.
//! 3. [`store`]: packages by content and by name, published once and for good.
//! 4. [`xml`]: files that parameters and transforms change, read with the place of every node.
//! 5. [`seal`]: the one way from a passed run to a package in the store.
//!
//! Everything here blocks: it reads, compresses and writes files on all cores. Callers with an async runtime run it
//! beside that runtime.

mod durable;
pub mod parameters;
pub mod pattern;
pub mod seal;
pub mod store;
pub mod web_deploy;
pub mod xml;
