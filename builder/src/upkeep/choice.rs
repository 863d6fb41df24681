//! What goes, so that the rest fits. Pure.

use std::collections::BTreeMap;

use super::{Inventory, Item, Kind};

/// What goes, and what that comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collection {
    /// In this order.
    pub removals: Vec<Item>,
    /// Bytes that are kept now.
    pub before: u64,
    /// Bytes that are kept after that; more than the budget only where the rest is in use.
    pub after: u64,
}

/// What goes so that at most `budget` bytes are kept: what was used longest ago, one thing after another, until the rest
/// fits. What `is_pinned` says is in use stays, whatever that comes to.
///
/// `holds` says which contents a checkout holds, by their inodes; it is asked for checkouts that go. A content goes with the
/// last checkout that held it.
pub fn plan_collection(
    inventory: &Inventory,
    is_pinned: &dyn Fn(&Item) -> bool,
    budget: u64,
    holds: &dyn Fn(&Item) -> Vec<u64>,
) -> Collection {
    let before = inventory.bytes();
    let mut collection = Collection { removals: Vec::new(), before, after: before };
    if before <= budget {
        return collection;
    }
    let contents =
        inventory.items.iter().filter_map(|item| Some((item.inode?.number, (item, item.inode?.links))));
    let mut held: BTreeMap<u64, (&Item, u64)> = contents.collect();
    // What a checkout holds goes with it.
    let by_itself = |item: &&Item| item.inode.is_none_or(|inode| inode.links == 0);
    let mut candidates: Vec<&Item> = inventory.items.iter().filter(by_itself).collect();
    candidates.sort_unstable_by(|a, b| (a.used, a.kind, &a.name).cmp(&(b.used, b.kind, &b.name)));
    for item in candidates {
        if collection.after <= budget {
            break;
        }
        if is_pinned(item) {
            continue;
        }
        collection.remove(item);
        if item.kind == Kind::Checkout {
            for inode in holds(item) {
                let Some((content, links)) = held.get_mut(&inode) else { continue };
                *links = links.saturating_sub(1);
                if *links == 0 && !is_pinned(content) {
                    collection.remove(content);
                    held.remove(&inode);
                }
            }
        }
    }
    collection
}

