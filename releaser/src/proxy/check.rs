//! Whether a member can serve: asked again and again, and at once when a request could not connect to it.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use http_body_util::Empty;
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1,
    header::{CONNECTION, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpStream, lookup_host},
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::timeout,
};

use super::upstream::Upstream;

/// How soon a member that is not up is asked again, at first; each time takes twice as long, up to the usual interval.
const SOON: Duration = Duration::from_millis(10);

/// How members are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    /// What is asked for; `None` only connects.
    pub path: Option<String>,
    /// The `Host` that is asked; the member's address if `None`.
    pub host: Option<String>,
    /// Time between two checks of a member that is up.
    pub interval: Duration,
    /// Time for one check, and for connecting to the member with a request.
    pub within: Duration,
    /// Checks in a row that a member has to pass to be up.
    pub rise: u32,
    /// Checks in a row that a member has to fail not to be up any more.
    pub fall: u32,
}

impl Default for Check {
    fn default() -> Self {
        let (interval, within) = (Duration::from_secs(1), Duration::from_secs(2));
        Self { path: None, host: None, interval, within, rise: 2, fall: 3 }
    }
}

/// What checks have come to. Pure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Health {
    up: Option<bool>,
    passed: u32,
    failed: u32,
    said: String,
}

impl Health {
    /// Takes in the outcome of a check. One failure is enough for a member that was not yet found up.
    fn hear(&mut self, outcome: Result<(), String>, check: &Check) {
        match outcome {
            Ok(()) => {
                (self.passed, self.failed, self.said) = (self.passed.saturating_add(1), 0, "passed".into());
                if self.passed >= check.rise {
                    self.up = Some(true);
                }
            }
            Err(why) => {
                (self.passed, self.failed, self.said) = (0, self.failed.saturating_add(1), why);
                if self.up.is_none() || self.failed >= check.fall {
                    self.up = Some(false);
                }
            }
        }
    }

    /// A request could not connect: only checks can say that it is up again.
    fn distrust(&mut self) {
        (self.up, self.passed) = (Some(false), 0);
        self.said = "it refused a connection".into();
    }
}

/// A member's program under its checks, which end when this is dropped.
#[derive(Debug)]
pub(super) struct Checked {
    upstream: Arc<Upstream>,
    health: Arc<Mutex<Health>>,
    checking: AbortHandle,
}

impl Checked {
    /// Begins to check the program at an address (`HOST:PORT`). Nothing is known of it before its first check.
    /// `news` is told whenever it has come up. Must be called within a tokio runtime.
    pub(super) fn start(address: &str, check: &Arc<Check>, news: &watch::Sender<u64>) -> Self {
        let upstream = Upstream::connecting_within(check.within);
        let health = Arc::<Mutex<Health>>::default();
        let checker = Checker {
            address: address.to_owned(),
            check: Arc::clone(check),
            upstream: Arc::downgrade(&upstream),
            health: Arc::clone(&health),
            news: news.clone(),
        };
        Self { upstream, health, checking: tokio::spawn(checker.attend()).abort_handle() }
    }

    pub(super) fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Whether requests may be sent to it; `None` before its first checks are done.
    pub(super) fn up(&self) -> Option<bool> {
        if self.upstream.is_accepting() {
            return Some(true);
        }
        // A connection may have been refused since its last check.
        lock(&self.health).up.map(|_| false)
    }

    /// What its last check said.
    pub(super) fn said(&self) -> String {
        let said = lock(&self.health).said.clone();
        if said.is_empty() { "nothing yet".to_owned() } else { said }
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        self.checking.abort();
    }
}

struct Checker {
    address: String,
    check: Arc<Check>,
    upstream: Weak<Upstream>,
    health: Arc<Mutex<Health>>,
    news: watch::Sender<u64>,
}

