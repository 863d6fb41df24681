//! Lists come page by page: whoever follows `next` sees each thing once, whatever is added meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::collections::BTreeSet;

use house::House;
use serde_json::{Value, json};
use staith_model::{
    ArrivalId, Digest, Name, RunId, RunnerId,
    service::{Happening, Project, ProjectSettings},
};
use staith_server::{
    api::calls::CALLS,
    store::{Actor, NewArrival},
};

/// How many there are of each when listing begins.
const MANY: u64 = 25;

/// A list: its address, its name in the answers, and what its things are told apart by.
const LISTS: [(&str, &str, &[&str]); 7] = [
    ("/api/v1/projects", "projects", &["name"]),
    ("/api/v1/projects/shop/arrivals", "arrivals", &["id"]),
    ("/api/v1/runners", "runners", &["id"]),
    ("/api/v1/tokens", "tokens", &["id"]),
    ("/api/v1/projects/shop/secrets", "secrets", &["environment", "name"]),
    ("/api/v1/projects/shop/releases", "releases", &["number"]),
    ("/api/v1/audit", "entries", &["seq"]),
];

fn name(text: String) -> Name {
    text.parse().unwrap()
}

/// Adds one of each.
async fn add(house: &House, number: u64) {
    let (store, now) = (&house.site.store, house.now());
    let project = Project {
        name: if number == 0 { name("shop".into()) } else { name(format!("p-{number}")) },
        origin: "/srv/git/it.git".to_owned(),
        settings: ProjectSettings::default(),
        created: now,
    };
    store.add_project(project, Vec::new(), &Actor::server()).await.unwrap();
    let happening = Happening::Other { event: "star".to_owned() };
    let (id, project) = (ArrivalId::new(now, [0; 10]), name("shop".into()));
    let new = NewArrival { id, project, source: "github", delivery: number.to_string(), happening };
    store.arrive(vec![new], now).await.unwrap();
    house
        .token(
            &format!("person-{number}"),
            vec![staith_server::api::Grant {
                role: staith_server::api::Role::Viewer,
                project: None,
                environment: None,
            }],
        )
        .await;
    let (runner, run, plan) = (RunnerId::new(now, [0; 10]), RunId::new(now, [0; 10]), Digest::of(b"plan"));
    let environment = ["", "qa", "production"][usize::try_from(number % 3).unwrap()];
    house.sql(&format!(
        "INSERT INTO runners (id, name, public_key, pool, labels_json, ephemeral, version, state, enrolled, seen)
           VALUES ('{runner}', 'host', 'k{number}', 'default', '[]', 0, '1', 'active', 1, 1);
         INSERT INTO secrets (project, environment, name, protected, sealed, changed)
           VALUES ('shop', '{environment}', 'secret-{number}', 0, x'00', 1);
         INSERT INTO runs (id, project, number, asked_by, plan_digest, trust, admitted, state, created, ended)
           VALUES ('{run}', 'shop', {number}, 'server', '{plan}', 'branch', 1, 'passed', 1, 1);
         INSERT INTO releases (project, number, run, package, trust, material_json, state, asked_by, created)
           VALUES ('shop', {number}, '{run}', 'shop', 'branch', '{}', 'made', 'ann', 1)",
        material(number)
    ));
    house.pass(1);
}

fn key(thing: &Value, by: &[&str]) -> String {
    by.iter().map(|field| thing[field].to_string()).collect()
}

/// What a release is made of.
fn material(number: u64) -> String {
    let source = json!({ "commit": "0123", "branch": "main", "dirty": false });
    let digest = Digest::of(b"package");
    json!({
        "number": number, "package": "shop", "version": "1.0.0", "digest": digest, "source": source, "pipeline": "",
    })
    .to_string()
}

#[tokio::test]
async fn lists_are_answered_page_by_page_while_more_is_added() {
    let house = House::new().await;
    for number in 0..MANY {
        add(&house, number).await;
    }
    let mut added = MANY;
    for (address, list, by) in LISTS {
        let at = async |query: &str| {
            house.ask("GET", &format!("{address}?{query}"), Some(&house.admin), None).await.is(200)
        };
        let whole = at("limit=1000").await;
        let expected: Vec<String> = whole[list].as_array().unwrap().iter().map(|one| key(one, by)).collect();
        assert!(
            expected.len() >= usize::try_from(MANY).unwrap() && whole["next"].is_null(),
            "{address}: {whole}"
        );
        let (mut listed, mut after, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = at(&format!("limit=7{after}")).await;
            let things = page[list].as_array().unwrap();
            assert!(things.len() == 7 || page["next"].is_null(), "{address}: {page}");
            listed.extend(things.iter().map(|one| key(one, by)));
            add(&house, added).await;
            (added, pages) = (added + 1, pages + 1);
            assert!(pages < 100, "{address} never ends");
            match &page["next"] {
                Value::Null => break,
                Value::String(next) => after = format!("&after={next}"),
                next => after = format!("&after={next}"),
            }
        }
        // Where the new comes last it is in the list, once; elsewhere it is not.
        let once: BTreeSet<&String> = listed.iter().collect();
        assert_eq!(once.len(), listed.len(), "{address}");
        let there: Vec<String> = listed.into_iter().filter(|one| expected.contains(one)).collect();
        assert_eq!(there, expected, "{address}");
        house
            .ask("GET", &format!("{address}?limit=many"), Some(&house.admin), None)
            .await
            .problem(400, "bad-query");
    }
}

#[test]
fn all_calls_that_are_paged_are_looked_at() {
    let is_paged =
        |queries: &[staith_server::api::calls::Query]| queries.iter().any(|query| query.name == "limit");
    let paged: BTreeSet<String> = CALLS
        .iter()
        .filter(|call| is_paged(call.queries))
        .map(|call| call.path.replace("{project}", "shop"))
        .collect();
    // Runs have a test of their own: `store_queue`.
    let looked_at =
        LISTS.iter().map(|(address, _, _)| (*address).to_owned()).chain(["/api/v1/runs".to_owned()]);
    assert_eq!(paged, looked_at.collect());
}
