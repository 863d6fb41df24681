//! A proxy that is a process of its own, for environments of machines: several backends, each with several members.
//!
//! 1. `settings`: its configuration. [`Station`]: the process.
//! 2. `backend`: members, and the choice of one for each request. Checks are those of `check` one room above.
//! 3. [`protocol`]: what is said through the control socket. `desk`: who listens there. `orders`: what is refused, and what is
//!    carried out.
//! 4. `saved`: what survives.
//!
//! An order is on the disk before it counts, so a proxy that was killed serves, when it is started again, what it served before.

mod backend;
mod desk;
mod orders;
mod process;
pub mod protocol;
mod saved;
mod settings;

pub use process::{NotStarted, Station};
pub use settings::{BackendSettings, MemberSettings, Settings, TlsSettings};
