//! How long one waits before asking again.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(5);

/// Waits that grow, each a part of it by chance: what failed for many at once is then not asked again by all at once.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    failures: u32,
}

impl Patience {
    /// It worked; the next wait is a short one.
    pub(crate) fn worked(&mut self) {
        self.failures = 0;
    }

    /// It failed: how long to wait. Between half of the whole wait and all of it.
    pub(crate) fn failed(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let mut chance = [0; 1];
        // Without chance, all of it.
        let part = getrandom::fill(&mut chance).map_or(255, |()| u32::from(chance[0]));
        whole / 2 + (whole / 2) * part / 255
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_begin_anew() {
        let mut patience = Patience::default();
        for whole in [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000] {
            let wait = patience.failed().as_millis();
            assert!(wait >= whole / 2 && wait <= whole, "{wait} of {whole}");
        }
        patience.worked();
        assert!(patience.failed() <= FIRST);
    }
}
