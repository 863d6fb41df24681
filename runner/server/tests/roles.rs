//! Every call, asked by everybody: who may, may, and nobody else. And the table of calls is whole: the router itself says what it has.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::collections::BTreeSet;

use house::House;
use staith_model::{Digest, RunnerId};
use staith_server::{
    api::{
        self, Grant, Role,
        calls::{About, CALLS, Call, Gate, Gives},
        shapes,
    },
    store::{Actor, NewSession},
};

/// Paths as the router shows itself. axum has no list of its routes for programs; what it shows for people has them.
fn paths(house: &House) -> BTreeSet<String> {
    let shown = format!("{:?}", api::router(house.site.clone()));
    let paths: BTreeSet<String> = shown
        .split("RouteId(")
        .filter_map(|part| part.split_once("): \"")?.1.split_once('"'))
        .map(|(path, _)| path.to_owned())
        .filter(|path| path.starts_with('/') && !path.contains("__private"))
        // Registries have a protocol of their own, and `packages_pushed` has its matrix.
        .filter(|path| path != "/v2" && !path.starts_with("/v2/"))
        .collect();
    assert!(paths.contains("/healthz"), "axum shows its routes in another way: {shown}");
    paths
}

/// Methods of a path: a method that nobody has is refused with those that it takes.
async fn methods(house: &House, path: &str) -> BTreeSet<String> {
    let refused = house.ask("BREW", &filled(path), None, None).await;
    assert_eq!(refused.status, 405, "{path} takes any method");
    let allowed = refused.headers["allow"].to_str().unwrap().to_owned();
    allowed.split(',').map(|method| method.trim().to_owned()).filter(|method| method != "HEAD").collect()
}

const RUNNER: &str = "01arz3ndektsv4rrffq69g5fa1";

fn filled(path: &str) -> String {
    let values = [
        ("{runner}", RUNNER),
        ("{attempt}", "01arz3ndektsv4rrffq69g5fax"),
        ("{run}", "01arz3ndektsv4rrffq69g5fav"),
        ("{token}", "01arz3ndektsv4rrffq69g5fa2"),
        ("{project}", "shop"),
        ("{secret}", "npm-token"),
        ("{name}", "events"),
        ("{step}", "build"),
        ("{key}", "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("{blob}", "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("{arrival}", "01arz3ndektsv4rrffq69g5fa3"),
        ("{forge}", "github"),
        ("{environment}", "production"),
        ("{release}", "1"),
        ("{order}", "1"),
        ("{tunnel}", "01arz3ndektsv4rrffq69g5fa4"),
    ];
    values.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value))
}

#[tokio::test]
async fn the_table_has_all_routes_and_no_other() {
    let house = House::new().await;
    let mut routes = BTreeSet::new();
    for path in paths(&house) {
        // What answers where there is nothing shows itself like that, and refuses methods of its own accord.
        if path == "/" && house.ask("BREW", "/", None, None).await.status == 404 {
            continue;
        }
        for method in methods(&house, &path).await {
            routes.insert(format!("{method} {path}"));
        }
    }
    let rows: BTreeSet<String> = CALLS.iter().map(|call| format!("{} {}", call.method, call.path)).collect();
    assert_eq!(rows.len(), CALLS.len(), "a call has two rows");
    let missing: Vec<_> = routes.difference(&rows).collect();
    let gone: Vec<_> = rows.difference(&routes).collect();
    assert!(missing.is_empty(), "these routes have no row in api/calls.rs: {missing:#?}");
    assert!(gone.is_empty(), "these rows of api/calls.rs have no route: {gone:#?}");
}

#[test]
fn every_shape_that_is_named_is_there() {
    for call in CALLS {
        for shape in call.takes.into_iter().chain(call.shape()) {
            assert!(
                shapes::examples(shape).is_some(),
                "api/shapes.rs has no {shape}, for {} {}",
                call.method,
                call.path
            );
        }
    }
}

#[test]
fn each_call_says_what_it_gives_and_what_its_address_takes() {
    for call in CALLS {
        let says_nothing = call.gives.1 == Gives::Nothing;
        assert_eq!(
            says_nothing,
            call.gives.0 == 204,
            "{} {} gives something, or 204",
            call.method,
            call.path
        );
        let names: BTreeSet<&str> = call.queries.iter().map(|query| query.name).collect();
        assert_eq!(names.len(), call.queries.len(), "{} {} says a query twice", call.method, call.path);
    }
}

