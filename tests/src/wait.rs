//! The one way to wait in a test: until a condition holds.

use std::{
    fmt::Debug,
    thread,
    time::{Duration, Instant},
};

/// Long enough for a loaded machine; only a failing test ever waits for all of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until `look` gives something.
///
/// # Panics
/// Nothing came within a minute; the message says what was waited for.
pub fn until<T: Debug>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::yield_now();
        thread::park_timeout(Duration::from_millis(5));
    }
}
