//! What was asked of this process, for `/metrics`. No label comes from outside: paths are those of the routes.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, PoisonError, atomic::AtomicU64, atomic::Ordering},
    time::Duration,
};

/// Counters of one process.
#[derive(Debug, Default)]
pub struct Counts {
    requests: Mutex<BTreeMap<(String, String, u16), u64>>,
    micros: AtomicU64,
    panics: AtomicU64,
}

/// Methods that have a label; others are `other`.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

impl Counts {
    /// Counts an answer. `route` is the pattern of the route that answered, none where there is nothing.
    pub fn answered(&self, method: &str, route: Option<&str>, status: u16, took: Duration) {
        let method = METHODS.iter().find(|known| **known == method).unwrap_or(&"other");
        let key = ((*method).to_owned(), route.unwrap_or("none").to_owned(), status);
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Counts a handler that panicked.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// As Prometheus reads it.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# HELP staith_requests_total Requests that were answered.\n# TYPE staith_requests_total counter\n",
        );
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        for ((method, route, status), count) in &*requests {
            let _ = writeln!(
                text,
                "staith_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}} {count}"
            );
        }
        let micros = self.micros.load(Ordering::Relaxed);
        let panics = self.panics.load(Ordering::Relaxed);
        let _ = write!(
            text,
            "# HELP staith_request_seconds_total Time until the heads of answers, long polls included.\n\
             # TYPE staith_request_seconds_total counter\nstaith_request_seconds_total {}.{:06}\n\
             # HELP staith_panics_total Handlers that panicked.\n# TYPE staith_panics_total counter\nstaith_panics_total {panics}\n",
            micros / 1_000_000,
            micros % 1_000_000
        );
        text
    }
}
