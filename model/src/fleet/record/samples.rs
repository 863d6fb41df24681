//! What measurements of a wave come to. They are counted in the log, so that whoever goes on with a deployment counts on.

/// What measurements of a wave said, each of all metrics at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samples {
    /// How many were good.
    pub passed: u32,
    /// How many were bad.
    pub failed: u32,
    /// How many were no numbers.
    pub missing: u32,
    /// When the last was taken.
    pub at: u64,
    /// What the last said that was not good.
    pub last: Option<String>,
}

/// What the samples of a wave come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// More are needed before anything can be said.
    TooFew,
    /// It held.
    Held,
    /// It did not: more were bad than may be.
    Failed,
    /// It can't be told: too many were no numbers. A person decides.
    Unknown,
}

impl Samples {
    /// Takes a good one.
    pub(super) fn pass(&mut self, at: u64) {
        (self.passed, self.at) = (self.passed.saturating_add(1), at);
    }

    /// Takes a bad one.
    pub(super) fn fail(&mut self, at: u64, what: &str) {
        (self.failed, self.at, self.last) = (self.failed.saturating_add(1), at, Some(what.to_owned()));
    }

    /// Takes one that was no number.
    pub(super) fn miss(&mut self, at: u64, why: &str) {
        (self.missing, self.at, self.last) = (self.missing.saturating_add(1), at, Some(why.to_owned()));
    }

    /// What they come to where so many may be bad.
    ///
    /// One that is no number uses up the same tolerance, but leads to no answer rather than to a bad one. And as many numbers are needed
    /// as would be enough to fail: with fewer, that none was bad shows nothing.
    pub const fn come_to(&self, limit: u32) -> Measured {
        if self.failed > limit {
            Measured::Failed
        } else if self.missing > 0 && self.missing.saturating_add(self.failed) > limit {
            Measured::Unknown
        } else if self.passed.saturating_add(self.failed) <= limit {
            Measured::TooFew
        } else {
            Measured::Held
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` is good, `-` is bad, `?` is no number.
    fn of(samples: &str) -> Samples {
        let mut those = Samples::default();
        for (at, sample) in (1..).zip(samples.chars()) {
            match sample {
                '+' => those.pass(at),
                '-' => those.fail(at, "too many errors"),
                _ => those.miss(at, "no number"),
            }
        }
        those
    }

    #[test]
    fn samples_come_to_four_things() {
        for (limit, samples, expected) in [
            (0, "", Measured::TooFew),
            (0, "+", Measured::Held),
            (0, "-", Measured::Failed),
            (0, "?", Measured::Unknown),
            (0, "+?", Measured::Unknown),
            (0, "++++-", Measured::Failed),
            (2, "--", Measured::TooFew),
            (2, "++", Measured::TooFew),
            (2, "++?", Measured::TooFew),
            (2, "++?+", Measured::Held),
            (2, "+++", Measured::Held),
            (2, "++--", Measured::Held),
            (2, "++--+", Measured::Held),
            (2, "++-+-+-", Measured::Failed),
            (2, "---??", Measured::Failed),
            (1, "+++?", Measured::Held),
            (1, "++-?", Measured::Unknown),
            (u32::MAX, "-?", Measured::TooFew),
        ] {
            assert_eq!(of(samples).come_to(limit), expected, "{samples} where {limit} may be bad");
        }
    }

    /// However often it is asked, it comes to something before long: waiting for more numbers ends.
    #[test]
    fn too_few_become_enough() {
        for limit in 0..4 {
            let most = 2 * limit + 1;
            for pattern in 0..3_u32.pow(most) {
                let sample =
                    |place| ["+", "-", "?"][usize::try_from(pattern / 3_u32.pow(place) % 3).unwrap()];
                let samples: String = (0..most).map(sample).collect();
                assert_ne!(
                    of(&samples).come_to(limit),
                    Measured::TooFew,
                    "{samples} where {limit} may be bad"
                );
            }
        }
    }

    #[test]
    fn without_numbers_nothing_holds() {
        for limit in 0..5 {
            for count in 0..12 {
                assert_ne!(of(&"?".repeat(count)).come_to(limit), Measured::Held);
                assert_ne!(of(&"?".repeat(count)).come_to(limit), Measured::Failed);
            }
        }
    }
}
