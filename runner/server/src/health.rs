//! How the server is. What supervisors and monitoring ask is open to everybody: it says nothing of anybody's.

use std::fmt::Write as _;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use staith_model::service::ServerStatus;

use crate::{
    api::{Answer, Caller, Problem},
    site::Site,
    store::Depths,
};

/// The routes of health.
pub fn routes() -> Router<Site> {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(status))
}

/// The process answers.
async fn alive() -> &'static str {
    "ok\n"
}

/// The process answers, and its database can be read.
async fn ready(State(site): State<Site>) -> Result<&'static str, Problem> {
    site.store.depths().await.map_err(|error| {
        tracing::error!(%error, "not ready");
        Problem::new(503, "not-ready", "the server can't read its database")
    })?;
    Ok("ready\n")
}

/// The same figures for people who are signed in, with what the server is.
async fn status(State(site): State<Site>, caller: Caller) -> Result<Answer<ServerStatus>, Problem> {
    caller.must_be_somebody()?;
    let depths = site.store.depths().await?;
    Ok(Answer(ServerStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        url: site.public_url.to_string(),
        runners_active: depths.runners_active,
        runs_open: depths.runs_open,
        jobs_queued: depths.jobs_queued,
        jobs_waiting: depths.jobs_waiting,
        jobs_running: depths.leases,
        arrivals_waiting: depths.arrivals_waiting,
        outbox_waiting: depths.outbox_waiting,
    }))
}

async fn metrics(State(site): State<Site>) -> Result<Response, Problem> {
    let depths = site.store.depths().await?;
    let text = gauges(&depths) + &site.guard.counts.text();
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

fn gauges(depths: &Depths) -> String {
    let mut text = String::new();
    let all = [
        ("staith_jobs_queued", "Jobs that wait for a runner.", depths.jobs_queued),
        ("staith_jobs_waiting", "Jobs that wait for other jobs.", depths.jobs_waiting),
        ("staith_leases", "Attempts that a runner has.", depths.leases),
        ("staith_runs_open", "Runs that have not ended.", depths.runs_open),
        ("staith_runners_active", "Runners that get jobs.", depths.runners_active),
        ("staith_arrivals_waiting", "Happenings that were not looked into yet.", depths.arrivals_waiting),
        ("staith_outbox_waiting", "Messages that were not delivered yet.", depths.outbox_waiting),
    ];
    for (name, help, value) in all {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    }
    for (state, count) in [("finished", depths.attempts_finished), ("lost", depths.attempts_lost)] {
        let _ = writeln!(text, "staith_attempts_ended{{state=\"{state}\"}} {count}");
    }
    text
}
