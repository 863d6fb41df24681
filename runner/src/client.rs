//! Asking a server over HTTP. A map, in reading order:
//!
//! 1. [`Address`]: where a server is, and by what it is known.
//! 2. [`Client`]: a question and its answer, each within a time that is known before.
//! 3. [`Refused`]: why there is none, told apart by whether it may be had later.
//! 4. [`Patience`]: how long one waits before asking again.
//! 5. [`people`]: the server that a person means, and what they may ask it. [`told`]: what they are told when it does not do it.
//!    [`pages`]: lists, whole.
//! 6. [`WhichRun`]: the run that a person means. [`Stream`]: a stream of an attempt, over whatever connections it takes.

mod address;
mod http;
pub(crate) mod pages;
mod patience;
pub(crate) mod people;
mod refused;
mod stream;
#[cfg(test)]
mod tests;
pub(crate) mod told;
mod which_run;

pub(crate) use self::{
    address::Address,
    http::{Ask, Client, Flow},
    patience::Patience,
    refused::Refused,
    stream::{End, Piece, Stream},
    which_run::WhichRun,
};
