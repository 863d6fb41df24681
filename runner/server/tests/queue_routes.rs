//! The queue over HTTP: who may ask what, and what they are told.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "house/described.rs"]
mod described;
mod queue_stage;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use std::time::Duration;

use queue_stage::Stage;
use serde_json::{Value, json};
use staith_model::{
    AttemptId, RunId, RunnerId,
    service::{Claimed, StopKind},
};
use staith_server::{api, queue};
use tower::ServiceExt as _;

struct Served {
    stage: Stage,
    router: Router,
    runner: RunnerId,
}

const ADMIN: &str = r#"[{"role":"admin"}]"#;
const OF_BLOG: &str = r#"[{"role":"developer","project":"blog"}]"#;
const VIEWER: &str = r#"[{"role":"viewer","project":"shop"}]"#;

impl Served {
    fn new() -> Self {
        let stage = Stage::new();
        stage.project("shop");
        stage.project("blog");
        let runner = stage.runner("build-1", "default", &[]);
        stage.token("session", Some(&runner), "[]");
        stage.token("admin", None, ADMIN);
        stage.token("of-blog", None, OF_BLOG);
        stage.token("viewer", None, VIEWER);
        let router = api::router(stage.site().clone());
        Self { stage, router, runner }
    }

    async fn ask(&self, method: &str, path: &str, token: &str, body: &Value) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let answer = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = answer.status();
        let bytes = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        assert_eq!(described::otherwise(method, path, status.as_u16(), &bytes), None);
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn claim(&self, nonce: &str, wait: u64) -> Option<Claimed> {
        let asked = json!({ "nonce": nonce, "wait_millis": wait });
        let (status, body) = self.ask("POST", "/api/v1/claims", "session", &asked).await;
        match status {
            StatusCode::NO_CONTENT => None,
            StatusCode::OK => Some(serde_json::from_value(body).unwrap()),
            other => panic!("{other} {body}"),
        }
    }

    async fn of(&self, claimed: &Claimed, what: &str, body: &Value) -> (StatusCode, Value) {
        let path = format!("/api/v1/attempts/{}/{what}", claimed.attempt);
        self.ask("POST", &path, &claimed.token, body).await
    }
}

