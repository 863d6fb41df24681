//! Environments of machines, put together from the project, the home and this machine. A map, in reading order:
//!
//! 1. [`Site`]: one environment of a project, and everything that deploying to it needs.
//! 2. `reach`: how each machine is spoken to; `traffic`: how the traffic provider is.
//! 3. `hold`: what is brought to machines: packages from the store, rendered, with secrets.
//! 4. `gatekeeper`: what protects the environment, judged from its ledger and from what is asked of others.
//! 5. `survey`: what the machines say, beside what the ledger says of them.
//! 6. `provisioning`: how its machines are made and taken down.
//! 7. `warm`: pools that served before a swap, and are stopped when their time is over.
//! 8. `origin`: where what is released came from; `facts`: what its ledger says of its deployments, for questions about them.

mod facts;
mod gatekeeper;
mod hold;
mod origin;
mod provisioning;
mod reach;
mod site;
mod survey;
mod traffic;
mod warm;

pub(crate) use facts::{contacts, facts_of_all, with_commit_times};
pub(crate) use gatekeeper::Heard;
pub(crate) use origin::{as_told, source_of, when_committed};
pub(crate) use provisioning::{Asked, Done, Wish, cloud_init, made_ready, provision, swept};
pub(crate) use site::{
    Site, log_of, missing_secrets, pipeline_in, release_among, secret_names, secrets_beside, secrets_of,
    setting_for, shelf_of, sites_in, takers_of, version_key,
};
pub(crate) use survey::{EnvironmentLook, TargetLook};
pub(crate) use warm::{cool, overwarm};