impl Collection {
    fn remove(&mut self, item: &Item) {
        self.after = self.after.saturating_sub(item.bytes);
        self.removals.push(item.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::upkeep::Inode;

    /// A small world: things of one kind, contents, and checkouts that hold some of them.
    #[derive(Debug, Clone)]
    struct World {
        inventory: Inventory,
        pinned: BTreeSet<String>,
        held: BTreeMap<String, Vec<u64>>,
    }

    fn item(kind: Kind, name: String, bytes: u64, used: i64) -> Item {
        Item { kind, name, bytes, used, inode: None }
    }

    prop_compose! {
        fn any_world()(
            plain in prop::collection::vec((0..50u64, 0..9i64, any::<bool>()), 0..8),
            contents in prop::collection::vec((0..50u64, 0..9i64, any::<bool>()), 0..6),
            checkouts in prop::collection::vec(
                (0..5u64, 0..9i64, any::<bool>(), prop::collection::btree_set(0..6usize, 0..6)), 0..5),
        ) -> World {
            let mut world = World { inventory: Inventory::default(), pinned: BTreeSet::new(), held: BTreeMap::new() };
            let mut add = |item: Item, pinned: bool| {
                if pinned { world.pinned.insert(item.name.clone()); }
                world.inventory.items.push(item);
            };
            for (place, (bytes, used, pinned)) in plain.into_iter().enumerate() {
                add(item(Kind::Layer, format!("layer-{place}"), bytes, used), pinned);
            }
            for (place, (bytes, used, pinned)) in contents.iter().enumerate() {
                let links = checkouts.iter().filter(|(.., holds)| holds.contains(&place)).count() as u64;
                let inode = Some(Inode { number: place as u64, links });
                add(Item { inode, ..item(Kind::Content, format!("content-{place}"), *bytes, *used) }, *pinned);
            }
            for (place, (bytes, used, pinned, holds)) in checkouts.into_iter().enumerate() {
                let name = format!("checkout-{place}");
                let holds = holds.into_iter().filter(|one| *one < contents.len()).map(|one| one as u64);
                world.held.insert(name.clone(), holds.collect());
                add(item(Kind::Checkout, name, bytes, used), pinned);
            }
            world
        }
    }

    impl World {
        fn collect(&self, budget: u64) -> Collection {
            let holds = |item: &Item| self.held[&item.name].clone();
            plan_collection(&self.inventory, &|item| self.pinned.contains(&item.name), budget, &holds)
        }

        /// What is left when things are taken away one by one, as the disk would have it.
        fn left(&self, removals: &[Item]) -> Vec<&Item> {
            let gone: BTreeSet<&str> = removals.iter().map(|item| item.name.as_str()).collect();
            self.inventory.items.iter().filter(|item| !gone.contains(item.name.as_str())).collect()
        }
    }

    proptest! {
        #[test]
        fn what_is_pinned_stays_and_the_rest_fits(world in any_world(), budget in 0..300u64) {
            let collection = world.collect(budget);
            for item in &collection.removals {
                prop_assert!(!world.pinned.contains(&item.name), "{item:?}");
            }
            let left = world.left(&collection.removals);
            prop_assert_eq!(left.iter().map(|item| item.bytes).sum::<u64>(), collection.after);
            prop_assert_eq!(left.len() + collection.removals.len(), world.inventory.items.len(), "nothing goes twice");
            if collection.after > budget {
                // All that is left is in use, or is held by a checkout that is.
                let in_use = |item: &&Item| {
                    let is_held = |(name, holds): (&String, &Vec<u64>)| {
                        world.pinned.contains(name) && item.inode.is_some_and(|inode| holds.contains(&inode.number))
                    };
                    world.pinned.contains(&item.name) || world.held.iter().any(is_held)
                };
                prop_assert!(left.iter().all(in_use), "{left:?}");
            }
        }

        #[test]
        fn nothing_goes_without_need_and_the_oldest_go_first(world in any_world(), budget in 0..300u64) {
            let collection = world.collect(budget);
            prop_assert_eq!(collection.before <= budget, collection.removals.is_empty() && collection.before <= budget);
            // Contents go with their checkouts, whatever their own time is.
            let by_itself = |item: &&Item| item.inode.is_none_or(|inode| inode.links == 0);
            let newest_gone = collection.removals.iter().filter(by_itself).map(|item| item.used).max();
            let left = world.left(&collection.removals);
            let oldest_left = left.into_iter().filter(|item| by_itself(item) && !world.pinned.contains(&item.name));
            if let (Some(gone), Some(left)) = (newest_gone, oldest_left.map(|item| item.used).min()) {
                prop_assert!(gone <= left);
            }
            // The last thing that went by itself was needed.
            if let Some(last) = collection.removals.iter().rposition(|item| by_itself(&item)) {
                let bytes: u64 = collection.removals[..last].iter().map(|item| item.bytes).sum();
                prop_assert!(collection.before - bytes > budget);
            }
        }

        #[test]
        fn a_content_goes_exactly_with_its_last_checkout(world in any_world(), budget in 0..300u64) {
            let collection = world.collect(budget);
            let gone: BTreeSet<&str> = collection.removals.iter().map(|item| item.name.as_str()).collect();
            for content in world.inventory.items.iter().filter(|item| item.inode.is_some_and(|inode| inode.links > 0)) {
                let number = content.inode.unwrap().number;
                let mut holders = world.held.iter().filter(|(_, holds)| holds.contains(&number));
                let all_gone = holders.all(|(name, _)| gone.contains(name.as_str()));
                let is_gone = gone.contains(content.name.as_str());
                prop_assert_eq!(is_gone, all_gone && !world.pinned.contains(&content.name), "{:?}", content);
            }
        }
    }
}
