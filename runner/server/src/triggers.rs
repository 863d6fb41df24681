//! Projects, what happens to them, and which runs come of it. A map, in reading order:
//!
//! 1. `projects` and `settings`: what is built, and what an administrator may say of it.
//! 2. How something arrives, each written down before it is acknowledged: `hook` (git's own), `webhooks` (forges), `polling` (nobody
//!    told), `schedules` (clocks; what pipelines themselves say of them is in `clocks`), `asked` (people).
//! 3. `look`: arrivals are looked into. [`planner`]: what a happening comes to, which needs the repository; implemented outside.
//!    `decide`: from that to a run, with its [`Trust`](staith_model::service::Trust). Pure.
//! 4. `explain`: what would something set off? Nothing is written down for it.
//! 5. `statuses`: forges are told how runs end. `egress`: where the server may go for that. `forge_secrets`: how both sides know each
//!    other.

mod arrivals;
mod asked;
mod clocks;
mod cron;
mod decide;
mod egress;
mod explain;
mod forge_secrets;
mod glob;
mod hook;
mod ids;
pub mod look;
pub mod planner;
pub mod polling;
mod projects;
pub mod schedules;
mod settings;
pub mod statuses;
mod surroundings;
mod webhooks;

pub(crate) use self::projects::problem as unplanned;
pub use self::{
    arrivals::Approved,
    clocks::Clocks,
    forge_secrets::Sealed as SealedForgeSecrets,
    surroundings::{ForgeSecrets, Surroundings},
};

use axum::Router;
use tokio_util::sync::CancellationToken;

use crate::site::Site;

/// The routes of this room.
pub fn routes() -> Router<Site> {
    Router::new()
        .merge(projects::routes())
        .merge(arrivals::routes())
        .merge(hook::routes())
        .merge(webhooks::routes())
        .merge(asked::routes())
        .merge(explain::routes())
}

/// Looks into what arrives, compares repositories, watches clocks and tells forges, until `stop`. All that matters is in the store:
/// it may be killed at any time.
pub async fn run(site: Site, stop: CancellationToken) {
    tokio::join!(
        look::run(&site, &stop),
        polling::run(&site, &stop),
        schedules::run(&site, &stop),
        statuses::run(&site, &stop)
    );
}
