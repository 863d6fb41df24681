//! Time and chance: the two things that the model has to be given.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Now, in UTC, as a name that sorts by time: `2026-11-21T09-54-22Z`.
pub(crate) fn utc_label() -> String {
    let seconds = i64::try_from(unix_millis() / 1000).unwrap_or_default();
    let now = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    now.strftime("%Y-%m-%dT%H-%M-%SZ").to_string()
}

/// Ten random bytes for an id.
pub(crate) fn chance() -> Result<[u8; 10], getrandom::Error> {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
