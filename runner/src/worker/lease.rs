//! Whether what an attempt does still counts. Pure: all times are milliseconds of one clock that never goes back.
//!
//! The server gives a job away when it has not heard of it for a whole lease. What the runner measures begins earlier (when it
//! sent the question, not when the server got it) and ends earlier (by a margin), so the runner stops before the server begins.

use serde::{Deserialize, Serialize};

/// So much earlier than the lease ends, nothing goes out any more: what is on its way needs time to arrive or to be given up.
const MARGIN: u64 = 3_000;
/// So long after the lease has ended without a word, the job itself is ended: nobody waits for it.
const PATIENCE: u64 = 60_000;

/// A lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lease {
    /// When the question was sent that the server answered last.
    sent: u64,
    /// How long the answer is good for.
    length: u64,
    /// Whether the server has said that another attempt counts.
    is_lost: bool,
}

/// How an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// What it does counts.
    Valid,
    /// It may count or not: the work goes on, and nothing of it goes out.
    Silent,
    /// It has been silent so long that its work ends.
    Over,
    /// It does not count, and never will.
    Lost,
}

impl Lease {
    /// The lease that comes with an answer to a question that was sent at `sent`.
    pub(super) const fn new(sent: u64, length: u64) -> Self {
        Self { sent, length, is_lost: false }
    }

    /// Takes an answer to a question that was sent at `sent`. Answers may come in another order than the questions were sent in.
    pub(super) const fn renewed(&mut self, sent: u64, length: u64) {
        if sent >= self.sent {
            (self.sent, self.length) = (sent, length);
        }
    }

    /// Takes the server's word that another attempt counts.
    pub(super) const fn lost(&mut self) {
        self.is_lost = true;
    }

    /// How the attempt stands at a time.
    pub(super) const fn standing(&self, now: u64) -> Standing {
        if self.is_lost {
            Standing::Lost
        } else if now < self.valid_until() {
            Standing::Valid
        } else if now < self.over_at() {
            Standing::Silent
        } else {
            Standing::Over
        }
    }

    /// The time from which on nothing goes out.
    pub(super) const fn valid_until(&self) -> u64 {
        self.sent.saturating_add(self.length.saturating_sub(MARGIN))
    }

    /// The time at which the job is ended.
    pub(super) const fn over_at(&self) -> u64 {
        self.sent.saturating_add(self.length).saturating_add(PATIENCE)
    }

    /// How long one question for more may take, in milliseconds: an answer that does not come must not use up what is left.
    pub(super) fn question(&self) -> u64 {
        (self.length / 4).max(1_000)
    }

    /// When to ask for more: after a third of it, so that two questions may fail.
    pub(super) const fn renew_at(&self) -> u64 {
        self.sent.saturating_add(self.length / 3)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LENGTH: u64 = 15_000;

    #[test]
    fn an_attempt_falls_silent_before_its_job_is_given_away_and_ends_a_minute_after() {
        let mut lease = Lease::new(1_000, LENGTH);
        for (now, standing) in [
            (1_000, Standing::Valid),
            (12_999, Standing::Valid),
            (13_000, Standing::Silent),
            (75_999, Standing::Silent),
            (76_000, Standing::Over),
        ] {
            assert_eq!(lease.standing(now), standing, "{now}");
        }
        lease.renewed(76_500, LENGTH);
        assert_eq!(lease.standing(77_000), Standing::Valid);
        lease.lost();
        lease.renewed(80_000, LENGTH);
        assert_eq!(lease.standing(80_001), Standing::Lost);
    }

    /// What happens to questions: sent at a time, seen by the server after a while, answered after another, or lost on either way.
    #[derive(Debug, Clone)]
    struct Question {
        pause: u64,
        there: Option<u64>,
        back: Option<u64>,
    }

    fn question() -> impl Strategy<Value = Question> {
        let way = || prop::option::weighted(0.7, 0u64..20_000);
        (0u64..20_000, way(), way()).prop_map(|(pause, there, back)| Question { pause, there, back })
    }

    proptest! {
        #[test]
        fn nothing_goes_out_while_the_server_may_have_given_the_job_away(
            questions in prop::collection::vec(question(), 1..30), looks in prop::collection::vec(0u64..600_000, 1..50),
        ) {
            // The first question is the claim, and was answered.
            let mut sent = 0;
            let (mut seen, mut answers) = (vec![0], Vec::new());
            for question in &questions {
                sent += question.pause;
                let Some(there) = question.there else { continue };
                seen.push(sent + there);
                answers.extend(question.back.map(|back| (sent + there + back, sent, sent + there)));
            }
            seen.sort_unstable();
            answers.sort_unstable();
            // The server's side: when it has heard nothing for a whole lease, it gives the job away, for good.
            let gone = seen.iter().fold(LENGTH, |gone, seen| if *seen <= gone { seen + LENGTH } else { gone });
            let mut looks = looks;
            looks.sort_unstable();
            let mut lease = Lease::new(0, LENGTH);
            let mut answers = answers.iter().peekable();
            for now in looks {
                while let Some((_, sent, seen)) = answers.next_if(|(at, _, _)| *at <= now) {
                    if *seen > gone { lease.lost() } else { lease.renewed(*sent, LENGTH) }
                }
                if now >= gone {
                    prop_assert_ne!(lease.standing(now), Standing::Valid, "at {} of {}", now, gone);
                }
            }
        }

        #[test]
        fn without_an_answer_an_attempt_only_goes_down(sent in 0u64..1 << 40, length in 0u64..1 << 30, mut looks in prop::collection::vec(0u64..1 << 41, 2..20)) {
            let rank = |standing| match standing {
                Standing::Valid => 0,
                Standing::Silent => 1,
                Standing::Over => 2,
                Standing::Lost => 3,
            };
            looks.sort_unstable();
            let lease = Lease::new(sent, length);
            let ranks: Vec<u8> = looks.iter().map(|now| rank(lease.standing(*now))).collect();
            prop_assert!(ranks.is_sorted());
            prop_assert!(lease.valid_until() <= lease.over_at() && lease.renew_at() <= lease.over_at());
        }

        #[test]
        fn the_order_of_answers_means_nothing(mut sent in prop::collection::vec(0u64..1 << 40, 1..8), seed: u64) {
            let fold = |sent: &[u64]| {
                let mut lease = Lease::new(0, LENGTH);
                sent.iter().for_each(|sent| lease.renewed(*sent, LENGTH));
                lease
            };
            let one = fold(&sent);
            let by = usize::try_from(seed % 7).unwrap() % sent.len();
            sent.rotate_left(by);
            prop_assert_eq!(one, fold(&sent));
        }
    }
}
