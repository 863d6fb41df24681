//! What the server makes of what people and its deployer say about releases, without a machine: the deployer is played by this test.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::collections::{BTreeMap, BTreeSet};

use house::House;
use serde_json::{Value, json};
use staith_model::{
    DeploymentId, Digest, Direction, FleetEvent, FleetPlan, Pace, PaceKind, ReleaseSetting, Service,
    service::{LedgerEntry, Orders},
};
use staith_server::api::{Grant, Role};

const THERE: &str = "/api/v1/projects/shop/environments/production";

fn plan() -> FleetPlan {
    FleetPlan {
        environment: "production".parse().unwrap(),
        release: Digest::of(b"release"),
        previous: None,
        direction: Direction::Forward,
        setting: ReleaseSetting {
            folder: "/srv/shop".to_owned(),
            service: Service::Files,
            health: None,
            port: None,
            min_healthy_seconds: 0,
            variables: BTreeMap::new(),
            role_variables: BTreeMap::new(),
            secrets: BTreeMap::new(),
            rendered: Vec::new(),
            schema: None,
            hooks: Vec::new(),
        },
        pace: Pace { kind: PaceKind::InPlace, max_unavailable: 1, drains: false, keep_warm_seconds: None },
        targets: Vec::new(),
        waves: Vec::new(),
        analysis: None,
        traffic: None,
        hooks: Vec::new(),
        keep: BTreeSet::new(),
        floor: None,
        undo_moves_bytes: BTreeSet::new(),
        epoch_seen: 0,
        warnings: Vec::new(),
    }
}

/// A server with a project, two people who may release, and a deployer.
struct Office {
    house: House,
    ann: String,
    ben: String,
    deployer: String,
}

impl Office {
    async fn new() -> Self {
        let house = House::new().await;
        house.sql(
            "INSERT INTO projects (name, origin, settings_json, created) VALUES ('shop', '/not/on/this/machine', '{}', 1)",
        );
        let there = |role| {
            vec![Grant {
                role,
                project: Some("shop".parse().unwrap()),
                environment: Some("production".parse().unwrap()),
            }]
        };
        let ann = house.token("ann", there(Role::Releaser)).await;
        let ben = house.token("ben", there(Role::Releaser)).await;
        house.token("cid", there(Role::Developer)).await;
        let deployer = house.site.deployer.let_in().unwrap();
        Self { house, ann, ben, deployer }
    }

    async fn protect(&self, rules: Value) {
        let admin = Some(self.house.admin.as_str());
        self.house.ask("PUT", &format!("{THERE}/protection"), admin, Some(&rules)).await.is(204);
    }

    /// The deployer's ledger, with one deployment of ann's that waits.
    async fn tells(&self, position: u64, reason: &str) -> house::Answered {
        let event = FleetEvent::Requested {
            deployment: DeploymentId::new(1, [1; 10]),
            plan: Box::new(plan()),
            by: "ann".to_owned(),
            reason: reason.to_owned(),
            by_itself: false,
        };
        let entry = LedgerEntry { position, at: self.house.now(), event };
        let part = json!({ "project": "shop", "environment": "production", "entries": [entry] });
        self.house.ask("POST", "/api/v1/deployer/ledger", Some(&self.deployer), Some(&part)).await
    }

    async fn votes(&self, token: &str, plan: Digest) -> house::Answered {
        let vote = json!({ "plan": plan, "approves": true });
        self.house.ask("POST", &format!("{THERE}/votes"), Some(token), Some(&vote)).await
    }

    async fn orders(&self, after: u64) -> Orders {
        let path = format!("/api/v1/deployer/orders?after={after}");
        let told = self.house.ask("GET", &path, Some(&self.deployer), None).await.is(200);
        serde_json::from_value(told).unwrap()
    }
}

#[tokio::test]
async fn who_asked_does_not_agree_and_another_does_to_this_plan_only() {
    let office = Office::new().await;
    office.protect(json!({ "needed": 1 })).await;
    office.tells(1, "").await.is(200);
    office.votes(&office.ann, plan().digest()).await.problem(403, "own-request");
    office.votes(&office.ben, Digest::of(b"another plan")).await.problem(409, "no-such-plan");
    // Nobody waits for a deployer that has never asked.
    let seen = office.votes(&office.ben, plan().digest()).await.is(202);
    let orders = office.orders(0).await;
    assert_eq!((orders.orders.len(), &*orders.orders[0].by), (1, "ben"));
    assert_eq!(seen["order"], orders.orders[0].order);
    // It is told until it is answered, and answered once.
    assert_eq!(office.orders(0).await.orders.len(), 1);
    let at = format!("/api/v1/deployer/orders/{}", seen["order"]);
    for answer in [json!({ "outcome": "done" }), json!({ "outcome": "refused", "what": "too late" })] {
        office.house.ask("POST", &at, Some(&office.deployer), Some(&answer)).await.is(204);
    }
    assert!(office.orders(0).await.orders.is_empty());
    let path = format!("/api/v1/projects/shop/orders/{}", seen["order"]);
    let seen = office.house.ask("GET", &path, Some(&office.ben), None).await.is(200);
    assert_eq!(seen["answer"]["outcome"], "done");
}

