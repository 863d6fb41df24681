//! When a program that ended is started again. Pure.

use std::time::Duration;

/// The pause before the first restart: short, because a program that served for days and fell over is missed at once.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause: a program that can't start costs a process every ten seconds, which no machine notices.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A program that lived shorter than this failed to start, whatever it did meanwhile.
const QUICK: Duration = Duration::from_secs(5);

/// So many failed starts in a row are no accident; before a pool was ever active nobody misses it.
const PATIENCE: u32 = 5;

/// What to do after a program ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Start it again after a pause.
    Restart(Duration),
    /// Leave it.
    GiveUp,
}

/// The memory of a program's ends.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    quick_ends: u32,
}

impl Backoff {
    /// The program ended after `uptime`. One that was ever `admitted` to requests is never given up.
    pub(super) fn ended(&mut self, uptime: Duration, admitted: bool) -> Next {
        if uptime >= QUICK {
            self.quick_ends = 0;
            return Next::Restart(FIRST_PAUSE);
        }
        self.quick_ends = self.quick_ends.saturating_add(1);
        if !admitted && self.quick_ends >= PATIENCE {
            return Next::GiveUp;
        }
        let doubled = FIRST_PAUSE.saturating_mul(1 << (self.quick_ends - 1).min(16));
        Next::Restart(doubled.min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(admitted: bool, ends: usize) -> Vec<Next> {
        let mut backoff = Backoff::default();
        (0..ends).map(|_| backoff.ended(Duration::from_millis(3), admitted)).collect()
    }

    #[test]
    fn a_program_that_was_never_admitted_is_given_up_after_five_quick_ends() {
        let ms = |ms| Next::Restart(Duration::from_millis(ms));
        assert_eq!(pauses(false, 5), [ms(250), ms(500), ms(1000), ms(2000), Next::GiveUp]);
    }

    #[test]
    fn an_admitted_program_is_started_for_ever_with_bounded_pauses() {
        let pauses = pauses(true, 1000);
        assert!(pauses.iter().all(|next| matches!(next, Next::Restart(pause) if *pause <= LONGEST_PAUSE)));
        assert_eq!(pauses.last(), Some(&Next::Restart(LONGEST_PAUSE)));
    }

    #[test]
    fn a_long_life_is_a_new_start() {
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            for _ in 0..4 {
                assert_ne!(backoff.ended(Duration::ZERO, false), Next::GiveUp);
            }
            assert_eq!(backoff.ended(QUICK, false), Next::Restart(FIRST_PAUSE));
        }
    }
}
