//! Two applications behind one balancer, and what tests of balancers have in common.

use std::net::{SocketAddr, TcpListener};

use crate::load::{application::Application, mixed::Report};

/// Two applications, and who balances between them.
#[derive(Debug)]
pub struct Pair<N> {
    /// The one that serves first.
    pub blue: Application,
    /// The other.
    pub green: Application,
    /// Who balances.
    pub node: N,
}

impl<N> Pair<N> {
    /// Both, with whatever `start` puts in front of members of these names and addresses.
    pub fn behind(start: impl FnOnce(&[(&str, SocketAddr)]) -> N) -> Self {
        let (blue, green) = (Application::start("r0"), Application::start("unused"));
        let node = start(&[("blue", blue.address), ("green", green.address)]);
        Self { blue, green, node }
    }

    /// The member that gets the release of a swap, and its application.
    pub const fn next(&self, swap: usize) -> (&'static str, &Application) {
        if swap % 2 == 1 { ("green", &self.green) } else { ("blue", &self.blue) }
    }

    /// Writes that reached an application more than once, or were answered and reached none.
    pub fn wrong_writes(&self, report: &Report) -> usize {
        let mut came = self.blue.writes();
        self.green.writes().into_iter().for_each(|(key, times)| *came.entry(key).or_default() += times);
        let twice = came.values().filter(|times| **times > 1).count();
        twice + report.written.iter().filter(|key| !came.contains_key(*key)).count()
    }
}

/// What drives the test's own part of an exchange, on so many threads.
///
/// # Panics
/// There is none.
pub fn runtime(threads: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap()
}

/// A number that a variable of the environment makes another one: `STAITH_SWAPS` and `STAITH_REQUESTS` make a test longer, as
/// `benches/compare/swap` does.
pub fn wished(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// An address of this machine that nobody listens at.
///
/// # Panics
/// There is none.
pub fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
