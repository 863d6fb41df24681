//! Environments of machines, put together from the project, the home and this machine. A map, in reading order:
//!
//! 1. [`Site`]: one environment of a project, and everything that deploying to it needs.
//! 2. `reach`: how each machine and the traffic provider are spoken to.
//! 3. `hold`: what is brought to machines: packages from the store, rendered, with secrets.
//! 4. `gatekeeper`: what protects the environment, judged from its ledger and from what is asked of others.
//! 5. `survey`: what the machines say, beside what the ledger says of them.
//! 6. `facts`: what its ledger says of its deployments, for questions about them.

mod facts;
mod gatekeeper;
mod hold;
mod reach;
mod site;
mod survey;

pub(crate) use facts::{contacts, facts_of_all, with_commit_times};
pub(crate) use site::{
    Site, pipeline_in, release_among, secrets_of, setting_for, shelf_of, sites_in, source_of, version_key,
};
pub(crate) use survey::{EnvironmentLook, TargetLook};
