//! The built-in reverse proxy: HTTP/1.1 in front of whichever pool is active.
//!
//! The contract: after [`Routes::switch`] has returned, no request that begins is answered by the pool that was active
//! before, and each request that had begun is answered where it began. Nothing is ever sent twice that could be a
//! write. When the active pool does not accept connections, requests are held for a while instead of being failed.
//!
//! 1. [`Routes`]: which upstream gets requests. [`Upstream`]: one pool's program, its connections and what it is doing.
//! 2. [`serve`]: connections of clients, within [`Limits`].
//! 3. `forward`: one request. `headers`: what is changed about it. `body`: its answer. `tunnel`: upgraded connections.

mod body;
mod forward;
mod headers;
mod route;
mod serve;
mod tunnel;
mod upstream;

pub use route::{Claim, Routes};
pub use serve::{Limits, serve};
pub use upstream::{NotAccepting, Upstream};