#[tokio::test]
async fn what_an_address_says_and_the_table_does_not_is_refused_before_anything_is_done() {
    let house = furnished().await;
    for call in CALLS.iter().filter(|call| call.path.starts_with("/api/")) {
        let path = format!("{}?{}made-up=1", filled(call.path), needed(call));
        let refused = house.ask(call.method, &path, Some(&house.admin), None).await;
        let refused = refused.problem(400, "bad-query");
        assert!(refused["detail"].as_str().unwrap().contains("`made-up`"), "{refused}");
        for query in call.queries {
            assert!(refused["remedy"].as_str().unwrap().contains(&format!("{}=", query.name)), "{refused}");
        }
    }
}

/// What the address of a call can't do without.
fn needed(call: &Call) -> String {
    let value = |name| if name == "fence" { "1" } else { "0" };
    let all = call.queries.iter().filter(|query| query.required);
    all.map(|query| format!("{}={}&", query.name, value(query.name))).collect()
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Nobody,
    Stranger,
    Person(Role),
    /// An administrator, of another project.
    Elsewhere,
    /// An administrator, of this project only.
    OfTheProject,
    /// A releaser, of this environment only.
    OfTheEnvironment,
    Runner,
    /// The runner of a machine that pulls.
    Target,
    Attempt,
    Deployer,
}

const ASKERS: [Asker; 13] = [
    Asker::Nobody,
    Asker::Stranger,
    Asker::Elsewhere,
    Asker::OfTheProject,
    Asker::OfTheEnvironment,
    Asker::Runner,
    Asker::Target,
    Asker::Attempt,
    Asker::Deployer,
    Asker::Person(Role::Viewer),
    Asker::Person(Role::Developer),
    Asker::Person(Role::Releaser),
    Asker::Person(Role::Admin),
];

impl Asker {
    fn may(self, call: &Call) -> bool {
        match (call.gate, self) {
            (Gate::Everybody | Gate::Proof, _) => true,
            (Gate::SignedIn, asker) => !matches!(asker, Self::Nobody | Self::Stranger),
            (Gate::Person(permission) | Gate::PersonOrAttempt(permission), Self::Person(role)) => {
                role.may(permission)
            }
            (Gate::Person(permission) | Gate::PersonOrAttempt(permission), Self::OfTheProject) => {
                call.about != About::Server && Role::Admin.may(permission)
            }
            (Gate::Person(permission) | Gate::PersonOrAttempt(permission), Self::OfTheEnvironment) => {
                call.about == About::Environment && Role::Releaser.may(permission)
            }
            (Gate::Runner, Self::Runner) | (Gate::Target, Self::Target) => true,
            (Gate::Attempt | Gate::PersonOrAttempt(_), Self::Attempt) => true,
            (Gate::Deployer, Self::Deployer) => true,
            _ => false,
        }
    }

    async fn token(self, house: &House) -> Option<String> {
        let all = |role| vec![Grant { role, project: None, environment: None }];
        let shop = Some("shop".parse().unwrap());
        match self {
            Self::Nobody => None,
            Self::Stranger => Some("staith_person_guessed".to_owned()),
            Self::Person(role) => Some(house.token("somebody", all(role)).await),
            Self::Elsewhere => {
                let there = Grant {
                    role: Role::Admin,
                    project: Some("elsewhere".parse().unwrap()),
                    environment: None,
                };
                Some(house.token("elsewhere", vec![there]).await)
            }
            Self::OfTheProject => {
                let there = Grant { role: Role::Admin, project: shop, environment: None };
                Some(house.token("of-the-project", vec![there]).await)
            }
            Self::OfTheEnvironment => {
                let environment = Some("production".parse().unwrap());
                let there = Grant { role: Role::Releaser, project: shop, environment };
                Some(house.token("of-the-environment", vec![there]).await)
            }
            Self::Runner => Some("runner-token".to_owned()),
            Self::Target => Some("target-token".to_owned()),
            Self::Attempt => Some("attempt-token".to_owned()),
            Self::Deployer => Some(house.site.deployer.let_in().unwrap()),
        }
    }
}

