//! A package onto a directory, as Web Deploy's `sync` does it. A map, in reading order:
//!
//! 1. `tree`: what the two sides hold. `skip`: what is to be left alone. `plan`: what has to be done, in pure code;
//!    `counters`: what that comes to.
//! 2. `source`: where content comes from; `package`: from one, with parameters applied. `destination`: a directory that is reached by handles, so that no link leads out.
//! 3. `execute`: an apply from beginning to end. `staging`: what is not finished, and how that of the dead is found.
//!    `switch`: the visible part, which can be taken back; `offline`: what visitors see meanwhile. `backup`: what was there before.

mod backup;
mod counters;
mod destination;
mod error;
mod execute;
mod offline;
mod package;
mod plan;
mod skip;
mod source;
mod staging;
mod switch;
mod tree;

pub use backup::{BackupOptions, Snapshot};
pub use counters::Counters;
pub use error::ApplyError;
pub use execute::{Applied, ApplyOptions, Step, Watch, apply, what_if};
pub use offline::OFFLINE_PAGE;
pub use package::{LONGEST_REWRITTEN, PackageSource, Rewriter, is_skipped, untaken};
pub use plan::{APP_OFFLINE, Action, ApplyPlan, Change, Object, PlanError, PlanOptions, plan, to_compare};
pub use skip::{BadSkip, SkipAction, SkipRule, Undecided};
pub use source::{InMemory, Source};
pub use tree::{FileFacts, Node, Tree};
