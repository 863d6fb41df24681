//! One environment.

mod clerk;
mod driver;
mod mirror;
mod pools;

use std::{sync::Arc, time::Duration};

use staith_model::{
    Name,
    service::{OpenOrder, Order},
};
use tokio::{
    sync::{Mutex, Notify, mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{office::Office, orders::answered};

/// So long an answer waits until the server has what the ledger says; it may be away.
const TOLD: Duration = Duration::from_secs(10);

/// Who sees to an environment. What is only to be written down is done at once; what needs machines to be looked at waits for its turn.
pub(super) struct Lane {
    pub(self) office: Arc<Office>,
    pub(self) project: Name,
    pub(self) environment: Name,
    pub(self) wake: Notify,
    /// Held while something is asked for in more than one entry.
    pub(self) asking: Mutex<()>,
    turns: mpsc::UnboundedSender<OpenOrder>,
    /// Up to which entry of the ledger the server has it.
    pub(self) told: watch::Sender<u64>,
}

impl Lane {
    pub(super) fn open(office: Arc<Office>, project: Name, environment: Name) -> Arc<Self> {
        let (turns, waiting) = mpsc::unbounded_channel();
        let lane = Arc::new(Self {
            office,
            project,
            environment,
            wake: Notify::new(),
            asking: Mutex::default(),
            turns,
            told: watch::Sender::new(0),
        });
        tokio::spawn(Arc::clone(&lane).in_turn(waiting));
        tokio::spawn(driver::drive_all(Arc::clone(&lane)));
        tokio::spawn(mirror::tell(Arc::clone(&lane)));
        lane
    }

    /// Takes an order. One that is only to be written down is under way then.
    pub(super) fn give(self: &Arc<Self>, order: OpenOrder) -> Option<JoinHandle<()>> {
        let looks = matches!(
            order.what,
            Order::Plan { .. } | Order::Deploy { .. } | Order::Rollback { .. } | Order::Swap { .. }
        );
        if looks {
            // Whoever takes them lives as long as the process.
            let _ = self.turns.send(order);
            return None;
        }
        let lane = Arc::clone(self);
        Some(tokio::spawn(async move { lane.carry_out(order).await }))
    }

    async fn in_turn(self: Arc<Self>, mut waiting: mpsc::UnboundedReceiver<OpenOrder>) {
        while let Some(order) = waiting.recv().await {
            self.carry_out(order).await;
        }
    }

    async fn carry_out(&self, order: OpenOrder) {
        let answer = answered(&self.office, self.obey(&order).await);
        self.wake.notify_one();
        self.until_it_is_told().await;
        self.office.desk.answer(order.order, &answer).await;
    }

    /// Waits until the server has what the ledger says now: whoever is answered looks there next.
    async fn until_it_is_told(&self) {
        let mut told = self.told.subscribe();
        let had = *told.borrow();
        let Ok(entries) = self.office.log(&self.project, &self.environment).since(had) else { return };
        if let Some(last) = entries.last().map(|entry| entry.position) {
            let _ = timeout(TOLD, told.wait_for(|had| *had >= last)).await;
        }
    }
}
