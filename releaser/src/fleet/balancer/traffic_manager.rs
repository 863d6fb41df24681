//! Azure Traffic Manager, through Azure Resource Manager's REST interface. **Not verified against Azure itself**: it is held to exchanges
//! that follow the public documentation of API version 2022-04-01.
//!
//! The members are the endpoints of one profile, by the targets' names. In reading order: 1. `report`: what a profile says. 2. `next`: what
//! it is to be told now. Pure; who was killed in between begins here again. 3. `rest`: one request and its answer; `token`: who asks.
//! 4. [`TrafficManager`].
//!
//! **No compare-and-swap**: this interface has no `ETag` and takes no `If-Match` for profiles and endpoints. Each change names one endpoint
//! and no more than its status and weight, so that nothing else of a profile is overwritten; the deployment's lease alone keeps two
//! deployments apart, and no epoch is remembered.
//!
//! **Traffic Manager answers names and forwards nothing.** Clients believe an answer for the profile's time to live
//! ([`Balancer::lingers`]); how many still come to a member that went can't be told here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use staith_model::Name;
use tokio::time::Instant;

use super::{Balancer, BalancerState, Member, Shift, Shifted};
use crate::{fleet::machine::Order, traffic::TrafficError};

mod next;
mod report;
mod rest;
mod token;

pub use token::SignIn;

use next::{Change, Next};
use report::Profile;
use rest::Rest;

/// How often a profile is looked at while its monitoring is waited for. It probes every 10 or 30 s.
const LOOK: Duration = Duration::from_secs(2);

/// What is waited for beyond the patience for members, while somebody else changes the profile, too.
const MEDDLING: Duration = Duration::from_secs(60);

const CHANGE: &str = "change who gets requests";

/// The endpoints of a profile.
pub struct TrafficManager {
    rest: Rest,
    look: Duration,
    /// The profile's time to live as it was seen, in seconds.
    ttl: AtomicU32,
    weighted: AtomicBool,
}

impl TrafficManager {
    /// The balancer that a profile is. `management` is `https://management.azure.com`, or that of another cloud of Azure.
    /// Contacts nobody.
    ///
    /// # Errors
    /// The settings of this process's environment (its proxies) can't be used, or an address is none.
    pub fn new(management: &str, profile: &str, sign_in: SignIn) -> Result<Self, TrafficError> {
        let rest = Rest::new(management, profile, sign_in)?;
        Ok(Self { rest, look: LOOK, ttl: AtomicU32::new(0), weighted: AtomicBool::new(true) })
    }

    async fn look(&self, what: &'static str) -> Result<Profile, TrafficError> {
        let told = self.rest.profile(what).await?;
        let profile = report::profile(&told).map_err(|why| TrafficError::Refused { what, why })?;
        self.ttl.store(profile.ttl, Ordering::Relaxed);
        self.weighted.store(profile.weighted, Ordering::Relaxed);
        Ok(profile)
    }

    async fn tell(&self, profile: &Profile, changes: &[Change]) -> Result<(), TrafficError> {
        for change in changes {
            let Some(endpoint) = profile.endpoints.get(&change.name) else { continue };
            self.rest.change(endpoint, change, CHANGE).await?;
        }
        Ok(())
    }

    /// Takes back those that were brought in and did not come up: else they would get requests some day when nobody looks.
    async fn take_back(&self, profile: &Profile, brought: &BTreeSet<Name>, to: &BTreeMap<Name, u32>) {
        let others =
            profile.endpoints.iter().any(|(name, endpoint)| endpoint.enabled && !brought.contains(name));
        let up = |name: &&Name| profile.endpoints.get(*name).is_some_and(|endpoint| endpoint.is_up());
        if !others && !to.keys().any(|name| up(&name)) {
            return;
        }
        let changes: Vec<Change> = brought.iter().filter(|name| !up(name)).map(Change::disable).collect();
        if let Err(error) = self.tell(profile, &changes).await {
            tracing::warn!(%error, "an endpoint that did not come up stays enabled");
        }
    }
}

