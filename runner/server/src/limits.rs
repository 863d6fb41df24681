//! How often somebody may ask. Buckets of tokens: each fills at a steady rate up to its size, and each question takes one out.
//!
//! What is limited is work, not guessing: tokens and codes have 256 bits of chance. Clients without a token share the bucket of their
//! address; those with one have a bucket each, so that runners behind one address don't starve each other. A token that never was right
//! counts as none. Of webhooks, only those count that are not signed rightly.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::Problem;

/// The most buckets of a kind that are remembered. Full ones are forgotten first: they say nothing.
const MOST: usize = 20_000;

/// What a bucket holds, and how fast it fills.
#[derive(Debug, Clone, Copy)]
struct Size {
    holds: f64,
    each_second: f64,
}

const OF_AN_ADDRESS: Size = Size { holds: 10_000.0, each_second: 2_000.0 };
const OF_A_TOKEN: Size = Size { holds: 4_000.0, each_second: 1_000.0 };
/// Webhooks come in bursts of thousands, and most forges never tell again what was refused. So those share no bucket with whoever else
/// comes through the same proxy, and one with a right signature takes nothing out.
const OF_HOOKS: Size = Size { holds: 10_000.0, each_second: 2_000.0 };
/// A host is enrolled once; a hundred behind one address are put up within minutes.
const OF_ENROLMENT: Size = Size { holds: 20.0, each_second: 0.5 };
/// What a wrong token takes out of its address's bucket.
const A_WRONG_TOKEN: f64 = 100.0;

/// All buckets of a server.
#[derive(Debug, Default)]
pub struct Limits {
    addresses: Buckets,
    tokens: Buckets,
    enrolments: Buckets,
    hooks: Buckets,
}

impl Limits {
    /// Counts a question: of a token's digest if it has one, or else of an address.
    ///
    /// # Errors
    /// 429: too many.
    pub fn question(&self, from: &str, token: Option<&str>, now: Duration) -> Result<(), Problem> {
        let wait = match token.filter(|token| self.tokens.knows(token)) {
            Some(token) => self.tokens.take(token, 1.0, OF_A_TOKEN, now),
            None => self.addresses.take(from, 1.0, OF_AN_ADDRESS, now),
        };
        refuse(wait, "too many questions")
    }

    /// A token was right: it has a bucket of its own from now on.
    pub fn right(&self, token: &str, now: Duration) {
        if !self.tokens.knows(token) {
            let _ = self.tokens.take(token, 0.0, OF_A_TOKEN, now);
        }
    }

    /// A token was wrong.
    pub fn wrong(&self, from: &str, token: &str, now: Duration) {
        self.tokens.forget(token);
        let _ = self.addresses.take(from, A_WRONG_TOKEN, OF_AN_ADDRESS, now);
    }

    /// Counts a webhook, of which nobody knows yet who sends it.
    ///
    /// # Errors
    /// 429: too many from this address that forges had not signed.
    pub fn hook(&self, from: &str, now: Duration) -> Result<(), Problem> {
        refuse(self.hooks.take(from, 1.0, OF_HOOKS, now), "too many webhooks with wrong signatures")
    }

    /// A webhook's signature was right: it is not counted.
    pub fn signed(&self, from: &str, now: Duration) {
        let _ = self.hooks.take(from, -1.0, OF_HOOKS, now);
    }

    /// Counts an attempt to enrol.
    ///
    /// # Errors
    /// 429: too many.
    pub fn enrolment(&self, from: Option<&str>, now: Duration) -> Result<(), Problem> {
        let wait = self.enrolments.take(from.unwrap_or_default(), 1.0, OF_ENROLMENT, now);
        refuse(wait, "too many attempts to enrol from this address")
    }
}

fn refuse(wait: Option<Duration>, what: &str) -> Result<(), Problem> {
    let Some(wait) = wait else { return Ok(()) };
    let seconds = wait.as_secs() + 1;
    Err(Problem::new(429, "too-many", what).with_remedy(format!("ask again in {seconds} s")))
}

#[derive(Debug, Default)]
struct Buckets(Mutex<HashMap<String, Bucket>>);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    has: f64,
    at: Duration,
}

impl Bucket {
    fn now(self, size: Size, now: Duration) -> f64 {
        let since = now.saturating_sub(self.at).as_secs_f64();
        size.each_second.mul_add(since, self.has).min(size.holds)
    }
}

impl Buckets {
    /// Takes out; or how long to wait until that is there. What is taken may be more than what is there: then the next one waits. Less
    /// than nothing is put back.
    fn take(&self, key: &str, many: f64, size: Size, now: Duration) -> Option<Duration> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(key) && all.len() >= MOST {
            all.retain(|_, bucket| bucket.now(size, now) < size.holds);
            if all.len() >= MOST {
                // More clients at once than can be told apart: none is refused for what others did.
                all.clear();
            }
        }
        let bucket = all.entry(key.to_owned()).or_insert(Bucket { has: size.holds, at: now });
        let has = bucket.now(size, now);
        if has < 1.0 && many > 0.0 {
            return Some(Duration::from_secs_f64((1.0 - has) / size.each_second));
        }
        *bucket = Bucket { has: (has - many).clamp(-size.holds, size.holds), at: now };
        None
    }

    fn knows(&self, key: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    fn forget(&self, key: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Memory for bodies that have to be read before it is known who sends them: all of them together have so much.
#[derive(Debug)]
pub struct Memory(Arc<Semaphore>);

/// Of all bodies whose senders are not proven, in bytes.
const UNPROVEN: usize = 64 << 20;
/// So much of each is free, so that what is usually sent never waits for what somebody sends too much of.
const FREE: usize = 64 << 10;

impl Default for Memory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(UNPROVEN)))
    }
}

