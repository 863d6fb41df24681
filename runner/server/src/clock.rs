//! Two clocks: one for people, which may jump, and one for lengths of time, which doesn't.

use std::{fmt, sync::Arc, time::Duration};

/// What time it is. Cheap to clone.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> u64 + Send + Sync>,
    steady: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Clock {
    /// The clocks of this machine.
    pub fn of_this_machine() -> Self {
        Self::new(wall, steady)
    }

    /// Other clocks, for tests.
    pub fn new(
        wall: impl Fn() -> u64 + Send + Sync + 'static,
        steady: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Self {
        Self { wall: Arc::new(wall), steady: Arc::new(steady) }
    }

    /// Milliseconds since 1970: what people are shown. No decision about leases hangs on it.
    pub fn unix_millis(&self) -> u64 {
        (self.wall)()
    }

    /// Time since the machine was started, sleep included. Never goes back.
    pub fn steady(&self) -> Duration {
        (self.steady)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

fn wall() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `Instant` stands still while a machine sleeps; leases must not.
fn steady() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or_default(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}