/// Refuses what can't or must not be done, before anything is said.
fn admissible(profile: &Profile, to: &BTreeMap<Name, u32>) -> Result<(), TrafficError> {
    let refused = |why: String| Err(TrafficError::Refused { what: CHANGE, why });
    if to.is_empty() {
        return refused("nobody is to get them, and then the name would have no answer".into());
    }
    if let Some((name, weight)) = to.iter().find(|(_, weight)| !(1..=1000).contains(*weight)) {
        return refused(format!("the weight of {name} is {weight}, and Traffic Manager has 1 to 1000"));
    }
    if let Some(unknown) = to.keys().find(|name| !profile.endpoints.contains_key(*name)) {
        return refused(format!(
            "the profile {} has no endpoint {unknown}; make one of that name",
            profile.name
        ));
    }
    if !profile.enabled {
        return refused(format!(
            "the profile {} is disabled, so nobody is answered; enable it",
            profile.name
        ));
    }
    if !profile.weighted && to.values().collect::<BTreeSet<_>>().len() > 1 {
        return refused(format!(
            "the weights differ, and the profile {} routes by {}; only `Weighted` has weights",
            profile.name, profile.routing
        ));
    }
    Ok(())
}

fn not_up(profile: &Profile, waited_for: &BTreeSet<Name>, patience: Duration) -> TrafficError {
    let how = |name: &Name| {
        let status = profile.endpoints.get(name).map_or("gone", |endpoint| endpoint.monitored.as_str());
        format!("{name} (it says {status})")
    };
    let who: Vec<String> = waited_for.iter().map(how).collect();
    let why = format!(
        "Traffic Manager did not find up within {} s: {}. Nobody who served was disabled. It probes every {} s and changes its mind after \
         {} failures: `health.deadline` has to be longer than that; see whether the application answers its probe from outside",
        patience.as_secs(),
        who.join(", "),
        profile.interval,
        profile.tolerated
    );
    TrafficError::Refused { what: CHANGE, why }
}

#[async_trait]
impl Balancer for TrafficManager {
    async fn observe(&self) -> Result<BalancerState, TrafficError> {
        let profile = self.look("tell who gets requests").await?;
        if let Some(stranger) = profile.strangers.first() {
            let why = format!(
                "the endpoint `{stranger}` of the profile {} is enabled, and no target can be called so; disable or rename it",
                profile.name
            );
            return Err(TrafficError::Refused { what: "tell who gets requests", why });
        }
        let members = profile.endpoints.iter().map(|(name, endpoint)| {
            let weight = match (endpoint.enabled, profile.weighted) {
                (false, _) => 0,
                (true, true) => endpoint.weight,
                (true, false) => 1,
            };
            let member =
                Member { weight, admitted: endpoint.enabled, up: endpoint.found_up(), in_flight: None };
            (name.clone(), member)
        });
        Ok(BalancerState { epoch: None, members: members.collect() })
    }

    async fn serve(&self, _: &Order, shift: &Shift) -> Result<Shifted, TrafficError> {
        let began = Instant::now();
        let (mut acted, mut brought) = (false, BTreeSet::new());
        loop {
            let profile = self.look(CHANGE).await?;
            admissible(&profile, &shift.to)?;
            match next::next(&profile, &shift.to) {
                Next::Settled => return Ok(Shifted { already: !acted, left: BTreeMap::new() }),
                Next::Wait(names) if began.elapsed() >= shift.patience => {
                    self.take_back(&profile, &brought, &shift.to).await;
                    return Err(not_up(&profile, &names, shift.patience));
                }
                Next::Wait(_) => tokio::time::sleep(self.look).await,
                Next::Tell(_) if began.elapsed() >= shift.patience + MEDDLING => {
                    let why = "the profile is changed again and again; is somebody else deploying?".into();
                    return Err(TrafficError::Lost { what: CHANGE, why });
                }
                Next::Tell(changes) => {
                    brought.extend(changes.iter().filter(|one| one.brings_in).map(|one| one.name.clone()));
                    self.tell(&profile, &changes).await?;
                    acted = true;
                }
            }
        }
    }

    fn granularity(&self) -> u32 {
        if self.weighted.load(Ordering::Relaxed) { 256 } else { 1 }
    }

    fn lingers(&self) -> Duration {
        Duration::from_secs(u64::from(self.ttl.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests;
