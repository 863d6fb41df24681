//! What the server makes of what people and its deployer say about releases, without a machine: the deployer is played by this test.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::collections::{BTreeMap, BTreeSet};

use house::House;
use serde_json::{Value, json};
use staith_model::{
    Access, DeploymentChange, DeploymentId, Digest, Direction, FleetEvent, FleetPlan, FleetRelease, Floor,
    Pace, PaceKind, Package, ReleaseSetting, SchemaChange, Service, SourceOfRelease, Target, TargetAction,
    TargetPlan,
    service::{LedgerEntry, Order, Orders},
};
use staith_server::api::{Grant, Role};

const THERE: &str = "/api/v1/projects/shop/environments/production";

fn setting() -> ReleaseSetting {
    ReleaseSetting {
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
    }
}

fn plan() -> FleetPlan {
    FleetPlan {
        environment: "production".parse().unwrap(),
        release: Digest::of(b"release"),
        previous: None,
        direction: Direction::Forward,
        setting: setting(),
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
        self.tells_all(position, vec![requested(plan(), reason)]).await
    }

    /// More of the deployer's ledger, from a position on.
    async fn tells_all(&self, position: u64, events: Vec<FleetEvent>) -> house::Answered {
        let entry = |(position, event)| LedgerEntry { position, at: self.house.now(), event };
        let entries: Vec<LedgerEntry> = (position..).zip(events).map(entry).collect();
        let part = json!({ "project": "shop", "environment": "production", "entries": entries });
        self.house.ask("POST", "/api/v1/deployer/ledger", Some(&self.deployer), Some(&part)).await
    }

    /// Somebody who has a role in the environment.
    async fn person(&self, name: &str, role: Role) -> String {
        let environment = Some("production".parse().unwrap());
        self.house
            .token(name, vec![Grant { role, project: Some("shop".parse().unwrap()), environment }])
            .await
    }

    /// A release that the deployer is to make: the same number for the release and the order.
    fn asked_for(&self, number: u64) {
        let package = format!("1.0.{number}");
        let material = json!({
            "number": number, "package": "shop", "version": package, "digest": Digest::of(b"package"), "pipeline": "",
            "source": { "commit": null, "branch": "main", "dirty": false },
        });
        self.house.sql(&format!(
            "PRAGMA foreign_keys = OFF;
             INSERT INTO releases (project, number, run, package, trust, material_json, state, asked_by, created)
             VALUES ('shop', {number}, '01arz3ndektsv4rrffq69g5f{number:02}', 'shop', 'protected', '{material}', 'making', 'ann', 1);
             INSERT INTO orders (seq, project, order_json, asked_by, asked)
             VALUES ({number}, 'shop', '{}', 'ann', 1)",
            json!({ "order": "make", "material": material })
        ));
    }

    /// The deployer has made it, and says that it is this.
    async fn made(&self, number: u64, digest: Digest, frozen: &FleetRelease) {
        let answer =
            json!({ "outcome": "made", "release": digest, "environments": ["production"], "frozen": frozen });
        let at = format!("/api/v1/deployer/orders/{number}");
        self.house.ask("POST", &at, Some(&self.deployer), Some(&answer)).await.is(204);
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

fn requested(plan: FleetPlan, reason: &str) -> FleetEvent {
    FleetEvent::Requested {
        deployment: DeploymentId::new(1, [1; 10]),
        plan: Box::new(plan),
        by: "ann".to_owned(),
        reason: reason.to_owned(),
        by_itself: false,
    }
}

fn release(number: u64, level: &str) -> FleetRelease {
    let variables = BTreeMap::from([("LOG_LEVEL".to_owned(), level.to_owned())]);
    FleetRelease {
        project: "shop".parse().unwrap(),
        package: Package {
            name: "shop".parse().unwrap(),
            version: format!("1.0.{number}").parse().unwrap(),
            digest: Digest::of(b"package"),
            content: Digest::of(b"content"),
            size: 1,
        },
        source: SourceOfRelease {
            commit: None,
            branch: Some("main".to_owned()),
            dirty: false,
            committed_at: None,
            trust: None,
        },
        settings: BTreeMap::from([(
            "production".parse().unwrap(),
            ReleaseSetting { variables, ..setting() },
        )]),
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
async fn below_the_rollback_floor_go_administrators_with_a_reason() {
    let office = Office::new().await;
    let eve = office.person("eve", Role::Admin).await;
    let floor = Floor {
        version: "1.4.0".parse().unwrap(),
        by: Digest::of(b"release"),
        change: SchemaChange::Contract,
        refused: None,
        undo_refused: Some("release 1.0.0 is below the floor 1.4.0".to_owned()),
    };
    let above = FleetPlan { floor: Some(floor), ..plan() };
    let now = above.digest();
    let at = format!("{THERE}/overrides");
    let asks = async |token: &str, plan: Digest, more: Value| {
        let mut asked = json!({ "plan": plan, "reason": "the data were restored", "floor": true });
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        office.house.ask("POST", &at, Some(token), Some(&asked)).await
    };
    office.tells_all(1, vec![requested(above, "")]).await.is(200);
    asks(&eve, now, json!({})).await.problem(409, "not-stopped");
    let (deployment, epoch) = (DeploymentId::new(1, [1; 10]), 1);
    let changed =
        |change| FleetEvent::Changed { deployment: deployment.clone(), epoch, change, reason: None };
    let lease = FleetEvent::Lease { deployment: deployment.clone(), epoch, who: "the deployer".to_owned() };
    let submitted = FleetEvent::Changed {
        deployment: deployment.clone(),
        epoch: 0,
        change: DeploymentChange::Submitted,
        reason: None,
    };
    let gates = changed(DeploymentChange::GatesPassed);
    office.tells_all(2, vec![submitted, lease, gates, changed(DeploymentChange::Acquired)]).await.is(200);
    asks(&office.ben, now, json!({})).await.problem(403, "not-allowed");
    asks(&eve, now, json!({ "reason": " ... " })).await.problem(422, "no-reason");
    asks(&eve, now, json!({ "freeze_only": true })).await.problem(422, "not-both");
    asks(&eve, Digest::of(b"another plan"), json!({})).await.problem(409, "no-such-plan");
    asks(&eve, now, json!({})).await.is(202);
    let is_floor = |order: &Order| matches!(order, Order::Override { floor: true, freeze_only: false, .. });
    let orders = office.orders(0).await.orders;
    assert!(orders.len() == 1 && is_floor(&orders[0].what), "{orders:?}");

    let back = json!({ "override_floor": "the data were restored" });
    let rollbacks = format!("{THERE}/rollbacks");
    let goes = async |token: &str, asked: &Value| {
        office.house.ask("POST", &rollbacks, Some(token), Some(asked)).await
    };
    goes(&office.ben, &back).await.problem(403, "not-allowed");
    goes(&eve, &json!({ "override_floor": "!" })).await.problem(422, "no-reason");
    goes(&eve, &back).await.is(202);
    let orders = office.orders(orders[0].order).await.orders;
    let reason = Some("the data were restored".to_owned());
    assert!(
        matches!(&orders[0].what, Order::Rollback { override_floor, .. } if *override_floor == reason),
        "{orders:?}"
    );
    let audit = office.house.ask("GET", "/api/v1/audit", Some(&office.house.admin), None).await.is(200);
    assert!(audit.to_string().contains("floor-overridden"), "{audit}");
}

#[tokio::test]
async fn what_an_administrator_said_counts_as_long_as_they_are_one() {
    let office = Office::new().await;
    office.protect(json!({ "needed": 1 })).await;
    let who = async || {
        let guarded = office.orders(0).await.guarded.remove(0);
        (guarded.protection.approvals.unwrap().people, guarded.overriders.unwrap())
    };
    let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    let (releasers, admins) = who().await;
    office.person("eve", Role::Admin).await;
    let (with, and) = who().await;
    assert_eq!(&with - &releasers, names(&["eve"]));
    assert_eq!(&and - &admins, names(&["eve"]));
    assert!(!and.contains("ben") && with.contains("ben"), "{and:?}");
    let tokens = office.house.ask("GET", "/api/v1/tokens", Some(&office.house.admin), None).await.is(200);
    let eve = tokens["tokens"].as_array().unwrap().iter().find(|token| token["name"] == "eve").unwrap()["id"]
        .clone();
    let at = format!("/api/v1/tokens/{}", eve.as_str().unwrap());
    office.house.ask("DELETE", &at, Some(&office.house.admin), None).await.is(204);
    assert_eq!(who().await, (releasers, admins), "approvals and overrides go the same way");
}

#[tokio::test]
async fn two_releases_are_compared_by_what_the_deployer_froze() {
    let office = Office::new().await;
    let (first, second) = (release(1, "info"), release(2, "debug"));
    for number in [1, 2, 3] {
        office.asked_for(number);
    }
    let compares = async |from: &str, to: &str| {
        let at = format!("/api/v1/projects/shop/comparison?from={from}&to={to}");
        office.house.ask("GET", &at, Some(&office.house.admin), None).await
    };
    compares("1", "2").await.problem(409, "not-made");
    office.made(1, first.digest(), &first).await;
    office.made(2, second.digest(), &second).await;
    let told = compares("1", "latest").await.is(200);
    assert_eq!((&told["from"], &told["files_compared"]), (&json!(first.digest()), &json!(false)));
    let level = json!({
        "environment": "production", "what": "variables.LOG_LEVEL", "before": "info", "after": "debug",
    });
    assert!(told["differences"].as_array().unwrap().contains(&level), "{told}");
    // What is said of a release that is not it is not shown.
    office.made(3, Digest::of(b"another"), &second).await;
    compares("3", "1").await.problem(409, "not-kept");
    compares("7", "1").await.problem(404, "unknown");
    let half = "/api/v1/projects/shop/comparison?to=1";
    office.house.ask("GET", half, Some(&office.house.admin), None).await.problem(400, "bad-query");
    // The answer that is kept, and the audit log, have it no second time.
    let order =
        office.house.ask("GET", "/api/v1/projects/shop/orders/1", Some(&office.house.admin), None).await;
    assert_eq!(order.is(200)["answer"]["frozen"], Value::Null);
}

#[tokio::test]
async fn figures_are_told_of_the_copy_of_a_ledger_to_who_may_see_it() {
    let office = Office::new().await;
    office.tells(1, "").await.is(200);
    let asks = async |token: &str, what: &str| {
        office.house.ask("GET", &format!("/api/v1/projects/shop/metrics{what}"), Some(token), None).await
    };
    let told = asks(&office.house.admin, "").await.is(200);
    assert_eq!((&told[0]["environment"], &told[0]["changes"]), (&json!("production"), &json!(0)));
    // Ben's token is for the environment alone.
    asks(&office.ben, "").await.problem(403, "not-allowed");
    let told = asks(&office.ben, "?environment=production&days=1").await.is(200);
    assert_eq!(told[0]["until"].as_u64().unwrap() - told[0]["from"].as_u64().unwrap(), 86_400_000);
    asks(&office.ben, "?environment=qa").await.problem(403, "not-allowed");
    asks(&office.ben, "?environment=production&days=0").await.problem(422, "bad-span");
    asks(&office.ben, "?environment=production&weeks=1").await.problem(400, "bad-query");
    asks(&office.house.admin, "?weeks=1").await.problem(400, "bad-query");
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

/// A plan that is about a machine, which runs this already.
fn plan_with_a_machine(runs: Digest) -> FleetPlan {
    let target = Target {
        name: "web1".parse().unwrap(),
        access: Access::Local,
        pool: None,
        tags: BTreeSet::new(),
        roles: BTreeSet::new(),
        variables: BTreeMap::new(),
        serves_at: None,
    };
    let (action, before) = (TargetAction::Unchanged, Some(runs));
    let one = TargetPlan { target, action, before, staged: true, damage: None };
    FleetPlan { release: runs, targets: vec![one], ..plan() }
}

#[tokio::test]
async fn which_machine_runs_which_commit_is_told_by_the_copies_of_ledgers_to_who_may_see_them() {
    let office = Office::new().await;
    let (runs, commit) = (Digest::of(b"release"), "3f2a".repeat(10));
    office.tells_all(1, vec![requested(plan_with_a_machine(runs), "")]).await.is(200);
    let asks = async |token: &str, what: &str| {
        office.house.ask("GET", &format!("/api/v1/projects/shop/whereabouts{what}"), Some(token), None).await
    };
    let admin = office.house.admin.clone();
    // Of a release that this server does not know, it is not told what it never knew.
    let told = asks(&admin, "?target=web1").await.is(200);
    assert_eq!((&told[0]["release"], &told[0]["origin"]), (&json!(runs), &Value::Null));
    assert_eq!(asks(&admin, &format!("?commit={commit}")).await.is(200), json!([]));
    office.house.sql(&format!(
        "PRAGMA foreign_keys = OFF;
         INSERT INTO releases (project, number, run, package, trust, material_json, state, digest, environments_json, asked_by, created)
         VALUES ('shop', 1, '01arz3ndektsv4rrffq69g5fav', 'shop', 'protected', '{}', 'made', '{runs}', '[\"production\"]', 'ann', 1)",
        json!({
            "number": 1, "package": "shop", "version": "1.0.0", "digest": runs, "pipeline": "",
            "source": { "commit": commit, "branch": "main", "dirty": false },
        })
    ));
    let told = asks(&admin, "?commit=3F2A").await.is(200);
    assert_eq!((&told[0]["target"], &told[0]["environment"]), (&json!("web1"), &json!("production")));
    assert_eq!(
        (&told[0]["origin"]["commit"], &told[0]["origin"]["version"]),
        (&json!(commit), &json!("1.0.0"))
    );
    assert_eq!(asks(&admin, "?commit=4f2a").await.is(200), json!([]));
    assert_eq!(asks(&admin, "").await.is(200).as_array().unwrap().len(), 1);
    for vague in ["3f2", "main"] {
        asks(&admin, &format!("?commit={vague}")).await.problem(422, "no-commit");
    }
    let unknown = asks(&admin, "?target=web7").await.problem(404, "unknown");
    assert!(unknown["detail"].as_str().unwrap().contains("web1"), "{unknown}");
    asks(&admin, "?machine=web1").await.problem(400, "bad-query");
    // Ben's token is for the environment alone.
    asks(&office.ben, "?target=web1").await.problem(403, "not-allowed");
    asks(&office.ben, "?target=web1&environment=qa").await.problem(403, "not-allowed");
    asks(&office.ben, "?target=web1&environment=production").await.is(200);
    asks("staith_person_guessed", "?target=web1").await.is(401);
}

#[tokio::test]
async fn who_may_release_takes_a_machine_out_with_a_reason_and_puts_it_back() {
    let office = Office::new().await;
    let at = format!("{THERE}/quarantines");
    let asks = async |token: &str, target: &str, out: bool, reason: &str| {
        let asked = json!({ "target": target, "out": out, "reason": reason });
        office.house.ask("POST", &at, Some(token), Some(&asked)).await
    };
    asks(&office.ben, "web1", true, "its disk fails").await.problem(422, "no-such-machine");
    let plan = plan_with_a_machine(Digest::of(b"release"));
    office.tells_all(1, vec![requested(plan, "")]).await.is(200);
    asks(&office.ben, "web7", true, "its disk fails").await.problem(422, "no-such-machine");
    asks(&office.ben, "web1", true, " - ").await.problem(422, "no-reason");
    asks(&office.ben, "web1", false, "").await.problem(409, "not-quarantined");
    for (name, role) in [("val", Role::Viewer), ("dan", Role::Developer)] {
        let nobody = office.person(name, role).await;
        asks(&nobody, "web1", true, "its disk fails").await.problem(403, "not-allowed");
    }
    assert_eq!(office.orders(0).await.orders.len(), 0);
    asks(&office.ben, "web1", true, "its disk fails").await.is(202);
    let orders = office.orders(0).await.orders;
    let is_it = |order: &Order| {
        matches!(order, Order::Quarantine { target, out: true, reason, .. }
            if target.as_str() == "web1" && reason == "its disk fails")
    };
    assert!(orders.len() == 1 && is_it(&orders[0].what) && orders[0].by == "ben", "{orders:?}");
    // It is so when the deployer's ledger says so.
    let (target, by) = ("web1".parse().unwrap(), "ben".to_owned());
    let event = FleetEvent::Quarantine { target, out: true, by, reason: "its disk fails".to_owned() };
    office.tells_all(2, vec![event]).await.is(200);
    let view = office.house.ask("GET", THERE, Some(&office.ben), None).await.is(200);
    assert_eq!(view["quarantined"], json!({ "web1": "its disk fails" }));
    asks(&office.ben, "web1", false, "").await.is(202);
    let audit = office.house.ask("GET", "/api/v1/audit", Some(&office.house.admin), None).await.is(200);
    let audit = audit.to_string();
    assert!(audit.contains("machine-quarantined") && audit.contains("machine-reinstated"), "{audit}");
}