impl Checker {
    async fn attend(self) {
        let mut soon = SOON;
        loop {
            let outcome = timeout(self.check.within, self.ask()).await;
            let outcome = outcome.unwrap_or_else(|_| Err(self.late()));
            let Some(upstream) = self.upstream.upgrade() else { return };
            let up = {
                let mut health = lock(&self.health);
                health.hear(outcome, &self.check);
                health.up == Some(true)
            };
            if up != upstream.is_accepting() {
                tracing::info!(
                    address = self.address,
                    up,
                    said = lock(&self.health).said,
                    "a member has changed"
                );
            }
            upstream.declare(up);
            if !up {
                drop(upstream);
                tokio::time::sleep(soon).await;
                soon = (soon * 2).min(self.check.interval.max(SOON));
                continue;
            }
            soon = SOON;
            self.news.send_modify(|count| *count = count.wrapping_add(1));
            tokio::select! {
                () = tokio::time::sleep(self.check.interval) => {}
                () = upstream.refusing() => lock(&self.health).distrust(),
            }
        }
    }

    fn late(&self) -> String {
        format!("no answer within {} ms", self.check.within.as_millis())
    }

    /// One check. An answer of 2xx or 3xx is a good one.
    async fn ask(&self) -> Result<(), String> {
        let said = |error: io::Error| error.to_string();
        let address = self.resolve().await.map_err(said)?;
        if let Some(upstream) = self.upstream.upgrade() {
            upstream.locate(address);
        }
        let stream = TcpStream::connect(address).await.map_err(said)?;
        let Some(path) = &self.check.path else { return Ok(()) };
        let cut = |error: hyper::Error| format!("no answer ({error})");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(cut)?;
        let request = Request::get(path)
            .header(HOST, self.check.host.as_deref().unwrap_or(&self.address))
            .header(USER_AGENT, "staith-check")
            .header(CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        // The connection ends with this check, also when nobody waits for it any more.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        match sender.send_request(request).await.map_err(cut)?.status() {
            status if status.is_success() || status.is_redirection() => Ok(()),
            status => Err(format!("it answered {status}")),
        }
    }

    async fn resolve(&self) -> io::Result<SocketAddr> {
        if let Ok(address) = self.address.parse() {
            return Ok(address);
        }
        let none = || io::Error::other(format!("{} has no address", self.address));
        // The one in use stays in use as long as the name still means it.
        let known = self.upstream.upgrade().and_then(|upstream| upstream.address());
        let found: Vec<SocketAddr> = lookup_host(&self.address).await?.collect();
        known.filter(|known| found.contains(known)).or_else(|| found.first().copied()).ok_or_else(none)
    }
}

fn lock(health: &Mutex<Health>) -> std::sync::MutexGuard<'_, Health> {
    health.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failed() -> Result<(), String> {
        Err("no".into())
    }

    #[test]
    fn a_member_rises_and_falls_by_checks_in_a_row() {
        let check = Check { rise: 2, fall: 3, ..Check::default() };
        let mut health = Health::default();
        let mut after = |outcomes: &[bool]| {
            outcomes.iter().for_each(|good| health.hear(if *good { Ok(()) } else { failed() }, &check));
            health.up
        };
        assert_eq!(after(&[]), None);
        assert_eq!(after(&[true]), None);
        assert_eq!(after(&[true]), Some(true));
        assert_eq!(after(&[false, false, true, false, false]), Some(true));
        assert_eq!(after(&[false]), Some(false));
        assert_eq!(after(&[true]), Some(false));
        assert_eq!(after(&[true]), Some(true));
    }

    #[test]
    fn what_refused_a_request_has_to_rise_again() {
        let check = Check { rise: 2, ..Check::default() };
        let mut health = Health::default();
        health.hear(Ok(()), &check);
        health.hear(Ok(()), &check);
        health.distrust();
        health.hear(Ok(()), &check);
        assert_eq!(health.up, Some(false));
        health.hear(Ok(()), &check);
        assert_eq!(health.up, Some(true));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Up means that as many checks as it takes were passed in a row after the last distrust, and not down since.
        #[test]
        fn nobody_is_up_without_proof(events in prop::collection::vec(0u8..3, 0..60), rise in 1u32..4, fall in 1u32..4) {
            let check = Check { rise, fall, ..Check::default() };
            let (mut health, mut row, mut proved) = (Health::default(), 0, false);
            for event in events {
                match event {
                    0 => { health.hear(Ok(()), &check); row += 1; proved |= row >= rise; }
                    1 => { health.hear(failed(), &check); row = 0; }
                    _ => { health.distrust(); (row, proved) = (0, false); }
                }
                prop_assert!(health.up != Some(true) || proved);
                if health.up == Some(false) { proved = false; }
            }
        }
    }
}
