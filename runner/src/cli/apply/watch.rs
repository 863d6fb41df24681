//! Follows an apply: shows how far it is, and stops it when somebody asks.

use std::{
    ops::ControlFlow,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use staith_packager::{
    apply::{ApplyPlan, Object, Step, Watch},
    web_deploy::Progress,
};

use crate::output::Counting;

pub(super) struct Watched<'w> {
    counting: &'w Counting,
    is_stopped: &'w (dyn Fn() -> bool + Sync),
    files: AtomicU64,
    bytes: AtomicU64,
    of_files: AtomicU64,
    of_bytes: AtomicU64,
}

impl<'w> Watched<'w> {
    pub(super) fn new(counting: &'w Counting, is_stopped: &'w (dyn Fn() -> bool + Sync)) -> Self {
        let zero = || AtomicU64::new(0);
        let (files, bytes, of_files, of_bytes) = (zero(), zero(), zero(), zero());
        Self { counting, is_stopped, files, bytes, of_files, of_bytes }
    }
}

impl Watch for Watched<'_> {
    fn planned(&self, plan: &ApplyPlan) {
        let files = plan.changes.iter().filter(|change| change.object == Object::File && change.bytes > 0);
        self.of_files.store(files.count() as u64, Relaxed);
        self.of_bytes.store(plan.counters.bytes_copied, Relaxed);
    }

    fn before(&self, step: &Step<'_>) -> ControlFlow<()> {
        if (self.is_stopped)() {
            return ControlFlow::Break(());
        }
        if let Step::Stage(change) = step
            && change.bytes > 0
        {
            let files = self.files.fetch_add(1, Relaxed) + 1;
            let bytes = self.bytes.fetch_add(change.bytes, Relaxed) + change.bytes;
            let (of_files, of_bytes) = (self.of_files.load(Relaxed), self.of_bytes.load(Relaxed));
            self.counting.tell(Progress { files, of_files, bytes, of_bytes });
        }
        ControlFlow::Continue(())
    }
}
