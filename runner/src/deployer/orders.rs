//! Whoever takes orders.

use std::{sync::Arc, time::Duration};

use staith_model::{
    Exit,
    service::{OpenOrder, Order, OrderAnswer},
};

use tokio::task::JoinHandle;

use super::{making, office::Office};
use crate::{client::Patience, clock, output::Problem};

/// How often at most it asks, though it is told at once that there is nothing.
const LEAST: Duration = Duration::from_millis(50);

/// Takes orders until the server lets it in no more. Each is carried out in a task of its own; those that have to wait for one another
/// are about the same environment, and go to its lane.
///
/// # Errors
/// The server lets it in no more.
pub(super) async fn take(office: Arc<Office>) -> Result<Exit, Problem> {
    office.take_up();
    let (mut taken, mut patience, mut wait) = (0, Patience::default(), false);
    let mut under_way: Vec<JoinHandle<()>> = Vec::new();
    loop {
        let asked = clock::unix_millis();
        match office.desk.orders(taken, wait).await {
            Ok(told) => {
                patience = Patience::default();
                wait = true;
                office.take(told.guarded);
                for order in told.orders {
                    taken = taken.max(order.order);
                    under_way.extend(give(&office, order));
                }
                under_way.retain(|writing| !writing.is_finished());
                if under_way.is_empty() {
                    office.heard.all_until(asked);
                }
                tokio::time::sleep(LEAST).await;
            }
            Err(refused) if refused.may_pass() => {
                tracing::warn!(%refused, "the server tells nothing");
                tokio::time::sleep(patience.failed()).await;
            }
            Err(refused) => return Err(refused.into()),
        }
    }
}

/// Has it carried out. What is written down at once is told, so that it can be known when it is.
fn give(office: &Arc<Office>, order: OpenOrder) -> Option<JoinHandle<()>> {
    if let Some(environment) = order.what.environment() {
        let lane = office.lane(&order.project, environment);
        return lane.give(order);
    }
    let office = Arc::clone(office);
    tokio::spawn(async move {
        let answer = match &order.what {
            Order::Make { material } => making::made(&office, &order.project, material).await,
            _ => return,
        };
        let answer = answered(&office, answer);
        office.desk.answer(order.order, &answer).await;
    });
    None
}

/// What is said to an order: nothing of it is a secret that the server gave.
pub(super) fn answered(office: &Office, done: Result<OrderAnswer, Problem>) -> OrderAnswer {
    done.unwrap_or_else(|problem| {
        let plain = |text: String| office.keyring.masked(&console::strip_ansi_codes(&text));
        OrderAnswer::Refused {
            what: plain(problem.what),
            why: problem.why.map(plain),
            remedy: problem.remedy.map(plain),
        }
    })
}
