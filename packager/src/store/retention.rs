//! What may go, as a pure function of what is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use staith_model::{Name, Version};

/// What stays of each name. A version stays if any part of the policy keeps it; a policy without parts keeps everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// So many that were published last.
    pub newest: Option<usize>,
    /// All that are younger than this.
    pub younger: Option<Duration>,
}

/// All that is published, and what of it must stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stock {
    /// When each version was published, in milliseconds since 1970.
    pub versions: BTreeMap<(Name, Version), u64>,
    /// What channels stand for, what is pinned, and what releases use.
    pub held: BTreeSet<(Name, Version)>,
}

/// The versions that go, sorted. `now` is in milliseconds since 1970; what was published later, by a clock that is ahead, is
/// young.
pub fn plan_retention(policy: &Policy, stock: &Stock, now: u64) -> BTreeSet<(Name, Version)> {
    if *policy == Policy::default() {
        return BTreeSet::new();
    }
    let mut by_name: BTreeMap<&Name, Vec<(&u64, &Version)>> = BTreeMap::new();
    for ((name, version), at) in &stock.versions {
        by_name.entry(name).or_default().push((at, version));
    }
    let mut going = BTreeSet::new();
    for (name, mut versions) in by_name {
        versions.sort_unstable_by(|a, b| b.cmp(a));
        for (nth, (at, version)) in versions.into_iter().enumerate() {
            let age = Duration::from_millis(now.saturating_sub(*at));
            let is_new = policy.newest.is_some_and(|newest| nth < newest);
            let is_young = policy.younger.is_some_and(|younger| age < younger);
            let version = (name.clone(), version.clone());
            if !is_new && !is_young && !stock.held.contains(&version) {
                going.insert(version);
            }
        }
    }
    going
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(name: &str, version: &str) -> (Name, Version) {
        (name.parse().unwrap(), version.parse().unwrap())
    }

    fn texts(policy: Policy, stock: &Stock, now: u64) -> Vec<String> {
        plan_retention(&policy, stock, now)
            .iter()
            .map(|(name, version)| format!("{name}@{version}"))
            .collect()
    }

    #[test]
    fn what_is_new_young_or_held_stays() {
        let versions = [one("a", "1"), one("a", "2"), one("a", "3"), one("b", "1"), one("b", "2")];
        let versions = versions.into_iter().zip([1000, 2000, 3000, 500, 4000]).collect();
        let stock = Stock { versions, held: [one("b", "1")].into() };
        let (newest, younger) = (Some(1), Some(Duration::from_millis(2500)));
        assert_eq!(texts(Policy { newest, younger: None }, &stock, 4000), ["a@1", "a@2"]);
        assert_eq!(texts(Policy { newest: None, younger }, &stock, 4000), ["a@1"]);
        assert_eq!(texts(Policy { newest, younger }, &stock, 4600), ["a@1", "a@2"]);
        assert_eq!(
            texts(Policy { newest: Some(0), younger: None }, &stock, 4000),
            ["a@1", "a@2", "a@3", "b@2"]
        );
        assert_eq!(texts(Policy::default(), &stock, u64::MAX), [""; 0]);
    }

    proptest! {
        #[test]
        fn nothing_goes_that_anything_keeps(
            at in proptest::collection::btree_map(("[ab]", "[0-9]{1,2}"), 0_u64..100, 0..20),
            held in proptest::collection::vec(("[ab]", "[0-9]{1,2}"), 0..5),
            newest in proptest::option::of(0_usize..4),
            younger in proptest::option::of(0_u64..100),
            now in 0_u64..150,
        ) {
            let versions: BTreeMap<_, _> = at.iter().map(|((name, version), at)| (one(name, version), *at)).collect();
            let held: BTreeSet<_> = held.iter().map(|(name, version)| one(name, version)).collect();
            let stock = Stock { versions, held };
            let policy = Policy { newest, younger: younger.map(Duration::from_millis) };
            let going = plan_retention(&policy, &stock, now);
            prop_assert!(going.is_disjoint(&stock.held));
            for ((name, version), at) in &stock.versions {
                let gone = going.contains(&(name.clone(), version.clone()));
                let is_young = younger.is_some_and(|younger| now.saturating_sub(*at) < younger);
                prop_assert!(!gone || !is_young);
                // Of those with one time, the order is that of their texts.
                let later = |other: &Version, when: u64| when > *at || (when == *at && other > version);
                let all = stock.versions.iter();
                let newer = all.filter(|((other, text), when)| other == name && later(text, **when)).count();
                prop_assert!(!gone || newest.is_none_or(|newest| newer >= newest));
            }
            // Removing what goes and planning again removes nothing more.
            let rest = Stock { versions: stock.versions.into_iter().filter(|(it, _)| !going.contains(it)).collect(), held: stock.held };
            prop_assert_eq!(plan_retention(&policy, &rest, now), BTreeSet::new());
        }
    }
}
