//! What the process that deploys is told, and what it says.

use std::time::Duration;

use axum::{
    Router,
    extract::{Path, Query, State},
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;
use staith_model::service::{Guarded, LedgerHad, LedgerPart, OrderAnswer, Orders};
use tokio::time::{Instant, timeout_at};

use super::people::who_may;
use crate::{
    api::{Answer, Body, Caller, Permission, Problem},
    site::Site,
};

/// How long an answer waits for an order. Tokens that were revoked meanwhile count for nothing after so long.
const WAIT: Duration = Duration::from_secs(5);

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/deployer/orders", get(orders))
        .route("/api/v1/deployer/orders/{order}", post(answer))
        .route("/api/v1/deployer/ledger", post(ledger))
}

/// Which orders.
#[derive(Debug, Deserialize)]
struct Part {
    /// Those after this one; it has the others.
    #[serde(default)]
    after: u64,
    /// Whether to wait for some.
    #[serde(default)]
    wait: bool,
}

async fn orders(
    State(site): State<Site>,
    caller: Caller,
    Query(part): Query<Part>,
) -> Result<Answer<Orders>, Problem> {
    caller.must_be_the_deployer()?;
    site.deployer.heard(site.clock.steady());
    let until = Instant::now() + WAIT;
    let mut bell = site.bells.orders.listen();
    let mut orders = site.store.open_orders().await?;
    orders.retain(|order| order.order > part.after);
    if part.wait && orders.is_empty() {
        let _ = site.stop.run_until_cancelled(timeout_at(until, bell.heard())).await;
        orders = site.store.open_orders().await?;
        orders.retain(|order| order.order > part.after);
    }
    Ok(Answer(Orders { orders, guarded: guarded(&site).await? }))
}

/// What protects environments now, with the people who may agree there now, and those who may go past it.
async fn guarded(site: &Site) -> Result<Vec<Guarded>, Problem> {
    let (tokens, now) = (site.store.tokens().await?, site.clock.unix_millis());
    let all = site.store.all_rules().await?.into_iter().map(|(project, environment, rules)| {
        let who = |permission| who_may(&tokens, permission, (&project, &environment), now);
        let protection = rules.protection(who(Permission::Release));
        let overriders = Some(who(Permission::Administer));
        Guarded { trust: rules.trust, protection, overriders, project, environment }
    });
    Ok(all.collect())
}

async fn answer(
    State(site): State<Site>,
    caller: Caller,
    Path(order): Path<u64>,
    Body(answer): Body<OrderAnswer>,
) -> Result<StatusCode, Problem> {
    caller.must_be_the_deployer()?;
    site.store.answer_order(order, answer, caller.actor(), site.clock.unix_millis()).await?;
    site.bells.deployments.ring();
    Ok(StatusCode::NO_CONTENT)
}

async fn ledger(
    State(site): State<Site>,
    caller: Caller,
    Body(part): Body<LedgerPart>,
) -> Result<Answer<LedgerHad>, Problem> {
    caller.must_be_the_deployer()?;
    let had = site.store.append_ledger(&part.project, &part.environment, part.entries).await?;
    site.bells.deployments.ring();
    Ok(Answer(had))
}
