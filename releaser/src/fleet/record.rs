//! What the ledger of an environment tells, in pure folds. A map, in reading order:
//!
//! 1. [`fact`]: a deployment as these folds see it. [`entries`]: how the ledger's entries become that.
//! 2. [`whereabouts`]: from a commit to the machines that serve it, and from a machine back to the commit; history.
//! 3. [`figures`]: how often, how fast, how well: the four delivery metrics.
//! 4. [`drift`]: what machines serve against what they should.
//! 5. [`notes`]: what is new in a release, from commits. [`run_book`]: how an environment is released to, for people.
//! 6. `markdown`: text of others in pages of ours.

pub mod drift;
pub mod entries;
pub mod fact;
pub mod figures;
mod markdown;
pub mod notes;
pub mod run_book;
pub mod whereabouts;

pub use fact::{DeploymentFact, Kind, Outcome, TargetFact, succeeded_in};
