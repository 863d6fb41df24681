//! Environments of machines, put together from the project, the home and this machine. A map, in reading order:
//!
//! 1. [`Site`]: one environment of a project, and everything that deploying to it needs.
//! 2. `reach`: how each machine and the traffic provider are spoken to.
//! 3. `hold`: what is brought to machines: packages from the store, rendered, with secrets.
//! 4. `gatekeeper`: what protects the environment, judged from its ledger and from what is asked of others.
//! 5. `provisioning`: how its machines are made and taken down.
//! 6. `facts`: what its ledger says of its deployments, for questions about them.

mod facts;
mod gatekeeper;
mod hold;
mod provisioning;
mod reach;
mod site;

pub(crate) use facts::facts_of_all;
pub(crate) use provisioning::{Asked, Done, Wish, cloud_init, made_ready, provision, swept};
pub(crate) use site::{
    Site, pipeline_in, release_among, secrets_of, setting_for, shelf_of, sites_in, source_of, version_key,
};
