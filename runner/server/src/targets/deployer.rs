//! The deployer's end of tunnels.

use std::time::Duration;

use axum::{
    Router,
    body::Body as HttpBody,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
    routing::{post, put},
};
use staith_model::{
    TunnelId,
    service::{RunnerSeen, RunnerState, TargetOf, TunnelEnd, TunnelNext, TunnelWanted},
};
use tokio::time::{Instant, sleep};

use super::{
    end::{self, Place, id},
    problems,
    relay::{At, Standing, Waits},
    tunnel::{End, Event},
};
use crate::{
    api::{Answer, Body, Caller, Problem},
    site::Site,
};

/// How long a machine whose runner is not there is waited for: it may just be coming back, as after a start of the server.
const AWAY: Duration = Duration::from_secs(7);
/// How long one whose runner is there may take to start the program.
const STARTING: Duration = Duration::from_secs(20);

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/deployer/tunnels/{tunnel}", put(open))
        .route("/api/v1/deployer/tunnels/{tunnel}/down", put(say))
        .route("/api/v1/deployer/tunnels/{tunnel}/up", axum::routing::get(hear))
        .route("/api/v1/deployer/tunnels/{tunnel}/end", post(end))
}

/// Answers when the program runs on the machine, or when it is known that it does not.
async fn open(
    State(site): State<Site>,
    caller: Caller,
    Path(tunnel): Path<String>,
    Body(TunnelWanted { target, folder }): Body<TunnelWanted>,
) -> Result<StatusCode, Problem> {
    caller.must_be_the_deployer()?;
    let tunnel = id(&tunnel)?;
    let runner = runner_of(&site, &target).await?;
    site.relay.offer(&tunnel, &target, &folder, site.clock.steady())?;
    let _there = site.relay.is_there(Waits::Deployer(tunnel.clone()), &site.clock);
    let (began, mut bell) = (Instant::now(), site.relay.listen(&tunnel, At::Deployer)?);
    while !site.relay.is_open(&tunnel, site.clock.steady())? {
        let standing = site.relay.standing(&target, site.clock.steady());
        let patience = if standing == Standing::Here { STARTING } else { AWAY };
        if site.stop.is_cancelled() {
            return Err(
                Problem::new(503, "stopping", "the server stops").with_remedy("ask again when it is back")
            );
        }
        if began.elapsed() >= patience {
            let away = away(&site, &runner, &target, standing);
            give_up(&site, &tunnel, &away);
            return Err(away);
        }
        tokio::select! {
            () = bell.heard() => {}
            () = sleep(end::LOOK) => {}
            () = site.stop.cancelled() => {}
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The host that is registered as the machine, if it may be deployed to.
async fn runner_of(site: &Site, target: &TargetOf) -> Result<RunnerSeen, Problem> {
    let all = site.store.runners().await?;
    let theirs = |one: &RunnerSeen| one.target.as_ref() == Some(target) && one.state != RunnerState::Revoked;
    let runner = all.into_iter().find(theirs).ok_or_else(|| problems::unregistered(target))?;
    if runner.state == RunnerState::Draining { Err(problems::draining(target)) } else { Ok(runner) }
}

fn away(site: &Site, runner: &RunnerSeen, target: &TargetOf, standing: Standing) -> Problem {
    let now = site.clock.unix_millis();
    let ago = |since: Duration| now.saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let seen = match standing {
        Standing::Here => {
            return Problem::new(
                504,
                "target-slow",
                format!("the runner of {target} did not start the program in time"),
            )
            .with_remedy("see what keeps the machine busy");
        }
        Standing::Away(Some(since)) => ago(since).max(runner.seen),
        Standing::Away(None) => runner.seen,
    };
    problems::away(target, &when(seen, now))
}

/// A moment for people: how long ago, and when that was.
fn when(at: u64, now: u64) -> String {
    let seconds = now.saturating_sub(at) / 1000;
    let ago = match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    };
    let moment = i64::try_from(at).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    moment.map_or(ago.clone(), |moment| format!("{ago} ({})", moment.strftime("%Y-%m-%d %H:%M:%S UTC")))
}

fn give_up(site: &Site, tunnel: &TunnelId, why: &Problem) {
    let end = Event::End(End::Broken(why.details().title.clone()));
    let _ = site.relay.step(tunnel, At::Deployer, end, site.clock.steady());
}

async fn say(
    State(site): State<Site>,
    caller: Caller,
    Path(tunnel): Path<String>,
    place: axum::extract::Query<Place>,
    body: HttpBody,
) -> Result<Answer<TunnelNext>, Problem> {
    caller.must_be_the_deployer()?;
    let tunnel = id(&tunnel)?;
    let _there = site.relay.is_there(Waits::Deployer(tunnel.clone()), &site.clock);
    end::say(&site, &tunnel, At::Deployer, place.offset, body).await
}

async fn hear(
    State(site): State<Site>,
    caller: Caller,
    Path(tunnel): Path<String>,
    place: axum::extract::Query<Place>,
) -> Result<Response, Problem> {
    caller.must_be_the_deployer()?;
    let tunnel = id(&tunnel)?;
    let _there = site.relay.is_there(Waits::Deployer(tunnel.clone()), &site.clock);
    end::hear(&site, &tunnel, At::Deployer, &place).await
}

async fn end(
    State(site): State<Site>,
    caller: Caller,
    Path(tunnel): Path<String>,
    Body(TunnelEnd { why }): Body<TunnelEnd>,
) -> Result<StatusCode, Problem> {
    caller.must_be_the_deployer()?;
    let how = why.map_or(End::Left, End::Broken);
    end::over(&site, &id(&tunnel)?, At::Deployer, how)
}
