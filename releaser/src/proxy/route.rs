//! Which upstream gets requests.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;

use super::upstream::Upstream;

/// Something that ends once it is worth choosing again.
pub(super) type News<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Whoever knows which program a request goes to.
pub(super) trait Destination: std::fmt::Debug + Send + Sync + 'static {
    /// Chooses for one request, and counts it there.
    ///
    /// # Errors
    /// Nobody is there to be chosen.
    fn choose(&self) -> Result<Claim, Nobody>;

    /// Ends once choosing may come to something else than when this was called; it misses nothing in between.
    fn news(&self) -> News<'_>;

    /// A request was answered.
    fn count_served(&self);
}

/// Why no program is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nobody {
    /// None was ever to serve: to wait is of no use.
    Released,
    /// Somebody is to serve and can't now: requests are held.
    Now,
}

/// The pointer to the active upstream, and the only way to it.
#[derive(Debug)]
pub struct Routes {
    active: watch::Sender<Option<Arc<Upstream>>>,
    served: AtomicU64,
}

impl Default for Routes {
    fn default() -> Self {
        Self::new()
    }
}

impl Routes {
    /// Nothing is active.
    pub fn new() -> Self {
        Self { active: watch::Sender::new(None), served: AtomicU64::new(0) }
    }

    /// Makes an upstream the active one. Every claim that begins after this returns is on it.
    pub fn switch(&self, to: Arc<Upstream>) {
        self.active.send_replace(Some(to));
    }

    /// Makes no upstream the active one, as before the first switch.
    pub fn close(&self) {
        self.active.send_replace(None);
    }

    /// Claims the active upstream for one request; `None` when nothing is active.
    pub fn claim(&self) -> Option<Claim> {
        // Counted while the pointer is locked: a switch that has returned knows of every claim on the old upstream, so
        // a drain that follows it misses none.
        let active = self.active.borrow();
        active.as_ref().map(Claim::on)
    }

    /// Requests that an upstream has answered.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

impl Destination for Routes {
    fn choose(&self) -> Result<Claim, Nobody> {
        self.claim().ok_or(Nobody::Released)
    }

    fn news(&self) -> News<'_> {
        let mut active = self.active.subscribe();
        Box::pin(async move {
            // The sender lives in `self`, so the wait can't end with it.
            let _ = active.changed().await;
        })
    }

    fn count_served(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request that is in flight on an upstream, until this is dropped.
#[derive(Debug)]
pub struct Claim {
    upstream: Arc<Upstream>,
}

impl Claim {
    pub(super) fn on(upstream: &Arc<Upstream>) -> Self {
        upstream.begin_request();
        Self { upstream: Arc::clone(upstream) }
    }

    /// The upstream that answers.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.upstream.end_request();
    }
}