/// A house with a project, a run, a runner whose attempt it is, and another runner that has a session.
async fn furnished() -> House {
    let house = House::new().await;
    let other = RunnerId::new(1, [7; 10]);
    for (id, key) in [(RUNNER, "k1"), (other.as_str(), "k2")] {
        house.sql(&format!(
            "INSERT INTO runners (id, name, public_key, pool, labels_json, ephemeral, version, state, enrolled, seen)
             VALUES ('{id}', 'host', '{key}', 'default', '[]', 0, '1', 'active', 1, 1)"
        ));
    }
    let target = RunnerId::new(2, [7; 10]);
    house.sql(&format!(
        "INSERT INTO runners (id, name, public_key, pool, labels_json, ephemeral, version, state, enrolled, seen, target)
         VALUES ('{target}', 'machine', 'k3', 'default', '[]', 0, '1', 'active', 1, 1, 'shop/production/another')"
    ));
    for (runner, token) in [(other, "runner-token"), (target, "target-token")] {
        let session = NewSession {
            runner,
            nonce: "n".to_owned(),
            digest: Digest::of(token.as_bytes()),
            expires: house.now() + 600_000,
            version: "1".to_owned(),
        };
        house.site.store.add_session(session, house.now()).await.unwrap();
    }
    house.an_attempt_of(RUNNER);
    let token = staith_server::store::NewToken {
        id: "01arz3ndektsv4rrffq69g5fa2".parse().unwrap(),
        digest: Digest::of(b"to be revoked"),
        name: "old".to_owned(),
        grants: Vec::new(),
        expires: 1,
    };
    house.site.store.add_token(token, Actor::server(), 1).await.unwrap();
    house
}

/// Calls that need more than there is here to succeed, and the tests in which they do. Those beside this one hold the answers against the
/// description as well; in those of the whole (`server_…`) the program reads them. Whoever adds a call says where its answer is seen.
const SUCCEED_ELSEWHERE: [(&str, &str); 45] = [
    ("POST /api/v1/projects", "triggers"),
    ("DELETE /api/v1/projects/{project}", "triggers"),
    ("GET /api/v1/projects/{project}/arrivals/{arrival}", "triggers"),
    ("POST /api/v1/projects/{project}/explain", "triggers"),
    ("POST /api/v1/projects/{project}/pushes", "triggers"),
    ("POST /hooks/{project}/{forge}", "triggers"),
    ("POST /api/v1/runners", "enrolment"),
    ("POST /api/v1/runners/{runner}/sessions", "enrolment"),
    ("PUT /api/v1/projects/{project}/secrets/{secret}", "secrets"),
    ("DELETE /api/v1/projects/{project}/secrets/{secret}", "secrets"),
    ("POST /api/v1/projects/{project}/secrets/{secret}/rotate", "secrets"),
    ("POST /api/v1/secrets/rotate", "secrets"),
    ("POST /api/v1/attempts/{attempt}/finish", "queue_routes"),
    ("GET /api/v1/attempts/{attempt}/source", "source_given"),
    ("POST /api/v1/attempts/{attempt}/source/contents", "source_given"),
    ("PUT /api/v1/attempts/{attempt}/steps/{step}", "steps_shared"),
    ("GET /api/v1/attempts/{attempt}/steps/{step}", "steps_shared"),
    ("GET /api/v1/attempts/{attempt}/known/{key}", "steps_shared"),
    ("GET /api/v1/attempts/{attempt}/layers/{blob}", "steps_shared"),
    ("POST /api/v1/runs/{run}/retry", "queue_routes"),
    ("POST /api/v1/projects/{project}/releases", "releases"),
    ("GET /api/v1/projects/{project}/releases/{release}", "releases"),
    ("GET /api/v1/projects/{project}/comparison", "releases"),
    ("GET /api/v1/projects/{project}/notes", "server_release"),
    ("GET /api/v1/projects/{project}/environments/{environment}/run-book", "server_release"),
    ("DELETE /api/v1/projects/{project}/environments/{environment}/protection", "releases"),
    ("POST /api/v1/projects/{project}/environments/{environment}/plans", "server_release"),
    ("POST /api/v1/projects/{project}/environments/{environment}/deployments", "releases"),
    ("POST /api/v1/projects/{project}/environments/{environment}/rollbacks", "releases"),
    ("POST /api/v1/projects/{project}/environments/{environment}/votes", "releases"),
    ("POST /api/v1/projects/{project}/environments/{environment}/overrides", "releases"),
    ("POST /api/v1/projects/{project}/environments/{environment}/swaps", "server_release"),
    ("POST /api/v1/projects/{project}/environments/{environment}/asks", "releases"),
    ("POST /api/v1/projects/{project}/environments/{environment}/lifts", "server_release"),
    ("POST /api/v1/projects/{project}/environments/{environment}/quarantines", "releases"),
    ("GET /api/v1/projects/{project}/orders/{order}", "releases"),
    ("POST /api/v1/deployer/orders/{order}", "releases"),
    ("PUT /api/v1/deployer/tunnels/{tunnel}", "targets"),
    ("PUT /api/v1/deployer/tunnels/{tunnel}/down", "targets"),
    ("GET /api/v1/deployer/tunnels/{tunnel}/up", "targets"),
    ("POST /api/v1/deployer/tunnels/{tunnel}/end", "server_pull"),
    ("POST /api/v1/target/tunnels", "targets"),
    ("GET /api/v1/target/tunnels/{tunnel}/down", "targets"),
    ("PUT /api/v1/target/tunnels/{tunnel}/up", "targets"),
    ("POST /api/v1/target/tunnels/{tunnel}/end", "server_pull"),
];

