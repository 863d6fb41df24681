//! Executes a plan, survives being killed, goes back when it fails.
//!
//! Level-triggered: before each operation the driver looks whether it is already so, and after losing contact it looks
//! again and plans again. There is no step to resume at: whoever is killed at any point deploys again, and what was done
//! is found done.
//!
//! In reading order: [`Local`] is what the command line uses. [`Driver`] is the executor over the two seams, from lock to
//! record; `session` is one deployment under way, `course` its life as events, `retreat` the way back, `books` what survives a kill, [`DriveError`] what is told
//! to people. [`status`] reads.

mod books;
mod course;
mod driver;
mod error;
mod journal;
mod local;
pub(crate) mod lock;
mod record;
mod retreat;
mod session;
mod status;

pub use books::{Books, BooksError};
pub use driver::{Deployed, Driver, Wanted};
pub use error::{DriveError, Ending, Failure};
pub use local::{Local, stop};
pub use lock::LockError;
pub use record::{Attempt, AttemptKind, AttemptResult, Record};
pub use status::{EnvironmentStatus, KeeperLine, PoolLine, ReleaseLine, status};

/// Where a deployment's events go, in the order in which they happen.
pub type Events<'a> = &'a mut (dyn FnMut(staith_model::EventKind) + Send);
