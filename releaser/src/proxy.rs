//! The built-in reverse proxy: HTTP in front of whichever pool is active, or of the members of a backend.
//!
//! The contract: after [`Routes::switch`] has returned, no request that begins is answered by the pool that was active
//! before, and each request that had begun is answered where it began. Nothing is ever sent twice that could be a
//! write. When the active pool does not accept connections, requests are held for a while instead of being failed.
//!
//! 1. [`Routes`]: which upstream gets requests. [`Upstream`]: one pool's program, its connections and what it is doing.
//! 2. [`serve`]: connections of clients, within [`Limits`].
//! 3. `forward`: one request. `headers`: what is changed about it. `body`: its answer. `tunnel`: upgraded connections.
//! 4. `rewind`, `tls`: HTTP/2 without TLS is told by its first bytes, and with it by ALPN.
//! 5. [`station`]: the proxy as a process of its own, with several members and `check`s of them.

mod body;
mod check;
mod files;
mod forward;
mod headers;
mod rewind;
mod route;
mod serve;
pub mod station;
mod tls;
mod tunnel;
mod upstream;

pub(crate) use files::room_for_connections;
pub use route::{Claim, Routes};
pub use serve::{Limits, serve};
pub use upstream::{NotAccepting, Upstream};
