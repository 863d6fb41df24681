//! What is said over the program's standard streams.
//!
//! Both directions carry frames: four bytes with the length of what follows (big-endian), one byte with its kind, and the
//! rest. Kind 0 is a message as JSON ([`Request`] to the program, [`Reply`] from it), kind 1 is [content]: deflated bytes of
//! manifests and files.
//!
//! The program speaks first ([`Reply::Hello`]). Then each request is answered in the order in which they came: by any number
//! of replies that tell how far it is, and one that [ends](Reply::ends) it. [`Request::Cancel`] is read while the program works, and
//! ends what it works on at a safe point. So does the end of its standard input.
//!
//! Staging is a conversation: [`Request::Stage`], behind it the manifest as content where it says so; the program replies with
//! [`Reply::Lacks`]; the contents follow, without a round trip for each; [`Request::Sent`] ends them.

pub mod content;
pub mod delta;
mod frame;
mod message;
mod secret;

pub use frame::{FrameError, Kind, LONGEST_FRAME, decode_length, encode, read_frame};
pub use message::{
    Answer, Asked, HookRan, Inspected, Lacks, ManifestBy, Order, Question, Reply, Request, Seen, Serving,
    Stage, State, System, Verdict, Words,
};
pub use secret::Hidden;

/// The protocol that this crate speaks. A program and a client of different numbers do not talk.
pub const PROTOCOL: u32 = 2;
