//! What the deployer makes of an order.

use std::time::Duration;

use axum::http::StatusCode;
use staith_model::service::{OrderAnswer, OrderSeen};
use tokio::time::{Instant, timeout_at};

use crate::{
    api::{Answer, Problem},
    site::Site,
    store::{Actor, NewOrder},
};

/// How long an answer waits for the deployer. Shorter than the minute after which proxies give connections up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tells the deployer, and waits for what it makes of it: 200 with that, or 202 if it has not said yet; the order is kept either way.
pub(super) async fn told(
    site: &Site,
    new: NewOrder,
    by: Actor,
) -> Result<(StatusCode, Answer<OrderSeen>), Problem> {
    let order = site.store.add_order(new, by, site.clock.unix_millis()).await?;
    site.bells.orders.ring();
    answered(site, order).await
}

/// Waits for the answer to an order.
pub(super) async fn answered(site: &Site, order: u64) -> Result<(StatusCode, Answer<OrderSeen>), Problem> {
    let until = Instant::now() + PATIENCE;
    let mut bell = site.bells.deployments.listen();
    loop {
        let seen = site.store.order(order).await?;
        match &seen.answer {
            Some(OrderAnswer::Refused { what, why, remedy }) => {
                return Err(refused(what, why.as_deref(), remedy.as_deref()));
            }
            Some(_) => return Ok((StatusCode::OK, Answer(seen))),
            // Nobody would answer; what was asked is kept until somebody does.
            None if !site.deployer.is_there(site.clock.steady()) => {
                return Ok((StatusCode::ACCEPTED, Answer(seen)));
            }
            None => {}
        }
        match site.stop.run_until_cancelled(timeout_at(until, bell.heard())).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => return Ok((StatusCode::ACCEPTED, Answer(seen))),
        }
    }
}

fn refused(what: &str, why: Option<&str>, remedy: Option<&str>) -> Problem {
    let problem = Problem::new(409, "refused", what);
    let problem = why.map_or_else(|| problem.clone(), |why| problem.clone().with_why(why));
    remedy.map_or_else(|| problem.clone(), |remedy| problem.clone().with_remedy(remedy))
}
