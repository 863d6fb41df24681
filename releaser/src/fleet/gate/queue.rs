//! What becomes of deployments that wait for one another. One environment, one deployment at a time.

use std::cmp::Reverse;

use staith_model::Queue;

/// What is to be done with those that wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next<Id> {
    /// The one that may begin now.
    pub begins: Option<Id>,
    /// Those that will never begin: a newer one takes their place.
    pub superseded: Vec<Id>,
}

/// Decides. `waiting` are those that wait, each with its place in the order in which they came (its position in the ledger, which
/// no clock can change); `is_busy` says whether one is under way. A deployment that is under way is never superseded.
pub fn next<Id: Clone>(queue: Queue, waiting: &[(u64, Id)], is_busy: bool) -> Next<Id> {
    let mut order: Vec<&(u64, Id)> = waiting.iter().collect();
    let superseded = match queue {
        Queue::InOrder => {
            order.sort_by_key(|(place, _)| *place);
            Vec::new()
        }
        Queue::NewestWins => {
            order.sort_by_key(|(place, _)| Reverse(*place));
            order.iter().skip(1).rev().map(|(_, id)| id.clone()).collect()
        }
    };
    let begins = order.first().filter(|_| !is_busy).map(|(_, id)| id.clone());
    Next { begins, superseded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_takes_the_place_of_all_that_wait() {
        let waiting = [(3, "c"), (7, "g"), (5, "e")];
        assert_eq!(
            next(Queue::NewestWins, &waiting, false),
            Next { begins: Some("g"), superseded: vec!["c", "e"] }
        );
        assert_eq!(
            next(Queue::NewestWins, &waiting, true),
            Next { begins: None, superseded: vec!["c", "e"] }
        );
        assert_eq!(next(Queue::InOrder, &waiting, false), Next { begins: Some("c"), superseded: vec![] });
        assert_eq!(next(Queue::InOrder, &waiting, true), Next { begins: None, superseded: vec![] });
        assert_eq!(next::<u8>(Queue::NewestWins, &[], false), Next { begins: None, superseded: vec![] });
    }
}
