//! Requests to merge, and those of forks in particular.

use staith_model::{
    Digest,
    service::{ArrivalState, Happening},
};
use staith_server::{store::NewArrival, triggers::planner::Outcome};

use crate::yard::{B, C, Yard, name, planned};

fn request(head: &str, fork: bool) -> Happening {
    Happening::PullRequest {
        number: 7,
        branch: "topic".into(),
        head: head.into(),
        target: "main".into(),
        fork,
        author: 1,
        reference: None,
    }
}

/// Tells of a request; with another pipeline than that of the target, if it brings one.
async fn told(yard: &Yard, delivery: u64, happening: Happening, brings: Option<&[u8]>) {
    yard.later(1);
    if let Some(bytes) = brings {
        let mut planned = planned(&happening);
        planned.pipeline = Digest::of(bytes);
        yard.script.answers.lock().unwrap().push(Ok(Outcome::Starts(Box::new(planned))));
    }
    let now = yard.site.clock.unix_millis();
    let id = staith_model::ArrivalId::new(now, [0; 10]);
    let (project, delivery) = (name("shop"), format!("d{delivery}"));
    let new = NewArrival { id, project, source: "github", delivery, happening };
    yard.site.store.arrive(vec![new], now).await.unwrap();
    yard.look().await;
}

/// Trust, group and secrets of all runs, in their order.
fn runs(yard: &Yard) -> Vec<(String, Option<String>, String)> {
    let database = yard.database();
    let mut select = database
        .prepare("SELECT r.trust, r.concurrency, json_extract(j.spec_json, '$.secrets') FROM runs r JOIN jobs j ON j.run = r.id ORDER BY number")
        .unwrap();
    select
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

#[tokio::test]
async fn a_forks_request_gets_no_secrets_and_its_runs_keep_apart() {
    let yard = Yard::new().await;
    told(&yard, 1, request(B, true), None).await;
    told(&yard, 2, request(C, false), None).await;
    let group = Some("pull-request/7".to_owned());
    assert_eq!(
        runs(&yard),
        [("fork".into(), group.clone(), "[]".into()), ("branch".into(), group, r#"["token"]"#.into())]
    );
    told(&yard, 3, Happening::PullRequestClosed { number: 7 }, None).await;
    assert_eq!(yard.arrivals().await[0].state, ArrivalState::Ignored);
}

#[tokio::test]
async fn a_forks_own_pipeline_waits_for_somebody_who_agrees_to_exactly_it() {
    let yard = Yard::new().await;
    let token = yard.admin();
    told(&yard, 1, request(B, true), Some(b"mine")).await;
    let held = yard.arrivals().await.remove(0);
    assert_eq!((held.state, yard.count("runs")), (ArrivalState::Held, 0));
    assert!(held.remedy.unwrap().contains("staith project approve shop --pull-request 7"));
    // It survives a restart.
    let yard = yard.killed_and_started().await;
    assert_eq!(yard.look().await, 0);
    let approve = |head: &str, pipeline: &[u8]| {
        let asked = serde_json::json!({ "number": 7, "head": head, "pipeline": Digest::of(pipeline) });
        yard.post(&token, "/api/v1/projects/shop/approvals", asked.to_string())
    };
    // Agreeing to another file is not agreeing to this one.
    let same = |yard: &Yard| {
        let mut planned = planned(&request(B, true));
        planned.pipeline = Digest::of(b"mine");
        yard.script.answers.lock().unwrap().push(Ok(Outcome::Starts(Box::new(planned))));
    };
    assert_eq!(approve(B, b"another").await.status(), 200);
    same(&yard);
    yard.look().await;
    assert_eq!((yard.arrivals().await[0].state, yard.count("runs")), (ArrivalState::Held, 0));
    assert_eq!(approve(B, b"mine").await.status(), 200);
    same(&yard);
    yard.look().await;
    assert_eq!((yard.arrivals().await[0].state, yard.count("runs")), (ArrivalState::Done, 1));
    assert_eq!(runs(&yard)[0].0, "fork", "it gets no secrets all the same");
}

#[tokio::test]
async fn a_push_makes_what_was_agreed_to_void() {
    let yard = Yard::new().await;
    let token = yard.admin();
    told(&yard, 1, request(B, true), Some(b"mine")).await;
    told(&yard, 2, request(C, true), Some(b"mine")).await;
    let states: Vec<_> = yard.arrivals().await.iter().map(|one| one.state).collect();
    assert_eq!(
        states,
        [ArrivalState::Held, ArrivalState::Ignored],
        "the older one can't be agreed to any more"
    );
    let asked = serde_json::json!({ "number": 7, "head": B, "pipeline": Digest::of(b"mine") }).to_string();
    yard.post(&token, "/api/v1/projects/shop/approvals", asked).await;
    assert_eq!(yard.look().await, 0);
    assert_eq!(yard.count("runs"), 0);
}