/// What of the memory a body has; given back when this is dropped.
#[derive(Debug, Default)]
pub struct Taken(Option<OwnedSemaphorePermit>);

impl Memory {
    /// Takes memory for the next bytes of a body that has `had` already.
    ///
    /// # Errors
    /// 503: others have all of it.
    pub fn take(&self, taken: &mut Taken, had: usize, next: usize) -> Result<(), Problem> {
        let beyond = (had + next).saturating_sub(FREE.max(had));
        let many = u32::try_from(beyond).unwrap_or(u32::MAX);
        let more = Arc::clone(&self.0).try_acquire_many_owned(many).map_err(|_| {
            Problem::new(503, "busy", "too many long bodies come in at the same time")
                .with_remedy("send it again in some seconds")
        })?;
        match &mut taken.0 {
            Some(there) => there.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    #[test]
    fn who_asks_too_often_waits_and_others_do_not() {
        let limits = Limits::default();
        for _ in 0..20 {
            limits.enrolment(Some("192.0.2.1"), START).unwrap();
        }
        let refused = limits.enrolment(Some("192.0.2.1"), START).unwrap_err();
        assert_eq!((refused.details().status, refused.details().kind.as_str()), (429, "too-many"));
        limits.enrolment(Some("192.0.2.2"), START).unwrap();
        limits.enrolment(Some("192.0.2.1"), START + Duration::from_secs(2)).unwrap();
        assert!(limits.enrolment(Some("192.0.2.1"), START + Duration::from_secs(2)).is_err());
    }

    #[test]
    fn wrong_tokens_use_up_their_address_and_right_ones_do_not_suffer() {
        let limits = Limits::default();
        limits.right("known", START);
        for guess in 0..200 {
            limits.wrong("192.0.2.1", &guess.to_string(), START);
        }
        assert!(limits.question("192.0.2.1", Some("another guess"), START).is_err());
        assert!(limits.question("192.0.2.1", None, START).is_err());
        limits.question("192.0.2.1", Some("known"), START).unwrap();
        limits.question("192.0.2.1", None, START + Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn webhooks_are_refused_for_wrong_signatures_only_and_for_nothing_that_others_did() {
        let limits = Limits::default();
        for guess in 0..300 {
            limits.wrong("192.0.2.1", &guess.to_string(), START);
        }
        assert!(limits.question("192.0.2.1", None, START).is_err());
        for _ in 0..30_000 {
            limits.hook("192.0.2.1", START).unwrap();
            limits.signed("192.0.2.1", START);
        }
        let unsigned = (0..30_000).take_while(|_| limits.hook("192.0.2.1", START).is_ok()).count();
        assert_eq!(unsigned, 10_000);
        limits.hook("192.0.2.1", START + Duration::from_secs(1)).unwrap();
    }

    #[test]
    fn the_page_says_what_buckets_hold() {
        let page = include_str!("../../../docs/server.md");
        for size in [OF_A_TOKEN, OF_AN_ADDRESS, OF_HOOKS, OF_ENROLMENT] {
            let said = |number: f64| match number {
                1000.0.. => format!("{},{:03}", number / 1000.0, number % 1000.0),
                _ => number.to_string(),
            };
            let row = format!("| {} | {} |\n", said(size.holds), said(size.each_second));
            assert!(page.contains(&row), "docs/server.md does not say {row}");
        }
        assert!(page.contains(&format!("a wrong token counts as {A_WRONG_TOKEN}")));
        assert!(page.contains(&format!("({} MiB of them)", UNPROVEN >> 20)));
    }

    #[test]
    fn any_number_of_clients_takes_bounded_memory() {
        let limits = Limits::default();
        for client in 0..3 * MOST {
            let _ = limits.question(&client.to_string(), None, START);
        }
        assert!(limits.addresses.0.lock().unwrap().len() <= MOST);
    }

    #[test]
    fn what_is_usual_is_always_taken_and_what_is_long_only_while_there_is_room() {
        let memory = Memory::default();
        let mut long = Taken::default();
        memory.take(&mut long, 0, FREE).unwrap();
        memory.take(&mut long, FREE, UNPROVEN).unwrap();
        let mut other = Taken::default();
        memory.take(&mut other, 0, FREE).unwrap();
        let refused = memory.take(&mut other, FREE, 1).unwrap_err();
        assert_eq!((refused.details().status, refused.details().kind.as_str()), (503, "busy"));
        drop(long);
        memory.take(&mut other, FREE - 10, 20).unwrap();
        assert_eq!(memory.0.available_permits(), UNPROVEN - 10);
        drop(other);
        assert_eq!(memory.0.available_permits(), UNPROVEN);
    }
}
