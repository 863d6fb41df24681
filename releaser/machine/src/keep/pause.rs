//! When a service that ended is started again. Pure.

use std::time::Duration;

/// The pause before the first restart: short, because a program that served for days and fell over is missed at once.
const SHORTEST: Duration = Duration::from_millis(250);
/// The longest: a program that can't start costs a process every ten seconds, which no machine notices.
const LONGEST: Duration = Duration::from_secs(10);
/// A program that lived shorter than this failed to start, whatever it did meanwhile.
const QUICK: Duration = Duration::from_secs(5);

/// The memory of a service's ends.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    quick_ends: u32,
}

impl Pauses {
    /// The pause after it ended that had lived for `life`.
    pub(super) fn after(&mut self, life: Duration) -> Duration {
        self.quick_ends = if life < QUICK { self.quick_ends.saturating_add(1) } else { 0 };
        SHORTEST.saturating_mul(1 << self.quick_ends.saturating_sub(1).min(16)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_a_long_life_is_a_new_start() {
        let mut pauses = Pauses::default();
        let quick: Vec<u128> = (0..8).map(|_| pauses.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(quick, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(pauses.after(QUICK), SHORTEST);
        assert_eq!(pauses.after(Duration::ZERO), SHORTEST);
        for _ in 0..100_000 {
            assert!(pauses.after(Duration::ZERO) <= LONGEST);
        }
    }
}
