//! Whoever takes orders.

use std::{sync::Arc, time::Duration};

use staith_model::{
    Exit,
    service::{OpenOrder, Order, OrderAnswer},
};

use super::{making, office::Office};
use crate::{client::Patience, output::Problem};

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
    loop {
        match office.desk.orders(taken, wait).await {
            Ok(told) => {
                patience = Patience::default();
                wait = true;
                office.take(told.guarded);
                for order in told.orders {
                    taken = taken.max(order.order);
                    give(&office, order);
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

fn give(office: &Arc<Office>, order: OpenOrder) {
    if let Some(environment) = order.what.environment() {
        let lane = office.lane(&order.project, environment);
        lane.give(order);
        return;
    }
    let office = Arc::clone(office);
    tokio::spawn(async move {
        let answer = match &order.what {
            Order::Make { material } => making::made(&office, &order.project, material).await,
            _ => return,
        };
        office.desk.answer(order.order, &answered(answer)).await;
    });
}

/// What is said to an order.
pub(super) fn answered(done: Result<OrderAnswer, Problem>) -> OrderAnswer {
    done.unwrap_or_else(|problem| {
        let plain = |text: String| console::strip_ansi_codes(&text).into_owned();
        OrderAnswer::Refused {
            what: plain(problem.what),
            why: problem.why.map(plain),
            remedy: problem.remedy.map(plain),
        }
    })
}
