//! What operators do with a server's directory: check it, back it up while the server runs, restore it.
//!
//! 1. [`check`]. 2. [`back_up`] and its [`Manifest`]. 3. [`restore`].

mod backup;
mod check;
mod files;
mod restore;

pub use self::{
    backup::{BackedUp, Manifest, back_up},
    check::{Checked, Finding, check},
    files::UpkeepError,
    restore::restore,
};
