//! What git-lfs keeps elsewhere: the contents of files of which git itself has only pointers. A map, in reading order:
//!
//! 1. [`Pointer`]: what is in a file's place. Which files these are, `attributes` beside this module decides.
//! 2. [`Held`]: where the objects of one repository may be.
//! 3. `gather`: what a checkout needs is brought into the pool: from the repository itself, from our own store, from a server.
//! 4. `store`: objects that came from servers, each for the repository that it came for.
//!
//! What speaks with servers is in `remote::lfs`. ([decision 14](../../../docs/decisions/014-large-files.md))

mod gather;
mod held;
mod pointer;
mod store;

pub(super) use self::{
    gather::{Gathering, open_plainly},
    held::Held,
    pointer::{LONGEST_POINTER, Pointer, Read as PointerRead},
};

/// Larger objects are not taken, in bytes.
pub(super) const LARGEST_OBJECT: u64 = 64 << 30;