fn kind(body: &Value) -> &str {
    body["type"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_job_goes_to_a_runner_and_comes_back() {
    let served = Served::new();
    let run = served.stage.add_one("shop").await;
    let claimed = served.claim("a", 0).await.unwrap();
    assert_eq!((claimed.number, claimed.lease_millis, claimed.job.number), (1, 15_000, 1));
    let again = served.claim("a", 0).await.unwrap();
    assert_eq!((again.attempt, again.token), (claimed.attempt.clone(), claimed.token.clone()));

    let (status, renewed) = served.of(&claimed, "renew", &json!({ "fence": claimed.fence })).await;
    assert_eq!((status, &renewed["wanted"]["do"]), (StatusCode::OK, &json!("go-on")));
    let outcome = json!({ "fence": claimed.fence, "outcome": { "ended": "passed" }, "streams": ["events", "log.build"] });
    let (status, problem) = served.of(&claimed, "finish", &outcome).await;
    assert_eq!((status, kind(&problem)), (StatusCode::CONFLICT, "streams-open"));
    served.stage.closed(&claimed.attempt, "events");
    served.stage.closed(&claimed.attempt, "log.build");
    assert_eq!(served.of(&claimed, "finish", &outcome).await.0, StatusCode::NO_CONTENT);
    assert_eq!(
        served.of(&claimed, "finish", &outcome).await.0,
        StatusCode::NO_CONTENT,
        "the answer may have been lost"
    );
    let other = json!({ "fence": claimed.fence, "outcome": { "ended": "cancelled" }, "streams": [] });
    let (status, problem) = served.of(&claimed, "finish", &other).await;
    assert_eq!((status, kind(&problem)), (StatusCode::CONFLICT, "conflict"));
    let (status, problem) = served.of(&claimed, "renew", &json!({ "fence": claimed.fence })).await;
    assert_eq!((status, kind(&problem)), (StatusCode::CONFLICT, "stale-fence"));

    let (status, view) = served.ask("GET", &format!("/api/v1/runs/{run}"), "viewer", &Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&view["state"], &view["commit"]), (&json!("passed"), &json!("c0ffee")));
    assert_eq!(view["jobs"][0]["attempts"][0]["streams"], json!(["events", "log.build"]));
    assert_eq!(view["jobs"][0]["attempts"][0]["runner_name"], json!("build-1"));
}

#[tokio::test]
async fn a_runner_that_was_not_heard_of_in_time_has_lost_its_job() {
    let served = Served::new();
    served.stage.add_one("shop").await;
    let claimed = served.claim("a", 0).await.unwrap();
    queue::tick(served.stage.site()).await;
    served.stage.pass(14_999);
    queue::tick(served.stage.site()).await;
    assert!(served.claim("b", 0).await.is_none(), "it is still its own");
    served.stage.pass(1);
    let (status, problem) = served.of(&claimed, "renew", &json!({ "fence": claimed.fence })).await;
    assert_eq!(
        (status, kind(&problem)),
        (StatusCode::CONFLICT, "stale-fence"),
        "also before the server has said so"
    );
    queue::tick(served.stage.site()).await;
    let next = served.claim("b", 0).await.unwrap();
    assert!(next.fence > claimed.fence && next.number == 2);
    let finish = json!({ "fence": claimed.fence, "outcome": { "ended": "passed" }, "streams": [] });
    let (status, problem) = served.of(&claimed, "finish", &finish).await;
    assert_eq!((status, kind(&problem)), (StatusCode::CONFLICT, "stale-fence"));
}

#[tokio::test]
async fn a_server_that_starts_gives_everybody_a_fresh_lease() {
    let mut served = Served::new();
    served.stage.add_one("shop").await;
    let claimed = served.claim("a", 0).await.unwrap();
    served.router = Router::new();
    served.stage.stop();
    served.stage.pass(100_000);
    served.stage.start();
    served.router = api::router(served.stage.site().clone());
    queue::tick(served.stage.site()).await;
    served.stage.pass(14_000);
    queue::tick(served.stage.site()).await;
    let (status, _) = served.of(&claimed, "renew", &json!({ "fence": claimed.fence })).await;
    assert_eq!(status, StatusCode::OK, "the server was away, not the runner");
    assert_eq!(served.claim("a", 0).await.unwrap().token, claimed.token, "tokens are made as before");
}

#[tokio::test]
async fn what_takes_too_long_is_asked_to_end_and_then_given_up() {
    let served = Served::new();
    let mut run = served.stage.run("shop", &[("run", &[])]);
    run.jobs[0].spec.timeout_millis = 60_000;
    let run = served.stage.add(run).await;
    let claimed = served.claim("a", 0).await.unwrap();
    let mut asked_after = None;
    for second in (5..=130).step_by(5) {
        served.stage.pass(5_000);
        queue::tick(served.stage.site()).await;
        let (status, renewed) = served.of(&claimed, "renew", &json!({ "fence": claimed.fence })).await;
        if status == StatusCode::CONFLICT {
            assert_eq!((asked_after, second), (Some(75), 120), "a minute after its time at the latest");
            let view = served.stage.store().run(run).await.unwrap();
            assert_eq!(view.jobs[0].state.as_str(), "failed", "what runs too long is not tried again");
            assert_eq!(view.jobs[0].why.as_deref(), Some("it ran longer than it may"));
            return;
        }
        if renewed["wanted"]["do"] == "cancel" {
            asked_after.get_or_insert(second);
        }
    }
    panic!("it ran for ever");
}

#[tokio::test]
async fn who_waits_is_given_what_comes() {
    let served = Served::new();
    let waiting = served.claim("a", 5_000);
    let adding = async {
        // So many looks of others later, the one who waits has looked for itself.
        for _ in 0..50 {
            served.stage.store().all_live().await.unwrap();
            served
                .stage
                .store()
                .ask_to_end(AttemptId::new(1, [1; 10]), StopKind::Cancel, String::new(), 1)
                .await
                .unwrap();
        }
        // Whoever adds a run rings the bell after the commit.
        let run = served.stage.add_one("shop").await;
        served.stage.site().bells.jobs.ring();
        run
    };
    let (claimed, run) = tokio::join!(waiting, adding);
    assert_eq!(claimed.unwrap().job.run, run);
    assert!(served.claim("b", 1).await.is_none(), "and nobody waits longer than they want");
}

/// The one who asked goes away between the commit and its answer: the attempt has its lease, and the same question gets it.
#[tokio::test]
async fn a_claim_that_was_dropped_loses_no_job() {
    let served = Served::new();
    for round in 0..200 {
        let nonce = format!("round-{round}");
        served.stage.add_one("shop").await;
        let mut dropped = Box::pin(served.claim(&nonce, 20_000));
        // Looked at piece by piece, until the store has it and it has not heard so yet.
        let live = loop {
            let once = std::future::poll_fn(|context| std::task::Poll::Ready(dropped.as_mut().poll(context)));
            if once.await.is_ready() {
                break None;
            }
            let live = served.stage.store().all_live().await.unwrap();
            if live.len() > round {
                break live.into_iter().last();
            }
        };
        drop(dropped);
        let Some(live) = live else { continue };
        let has_lease = async {
            while served.stage.site().queue.leases().held() <= round {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), has_lease)
            .await
            .expect("nobody ends an attempt without a lease");
        assert_eq!(served.claim(&nonce, 0).await.unwrap().attempt, live.attempt);
        return;
    }
    panic!("no claim was caught between its commit and its answer");
}

#[tokio::test]
async fn a_cancelled_run_is_told_to_its_attempt_and_a_retried_one_begins_again() {
    let served = Served::new();
    let run = served.stage.add_one("shop").await;
    let claimed = served.claim("a", 0).await.unwrap();
    let cancel = format!("/api/v1/runs/{run}/cancel");
    assert_eq!(served.ask("POST", &cancel, "", &Value::Null).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(served.ask("POST", &cancel, "viewer", &Value::Null).await.0, StatusCode::FORBIDDEN);
    assert_eq!(served.ask("POST", &cancel, "of-blog", &Value::Null).await.0, StatusCode::FORBIDDEN);
    assert_eq!(served.ask("POST", &cancel, &claimed.token, &Value::Null).await.0, StatusCode::FORBIDDEN);
    assert_eq!(served.ask("POST", &cancel, "admin", &json!({ "why": "not now" })).await.0, StatusCode::OK);
    let (_, renewed) = served.of(&claimed, "renew", &json!({ "fence": claimed.fence })).await;
    assert_eq!(renewed["wanted"], json!({ "do": "cancel", "why": "not now" }));
    let finish = json!({ "fence": claimed.fence, "outcome": { "ended": "cancelled" }, "streams": [] });
    assert_eq!(served.of(&claimed, "finish", &finish).await.0, StatusCode::NO_CONTENT);
    let (status, view) =
        served.ask("POST", &format!("/api/v1/runs/{run}/retry"), "admin", &Value::Null).await;
    assert_eq!((status, &view["state"]), (StatusCode::OK, &json!("waiting")), "{view}");
    assert_eq!(served.claim("b", 0).await.unwrap().number, 2);
}

#[tokio::test]
async fn what_was_cancelled_and_does_not_end_is_given_up() {
    let served = Served::new();
    let run = served.stage.add_one("shop").await;
    let claimed = served.claim("a", 0).await.unwrap();
    let cancel = format!("/api/v1/runs/{run}/cancel");
    assert_eq!(served.ask("POST", &cancel, "admin", &json!({ "why": "not now" })).await.0, StatusCode::OK);
    for second in (5..=60).step_by(5) {
        served.stage.pass(5_000);
        queue::tick(served.stage.site()).await;
        let (status, _) = served.of(&claimed, "renew", &json!({ "fence": claimed.fence })).await;
        if status == StatusCode::CONFLICT {
            assert_eq!(second, 45, "it has its time for that, and no more");
            let view = served.stage.store().run(run).await.unwrap();
            assert_eq!(view.jobs[0].state.as_str(), "cancelled");
            return;
        }
    }
    panic!("its runner goes on for ever");
}

#[tokio::test]
async fn only_who_may_sees_and_asks() {
    let served = Served::new();
    let run = served.stage.add_one("shop").await;
    let claim = json!({ "nonce": "a", "wait_millis": 0 });
    for (token, status) in [
        ("", StatusCode::UNAUTHORIZED),
        ("wrong", StatusCode::UNAUTHORIZED),
        ("admin", StatusCode::FORBIDDEN),
    ] {
        assert_eq!(served.ask("POST", "/api/v1/claims", token, &claim).await.0, status, "{token}");
    }
    let claimed = served.claim("a", 0).await.unwrap();
    let fence = json!({ "fence": claimed.fence });
    for token in ["", "wrong", "admin", "session"] {
        let path = format!("/api/v1/attempts/{}/renew", claimed.attempt);
        assert_eq!(served.ask("POST", &path, token, &fence).await.0, StatusCode::UNAUTHORIZED, "{token}");
    }
    let other = served.stage.add_one("blog").await;
    let second = served.claim("b", 0).await.unwrap();
    let path = format!("/api/v1/attempts/{}/renew", second.attempt);
    assert_eq!(
        served.ask("POST", &path, &claimed.token, &fence).await.0,
        StatusCode::UNAUTHORIZED,
        "each has its own"
    );

    for (path, token, status) in [
        (format!("/api/v1/runs/{run}"), "", StatusCode::UNAUTHORIZED),
        (format!("/api/v1/runs/{run}"), "of-blog", StatusCode::FORBIDDEN),
        (format!("/api/v1/runs/{other}"), "of-blog", StatusCode::OK),
        ("/api/v1/runs".to_owned(), "of-blog", StatusCode::FORBIDDEN),
        ("/api/v1/runs?project=blog&state=running&limit=1".to_owned(), "of-blog", StatusCode::OK),
        ("/api/v1/runs?state=odd".to_owned(), "admin", StatusCode::BAD_REQUEST),
        ("/api/v1/runs/..%2f..%2fetc".to_owned(), "admin", StatusCode::NOT_FOUND),
        (format!("/api/v1/runs/{}", RunId::new(1, [9; 10])), "admin", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(served.ask("GET", &path, token, &Value::Null).await.0, status, "{path} {token}");
    }
    let (_, page) = served.ask("GET", "/api/v1/runs?limit=1", "admin", &Value::Null).await;
    assert_eq!((page["runs"].as_array().unwrap().len(), page["next"].is_string()), (1, true));
    assert_eq!(
        served.ask("POST", "/api/v1/claims", "session", &json!({ "nonce": "", "wait_millis": 0 })).await.0,
        400
    );
    served.stage.raw(|connection| {
        connection.execute("UPDATE runners SET state = 'revoked' WHERE id = ?1", [served.runner.as_str()])
    });
    assert_eq!(served.ask("POST", "/api/v1/claims", "session", &claim).await.0, StatusCode::UNAUTHORIZED);
}
