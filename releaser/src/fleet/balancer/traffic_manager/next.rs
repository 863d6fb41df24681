//! What a profile is to be told now. Pure: from what it says and who is to serve.

use std::collections::{BTreeMap, BTreeSet};

use staith_model::Name;

use super::report::Profile;

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// These are told, in order; then it is looked again.
    Tell(Vec<Change>),
    /// These are not up yet.
    Wait(BTreeSet<Name>),
    /// All is as it should be.
    Settled,
}

/// What is changed about one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) name: Name,
    /// `None` leaves it.
    pub(super) enabled: Option<bool>,
    /// `None` leaves it.
    pub(super) weight: Option<u32>,
    /// Whether it had no requests before and now may get some.
    pub(super) brings_in: bool,
}

impl Change {
    pub(super) fn disable(name: &Name) -> Self {
        Self { name: name.clone(), enabled: Some(false), weight: None, brings_in: false }
    }
}

/// Enable those that come, with the smallest weight; wait until all that are to serve are up; give them their weights; and only then
/// disable those that go. Each step is decided from a fresh look.
pub(super) fn next(profile: &Profile, to: &BTreeMap<Name, u32>) -> Next {
    let of = |name: &Name| profile.endpoints.get(name);
    let coming: Vec<Change> = to
        .keys()
        .filter(|name| of(name).is_some_and(|endpoint| !endpoint.enabled))
        .map(|name| Change {
            name: name.clone(),
            enabled: Some(true),
            // An endpoint gets requests before its first probe has come back: as few as can be.
            weight: profile.weighted.then_some(1),
            brings_in: true,
        })
        .collect();
    if !coming.is_empty() {
        return Next::Tell(coming);
    }
    let down: BTreeSet<Name> =
        to.keys().filter(|name| !of(name).is_some_and(|endpoint| endpoint.is_up())).cloned().collect();
    if !down.is_empty() {
        return Next::Wait(down);
    }
    let wrong = |(name, weight): &(&Name, &u32)| {
        profile.weighted && of(name).is_some_and(|endpoint| endpoint.weight != **weight)
    };
    let weights: Vec<Change> = to
        .iter()
        .filter(wrong)
        .map(|(name, weight)| Change {
            name: name.clone(),
            enabled: None,
            weight: Some(*weight),
            brings_in: false,
        })
        .collect();
    if !weights.is_empty() {
        return Next::Tell(weights);
    }
    let leaving =
        profile.endpoints.iter().filter(|(name, endpoint)| endpoint.enabled && !to.contains_key(*name));
    let leaving: Vec<Change> = leaving.map(|(name, _)| Change::disable(name)).collect();
    if leaving.is_empty() { Next::Settled } else { Next::Tell(leaving) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fleet::balancer::traffic_manager::report::Endpoint;

    fn endpoint() -> impl Strategy<Value = Endpoint> {
        (any::<bool>(), any::<bool>(), 1u32..4).prop_map(|(enabled, up, weight)| Endpoint {
            enabled,
            weight,
            monitored: if enabled && up { "Online" } else { "CheckingEndpoint" }.into(),
            ..Endpoint::default()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Killed after any change and begun again: it comes to what was asked, and once somebody who is up serves, somebody always does.
        #[test]
        fn it_converges_from_anywhere_and_is_never_without_an_endpoint(
            endpoints in prop::collection::btree_map("[a-d]", endpoint(), 2..5),
            choice in prop::collection::vec((0usize..4, 1u32..4), 1..4),
            weighted in any::<bool>(),
            kills in prop::collection::vec(0usize..3, 0..8),
        ) {
            let endpoints: BTreeMap<Name, Endpoint> =
                endpoints.into_iter().map(|(name, endpoint)| (name.parse().unwrap(), endpoint)).collect();
            let names: Vec<Name> = endpoints.keys().cloned().collect();
            let to: BTreeMap<Name, u32> = choice.into_iter().map(|(at, weight)| (names[at % names.len()].clone(), weight)).collect();
            let mut profile = Profile { endpoints, weighted, enabled: true, ..Profile::default() };
            let serving = |profile: &Profile| profile.endpoints.values().any(|one| one.enabled && one.is_up());
            let (mut served, mut kills) = (serving(&profile), kills.into_iter());
            for _ in 0..40 {
                match next(&profile, &to) {
                    Next::Settled => break,
                    Next::Wait(names) => {
                        for name in names { profile.endpoints.get_mut(&name).unwrap().monitored = "Online".into(); }
                    }
                    Next::Tell(changes) => {
                        let most = kills.next().unwrap_or(changes.len());
                        for change in changes.iter().take(most) {
                            let one = profile.endpoints.get_mut(&change.name).unwrap();
                            one.enabled = change.enabled.unwrap_or(one.enabled);
                            one.weight = change.weight.unwrap_or(one.weight);
                            if change.brings_in { one.monitored = "CheckingEndpoint".into(); }
                            prop_assert!(!served || serving(&profile), "nobody serves after {change:?}");
                            served |= serving(&profile);
                        }
                    }
                }
                served |= serving(&profile);
            }
            prop_assert_eq!(next(&profile, &to), Next::Settled);
            let enabled: BTreeSet<&Name> = profile.endpoints.iter().filter(|(_, one)| one.enabled).map(|(name, _)| name).collect();
            prop_assert_eq!(enabled, to.keys().collect());
            if weighted { prop_assert!(to.iter().all(|(name, weight)| profile.endpoints[name].weight == *weight)); }
        }
    }
}