#[tokio::test]
async fn the_people_of_a_quorum_are_told_with_every_question_and_no_repository_is_asked() {
    let office = Office::new().await;
    let unsaid = office.orders(0).await.guarded;
    assert!(unsaid.is_empty(), "what nobody said is what is usual: {unsaid:?}");
    office.protect(json!({ "needed": 2, "branches": ["main"] })).await;
    let people = |orders: Orders| orders.guarded[0].protection.approvals.clone().unwrap().people;
    // The administrator's token may release anywhere.
    let all: BTreeSet<String> = ["administrator", "ann", "ben"].map(str::to_owned).into();
    assert_eq!(people(office.orders(0).await), all);
    office.house.sql("UPDATE tokens SET revoked = 1 WHERE name = 'ben'");
    assert!(!people(office.orders(0).await).contains("ben"));
    // People who release say nothing of protection.
    let open = format!("{THERE}/protection");
    office.house.ask("DELETE", &open, Some(&office.ann), None).await.problem(403, "not-allowed");
    office.house.ask("PUT", &open, Some(&office.ann), Some(&json!({}))).await.problem(403, "not-allowed");
    // An earlier deployer's token counts for nothing once another is let in.
    office.house.site.deployer.let_in().unwrap();
    let orders = "/api/v1/deployer/orders";
    office.house.ask("GET", orders, Some(&office.deployer), None).await.problem(401, "sign-in");
}

#[tokio::test]
async fn the_copy_of_a_ledger_has_no_gap_and_is_never_told_otherwise() {
    let office = Office::new().await;
    office.tells(2, "").await.problem(409, "conflict");
    office.tells(1, "the sale").await.is(200);
    assert_eq!(office.tells(1, "the sale").await.is(200)["position"], 1);
    office.tells(1, "something else").await.problem(409, "conflict");
    let view = office.house.ask("GET", THERE, Some(&office.ben), None).await.is(200);
    assert_eq!(
        (&view["deployments"][0]["reason"], &view["deployments"][0]["by"]),
        (&"the sale".into(), &"ann".into())
    );
    // The same question with the same key is one order.
    office.orders(0).await;
    office.house.pass(60_000);
    let wish = json!({ "ask": { "ask": "abort", "reason": "no" } });
    for _ in 0..2 {
        let key = [("idempotency-key", "one")];
        let asks = format!("{THERE}/asks");
        office.house.ask_with("POST", &asks, Some(&office.ann), &key, Some(&wish)).await.is(202);
    }
    assert_eq!(office.orders(0).await.orders.len(), 1);
}

#[tokio::test]
async fn past_gates_go_administrators_with_a_reason_and_where_people_agree_not_who_asked() {
    let office = Office::new().await;
    let there = |role| {
        let environment = Some("production".parse().unwrap());
        vec![Grant { role, project: Some("shop".parse().unwrap()), environment }]
    };
    // The one who asked becomes an administrator there.
    let ann = office.house.token("ann", there(Role::Admin)).await;
    let eve = office.house.token("eve", there(Role::Admin)).await;
    office.protect(json!({ "needed": 1 })).await;
    office.tells(1, "").await.is(200);
    let at = format!("{THERE}/overrides");
    let asks = async |token: &str, plan: Digest, reason: &str, freeze_only: bool| {
        let asked = json!({ "plan": plan, "reason": reason, "freeze_only": freeze_only });
        office.house.ask("POST", &at, Some(token), Some(&asked)).await
    };
    let now = plan().digest();
    asks(&office.ben, now, "the shop is down", false).await.problem(403, "not-allowed");
    asks(&eve, now, " ... ", false).await.problem(422, "no-reason");
    asks(&eve, Digest::of(b"another plan"), "the shop is down", false).await.problem(409, "no-such-plan");
    asks(&ann, now, "the shop is down", false).await.problem(403, "own-request");
    // A freeze alone takes nobody's yes away. Of all that was asked, this is the only order.
    asks(&ann, now, "the shop is down", true).await.is(202);
    assert_eq!(office.orders(0).await.orders.len(), 1);
}

#[tokio::test]
async fn a_deployment_to_which_nobody_may_agree_is_refused_with_what_to_do() {
    let office = Office::new().await;
    office.protect(json!({ "needed": 3 })).await;
    let digest = Digest::of(b"release");
    office.house.sql(&format!(
        "PRAGMA foreign_keys = OFF;
         INSERT INTO releases (project, number, run, package, trust, material_json, state, digest, environments_json, asked_by, created)
         VALUES ('shop', 1, '01arz3ndektsv4rrffq69g5fav', 'shop', 'protected', '{}', 'made', '{digest}', '[\"production\"]', 'ann', 1)",
        json!({
            "number": 1, "package": "shop", "version": "1.0.0", "digest": digest, "pipeline": "",
            "source": { "commit": null, "branch": "main", "dirty": false },
        })
    ));
    let asked = json!({ "release": "1" });
    let at = format!("{THERE}/deployments");
    let refused = office.house.ask("POST", &at, Some(&office.ann), Some(&asked)).await;
    let told = refused.problem(409, "nobody-may-agree");
    assert!(told["remedy"].as_str().unwrap().contains("staith server token create"), "{told}");
    office.protect(json!({ "needed": 2 })).await;
    office.house.ask("POST", &at, Some(&office.ann), Some(&asked)).await.is(202);
}

#[tokio::test]
async fn a_machine_that_is_skipped_is_one_of_the_deployment() {
    let office = Office::new().await;
    office.tells(1, "").await.is(200);
    let asked = json!({ "ask": { "ask": "skip", "target": "nowhere" } });
    let asks = format!("{THERE}/asks");
    office.house.ask("POST", &asks, Some(&office.ann), Some(&asked)).await.problem(422, "no-such-machine");
}
