//! How long attempts may go on without saying that they are alive. In memory, by a clock that only goes forward: a clock that is set
//! can't end a lease, and a server that starts gives every attempt a fresh one. Pure: time comes in from outside.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use staith_model::AttemptId;

/// How long an attempt counts after it was last heard of. Long enough that two renewals may be lost in a row and the third still
/// comes; short enough that a lost host costs a job a quarter of a minute.
pub const LEASE: Duration = Duration::from_secs(15);

/// How often a runner renews. A third of the lease.
pub const RENEWAL: Duration = Duration::from_secs(5);

/// How long a runner has to end what it was asked to end: it hears of it with the next renewal, its steps have their own time to end,
/// and what they wrote is sent.
pub const TIME_TO_STOP: Duration = Duration::from_secs(45);

/// How much longer than it may a job runs before the server wants it ended. Runners end their jobs themselves; this is for those that
/// don't. With [`TIME_TO_STOP`] it is a minute at most.
pub const OVERTIME: Duration = Duration::from_secs(15);

/// How long it is remembered that a lease ran out. A renewal that was under way finds it, and is refused.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The leases of all attempts that have not ended.
#[derive(Debug, Default)]
pub struct Leases(BTreeMap<AttemptId, Lease>);

#[derive(Debug, Clone, Copy)]
struct Lease {
    until: Until,
    /// When it has run as long as it may.
    overtime: Duration,
    /// When it must have stopped, once it is wanted to.
    stop_by: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// It counts until then.
    Held(Duration),
    /// It ran out, and the store is to be told.
    RanOut,
    /// The store was told; forgotten then.
    Over(Duration),
}

/// What has to be done about attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// Their leases ran out. From now on no renewal is taken.
    pub lost: Vec<AttemptId>,
    /// They run longer than they may.
    pub out_of_time: Vec<AttemptId>,
    /// They were to stop and did not.
    pub not_stopped: Vec<AttemptId>,
}

impl Leases {
    /// An attempt has a full lease from now on: it begins, or it was found when the server started. `time_left` is how long it may
    /// still run. One that is known is renewed; whether its lease had not run out before.
    pub fn hold(&mut self, attempt: &AttemptId, time_left: Duration, now: Duration) -> bool {
        let fresh = Lease {
            until: Until::Held(now + LEASE),
            overtime: now.saturating_add(time_left).saturating_add(OVERTIME),
            stop_by: None,
        };
        let lease = self.0.entry(attempt.clone()).or_insert(fresh);
        match &mut lease.until {
            Until::Held(until) if *until > now => {
                *until = now + LEASE;
                true
            }
            _ => false,
        }
    }

    /// An attempt was asked to end. The first time counts.
    pub fn stopping(&mut self, attempt: &AttemptId, now: Duration) {
        if let Some(lease) = self.0.get_mut(attempt) {
            lease.stop_by.get_or_insert(now + TIME_TO_STOP);
        }
    }

    /// An attempt ended: the store says so.
    pub fn over(&mut self, attempt: &AttemptId, now: Duration) {
        if let Some(lease) = self.0.get_mut(attempt) {
            lease.until = Until::Over(now + REMEMBERED);
        }
    }

    /// What has to be done now. What is not reported as done ([`over`](Self::over), [`stopping`](Self::stopping)) is due again.
    pub fn due(&mut self, now: Duration) -> Due {
        self.0.retain(|_, lease| !matches!(lease.until, Until::Over(forget) if forget <= now));
        let mut due = Due::default();
        for (attempt, lease) in &mut self.0 {
            match lease.until {
                Until::Held(until) if until > now => {}
                Until::Held(_) | Until::RanOut => {
                    lease.until = Until::RanOut;
                    due.lost.push(attempt.clone());
                    continue;
                }
                Until::Over(_) => continue,
            }
            match lease.stop_by {
                Some(by) if by <= now => due.not_stopped.push(attempt.clone()),
                None if lease.overtime <= now => due.out_of_time.push(attempt.clone()),
                _ => {}
            }
        }
        due
    }

    /// When something is due next, if nothing else happens.
    pub fn next(&self) -> Option<Duration> {
        self.0.values().filter_map(Lease::next).min()
    }

    /// Attempts of `live` that have no lease: something went wrong between the store and here.
    pub fn missing<'a>(&self, live: impl IntoIterator<Item = &'a AttemptId>) -> BTreeSet<AttemptId> {
        live.into_iter().filter(|attempt| !self.0.contains_key(attempt)).cloned().collect()
    }

    /// How many attempts have a lease.
    pub fn held(&self) -> usize {
        self.0.values().filter(|lease| matches!(lease.until, Until::Held(_))).count()
    }
}

impl Lease {
    fn next(&self) -> Option<Duration> {
        match self.until {
            Until::Held(until) => Some(until.min(self.stop_by.unwrap_or(self.overtime))),
            Until::RanOut => Some(Duration::ZERO),
            Until::Over(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn attempt(number: u8) -> AttemptId {
        AttemptId::new(1, [number; 10])
    }

    const LONG: Duration = Duration::from_hours(1);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_ends_after_its_last_renewal_and_never_comes_back() {
        let (mut leases, one) = (Leases::default(), attempt(1));
        assert!(leases.hold(&one, LONG, seconds(0)));
        assert!(leases.hold(&one, LONG, seconds(14)));
        assert_eq!(leases.due(seconds(28)), Due::default());
        assert_eq!(leases.next(), Some(seconds(29)));
        assert_eq!(leases.due(seconds(29)).lost, std::slice::from_ref(&one));
        assert!(!leases.hold(&one, LONG, seconds(29)), "what ran out can't be renewed");
        assert_eq!(
            leases.due(seconds(30)).lost,
            std::slice::from_ref(&one),
            "it is due until the store was told"
        );
        leases.over(&one, seconds(30));
        assert_eq!(leases.due(seconds(31)), Due::default());
        assert!(!leases.hold(&one, LONG, seconds(31)), "a renewal that was under way is refused");
    }

    #[test]
    fn what_runs_too_long_is_asked_and_then_given_up() {
        let (mut leases, one) = (Leases::default(), attempt(1));
        leases.hold(&one, seconds(10), seconds(0));
        let mut asked = None;
        for now in (0..90).step_by(5).map(seconds) {
            leases.hold(&one, LONG, now);
            let due = leases.due(now);
            if due.out_of_time == [one.clone()] {
                assert!(asked.replace(now).is_none());
                leases.stopping(&one, now);
            }
            if due.not_stopped == [one.clone()] {
                assert_eq!((asked, now), (Some(seconds(25)), seconds(70)), "a minute after its time");
                return;
            }
        }
        panic!("it was never given up");
    }

    proptest! {
        /// Renewals at any moments: an attempt is lost at most a lease after the last one, and never while it renews in time.
        #[test]
        fn lost_means_not_renewed_in_time(gaps in prop::collection::vec(0u64..30, 1..40)) {
            let (mut leases, one) = (Leases::default(), attempt(1));
            let (mut now, mut last, mut lost) = (seconds(0), seconds(0), false);
            leases.hold(&one, LONG * 100, now);
            for gap in gaps {
                now += seconds(gap);
                lost |= !leases.due(now).lost.is_empty();
                prop_assert_eq!(lost, lost || now - last >= LEASE);
                prop_assert!(lost || now - last < LEASE);
                let renewed = leases.hold(&one, LONG, now);
                prop_assert_eq!(renewed, !lost);
                if renewed {
                    last = now;
                }
            }
        }
    }
}
