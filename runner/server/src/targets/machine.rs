//! The end of tunnels at machines: what their runners ask.

use axum::{
    Router,
    body::Body as HttpBody,
    extract::{Path, Query, State},
    http::StatusCode,
    response::Response,
    routing::{get, post, put},
};
use staith_model::service::{TargetTurn, TunnelEnd, TunnelNext, TunnelsAsked, TunnelsTold};
use tokio::time::{Instant, sleep};

use super::{
    end::{self, Place, id},
    relay::{At, Waits},
    tunnel::End,
};
use crate::{
    api::{Answer, Body, Caller, Problem},
    site::Site,
};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/target/turn", post(turn))
        .route("/api/v1/target/tunnels", post(tunnels))
        .route("/api/v1/target/tunnels/{tunnel}/down", get(hear))
        .route("/api/v1/target/tunnels/{tunnel}/up", put(say))
        .route("/api/v1/target/tunnels/{tunnel}/end", post(end))
}

async fn turn(State(site): State<Site>, caller: Caller) -> Result<Answer<TargetTurn>, Problem> {
    let (runner, target) = caller.target()?;
    // The clock for people may be set back while the server is away; a turn of before is then refused like any other.
    let turn = site.relay.begin(target, runner, site.clock.unix_millis(), site.clock.steady());
    Ok(Answer(TargetTurn { turn }))
}

/// Answers when there are other tunnels than the runner has, or when it has waited long enough.
async fn tunnels(
    State(site): State<Site>,
    caller: Caller,
    Body(TunnelsAsked { turn, mut has }): Body<TunnelsAsked>,
) -> Result<Answer<TunnelsTold>, Problem> {
    let (_, target) = caller.target()?;
    let until = Instant::now() + end::WAIT;
    let _there = site.relay.is_there(Waits::Machine(target.clone(), turn), &site.clock);
    let mut bell = site.relay.listen_for(target);
    has.sort_unstable();
    loop {
        let tunnels = site.relay.offers((target, turn), &has, site.clock.steady())?;
        // The relay gives them in the order of their ids.
        let is_new = !tunnels.iter().map(|one| &one.tunnel).eq(&has);
        if is_new || Instant::now() >= until || site.stop.is_cancelled() {
            return Ok(Answer(TunnelsTold { tunnels }));
        }
        tokio::select! {
            () = bell.heard() => {}
            () = sleep(end::LOOK) => {}
            () = site.stop.cancelled() => {}
        }
    }
}

async fn hear(
    State(site): State<Site>,
    caller: Caller,
    Path(tunnel): Path<String>,
    Query(place): Query<Place>,
) -> Result<Response, Problem> {
    let (_, target) = caller.target()?;
    let at = At::Machine(target, place.turn);
    let _there = site.relay.is_there(Waits::Machine(target.clone(), place.turn), &site.clock);
    end::hear(&site, &id(&tunnel)?, at, &place).await
}

async fn say(
    State(site): State<Site>,
    caller: Caller,
    Path(tunnel): Path<String>,
    Query(place): Query<Place>,
    body: HttpBody,
) -> Result<Answer<TunnelNext>, Problem> {
    let (_, target) = caller.target()?;
    let at = At::Machine(target, place.turn);
    let _there = site.relay.is_there(Waits::Machine(target.clone(), place.turn), &site.clock);
    end::say(&site, &id(&tunnel)?, at, place.offset, body).await
}

async fn end(
    State(site): State<Site>,
    caller: Caller,
    Path(tunnel): Path<String>,
    Query(place): Query<Place>,
    Body(TunnelEnd { why }): Body<TunnelEnd>,
) -> Result<StatusCode, Problem> {
    let (_, target) = caller.target()?;
    let how = why.map_or(End::Finished, end::in_words);
    end::over(&site, &id(&tunnel)?, At::Machine(target, place.turn), how)
}