async fn wrong(house: &House, call: &Call, asker: Asker, succeeded: &mut BTreeSet<String>) -> Option<String> {
    let token = asker.token(house).await;
    let mut body = call.takes.map(|shape| shapes::examples(shape).unwrap().remove(0));
    // Going below the rollback floor is for administrators, whatever asks for it; `releases` has who may.
    // A code for a machine's runner is for administrators of its environment; `targets` has who may.
    let others: &[&str] = if call.takes == Some("EnrolmentAsked") {
        &["override_floor", "target"]
    } else {
        &["override_floor"]
    };
    for field in others {
        body.as_mut().and_then(serde_json::Value::as_object_mut).map(|fields| fields.remove(*field));
    }
    let path = format!("{}?{}", filled(call.path), needed(call));
    let answered = house.ask(call.method, &path, token.as_deref(), body.as_ref()).await;
    let (status, kind) = (answered.status, String::from_utf8_lossy(&answered.body).into_owned());
    if (200..300).contains(&status) {
        succeeded.insert(format!("{} {}", call.method, call.path));
    }
    let refused = status == 401 || status == 403;
    let right = match (asker.may(call), asker) {
        // What is proved is looked into by the call itself.
        (true, _) => call.gate == Gate::Proof || !refused,
        (false, Asker::Nobody | Asker::Stranger) => status == 401,
        // Some calls look whether the token is the attempt's, and not whose it is otherwise.
        (false, _) if call.gate == Gate::Attempt => refused,
        // What somebody may not see is not there for them.
        (false, Asker::Elsewhere | Asker::OfTheEnvironment) => status == 403 || status == 404,
        (false, _) => status == 403,
    };
    (!right).then(|| format!("{} {} by {asker:?}: {status} {kind}", call.method, call.path))
}

#[tokio::test]
async fn each_call_is_for_whom_the_table_says() {
    let (mut wrongs, mut succeeded) = (Vec::new(), BTreeSet::new());
    for call in CALLS {
        let house = furnished().await;
        for refused_first in [false, true] {
            for asker in ASKERS.into_iter().filter(|asker| asker.may(call) == refused_first) {
                wrongs.extend(wrong(&house, call, asker, &mut succeeded).await);
            }
        }
    }
    assert!(wrongs.is_empty(), "{wrongs:#?}");
    let all = CALLS.iter().map(|call| format!("{} {}", call.method, call.path));
    let others: Vec<String> = all.filter(|call| !succeeded.contains(call)).collect();
    let known = SUCCEED_ELSEWHERE.map(|(call, _)| call);
    assert_eq!(others, known, "what is described is held against answers where a call succeeds");
    for (call, test) in SUCCEED_ELSEWHERE {
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let of_the_whole = here.join("../../tests");
        let is_there = |room: &std::path::Path| room.join(format!("tests/{test}.rs")).is_file();
        assert!(is_there(here) || is_there(&of_the_whole), "{call}: there is no test {test}");
    }
}
