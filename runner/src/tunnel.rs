//! How the deployer speaks to a machine that it can't reach: through the server, which both of them ask. A map, in reading order:
//!
//! 1. `end`: what an end of a tunnel asks the server. `carry`: bytes from and to it, for as long as that may go on.
//! 2. [`Through`]: the deployer's end, as a way to a machine's program like ssh.
//! 3. [`serve`]: the machine's end: the program, started as ssh would start it.
//!
//! What was asked and not answered is asked again: bytes are counted, so that nothing is there twice. A tunnel that is gone is a
//! connection that broke, and is met as one: whoever deploys looks again what is there, and goes on.

mod carry;
mod end;
mod serve;
mod way;

pub(crate) use self::{
    end::End,
    serve::{Stops, serve},
    way::Through,
};
