//! What steps came to: no order of writes lets less trusted code feed more trusted code, and nobody reads what is not theirs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "house/described.rs"]
mod described;
mod ground;

use std::collections::BTreeMap;

use axum::{body::Body, http::Request};
use ground::{Ground, attempt, run_id, token};
use proptest::prelude::*;
use serde_json::Value;
use staith_model::{
    Digest, Name, RunId, StepResults,
    service::{SentLayer, StepCame, StepGiven, Trust},
};
use staith_server::store::{StepCaps, StoreError};

const LEVELS: [Trust; 3] = [Trust::Fork, Trust::Branch, Trust::Protected];

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// One attempt for each level of trust, with these numbers.
fn with_all_levels() -> Ground {
    let ground = Ground::new();
    let sql = ground.sql();
    sql.execute(
        "INSERT INTO projects (name, origin, settings_json, created) VALUES ('shop', '/nowhere', '{}', 1)",
        [],
    )
    .unwrap();
    for (number, trust) in (11..).zip(LEVELS) {
        let run = RunId::new(1, [number; 10]);
        sql.execute(
            "INSERT INTO runs (id, project, number, asked_by, plan_digest, trust, admitted, state, created)
             VALUES (?1, 'shop', ?2, 'person:me', 'none', ?3, 1, 'running', 1)",
            rusqlite::params![run.as_str(), number, trust.as_str()],
        )
        .unwrap();
        sql.execute(
            "INSERT INTO jobs (run, name, spec_json, project, priority, pool, labels_json, needs_json, timeout_millis, state)
             VALUES (?1, 'run', '{}', 'shop', 0, 'default', '[]', '[]', 1, 'leased')",
            [run.as_str()],
        )
        .unwrap();
        ground::add_attempt(&sql, &run, number, u64::from(number));
    }
    ground
}

fn number(trust: Trust) -> u8 {
    11 + u8::try_from(LEVELS.iter().position(|level| *level == trust).unwrap()).unwrap()
}

fn came(mark: u64, layer: Option<SentLayer>) -> StepCame {
    StepCame { layer, results: StepResults::default(), millis: mark, run: run_id(), at: 1 }
}

fn given(trust: Trust, key: Option<Digest>, came: StepCame) -> StepGiven {
    StepGiven { fence: u64::from(number(trust)), key, came }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_lower_level_never_feeds_a_higher(
        writes in prop::collection::vec((0..3_usize, 0..3_u8), 1..20),
        forgets in prop::collection::vec(0..20_usize, 0..3),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let ground = with_all_levels();
            let store = &ground.site.store;
            // What each level said last under each key, by the mark of the write.
            let mut said: BTreeMap<(Trust, u8), u64> = BTreeMap::new();
            for (mark, (level, key)) in writes.iter().enumerate() {
                let (trust, mark) = (LEVELS[*level], mark as u64);
                let key_digest = Digest::of(&[*key]);
                let given = given(trust, Some(key_digest), came(mark, None));
                store.note_step(&attempt(number(trust)), &name("build"), given, mark).await.unwrap();
                said.insert((trust, *key), mark);
                if forgets.contains(&(mark as usize)) {
                    store.forget_steps(StepCaps { bytes: 0, records: 1_000 }).await.unwrap();
                }
                for (reader, key) in LEVELS.iter().flat_map(|reader| (0..3_u8).map(move |key| (*reader, key))) {
                    let found =
                        store.step_known(&attempt(number(reader)), &Digest::of(&[key]), mark).await.unwrap();
                    let best = LEVELS.iter().rev().filter(|maker| **maker >= reader)
                        .find_map(|maker| said.get(&(*maker, key)));
                    assert_eq!(found.map(|came| came.millis), best.copied(), "{reader:?} reads {key}");
                }
            }
        });
    }
}

async fn ask(ground: &Ground, number: u8, method: &str, path: &str, body: Vec<u8>) -> (u16, Value) {
    let address = format!("/api/v1/attempts/{}/{path}", attempt(number));
    let request = Request::builder().method(method).uri(&address);
    let request = request.header("authorization", format!("Bearer {}", token(number)));
    let (status, said) = ground::json(ground.ask(request.body(Body::from(body)).unwrap()).await).await;
    let bytes = if said.is_null() { Vec::new() } else { serde_json::to_vec(&said).unwrap() };
    assert_eq!(described::otherwise(method, &address, status.as_u16(), &bytes), None);
    (status.as_u16(), said)
}

fn sent(bytes: &[u8]) -> SentLayer {
    SentLayer { layer: Digest::of(b"layer"), blob: Digest::of(bytes), length: bytes.len() as u64 }
}

async fn tell(ground: &Ground, trust: Trust, step: &str, key: Option<Digest>, bytes: &[u8]) -> (u16, Value) {
    let given = given(trust, key, came(1, Some(sent(bytes))));
    ask(ground, number(trust), "PUT", &format!("steps/{step}"), serde_json::to_vec(&given).unwrap()).await
}

#[tokio::test]
async fn a_layer_is_taken_with_its_record_and_given_to_whom_the_record_is_for() {
    let ground = with_all_levels();
    let (bytes, key) = (b"what a step left".as_slice(), Digest::of(b"key"));
    let (branch, fork, protected) = (number(Trust::Branch), number(Trust::Fork), number(Trust::Protected));
    let (status, said) = tell(&ground, Trust::Branch, "build", Some(key), bytes).await;
    assert_eq!((status, &said["type"]), (409, &"no-such-layer".into()), "{said}");
    assert_eq!(ask(&ground, branch, "PUT", "layer?offset=0", bytes[..4].to_vec()).await.1["next"], 4);
    let (status, said) = ask(&ground, branch, "PUT", "layer?offset=9", bytes[9..].to_vec()).await;
    assert_eq!((status, &said["next"]), (409, &4.into()), "{said}");
    assert_eq!(tell(&ground, Trust::Branch, "build", Some(key), bytes).await.0, 409, "half of it is none");
    assert_eq!(ask(&ground, branch, "PUT", "layer?offset=4", bytes[4..].to_vec()).await.0, 200);
    assert_eq!(tell(&ground, Trust::Branch, "build", Some(key), bytes).await.0, 204);

    let known = format!("known/{key}");
    assert_eq!(ask(&ground, branch, "GET", &known, vec![]).await.1["layer"]["length"], bytes.len());
    assert_eq!(ask(&ground, fork, "GET", &known, vec![]).await.0, 200);
    assert_eq!(ask(&ground, protected, "GET", &known, vec![]).await.0, 404);
    let layer = format!("layers/{}", Digest::of(bytes));
    assert_eq!(ask(&ground, fork, "GET", &layer, vec![]).await.0, 200);
    assert_eq!(ask(&ground, protected, "GET", &layer, vec![]).await.0, 404);
    // Of another run; and what is noted for jobs of the run alone is for nobody else.
    assert_eq!(ask(&ground, fork, "GET", "steps/build", vec![]).await.0, 404);
    assert_eq!(ask(&ground, branch, "GET", "steps/build", vec![]).await.0, 200);
    // Who names what another has sent, and may not read it, has to send it.
    assert_eq!(tell(&ground, Trust::Protected, "build", Some(key), bytes).await.0, 409);
    // A guess at somebody else's attempt.
    let address = format!("/api/v1/attempts/{}/{known}", attempt(branch));
    assert_eq!(ground.get_as(&token(fork), &address, &[]).await.status(), 403);
}

#[tokio::test]
async fn a_layer_that_is_too_long_is_neither_taken_nor_believed() {
    let ground = with_all_levels();
    let branch = number(Trust::Branch);
    let beyond = format!("layer?offset={}", staith_model::service::LARGEST_LAYER);
    let (status, said) = ask(&ground, branch, "PUT", &beyond, b"x".to_vec()).await;
    assert_eq!((status, &said["type"]), (413, &"layer-too-large".into()), "{said}");
    let long = SentLayer { length: staith_model::service::LARGEST_LAYER + 1, ..sent(b"x") };
    let given = given(Trust::Branch, None, came(1, Some(long)));
    let body = serde_json::to_vec(&given).unwrap();
    let (status, said) = ask(&ground, branch, "PUT", "steps/build", body).await;
    assert_eq!((status, &said["type"]), (413, &"layer-too-large".into()), "{said}");
}

/// Room is made by what records say of lengths, and who takes a layer waits for so many bytes.
#[tokio::test]
async fn a_layer_is_believed_as_long_as_it_is_and_with_its_own_bytes_only() {
    let ground = with_all_levels();
    let (bytes, key) = (b"what a step left".as_slice(), Digest::of(b"key"));
    let (branch, length) = (number(Trust::Branch), bytes.len() as u64);
    let tells = async |length: u64| {
        let given = given(Trust::Branch, Some(key), came(1, Some(SentLayer { length, ..sent(bytes) })));
        ask(&ground, branch, "PUT", "steps/build", serde_json::to_vec(&given).unwrap()).await.0
    };
    for other in [0, length - 1, length + 1] {
        assert_eq!(ask(&ground, branch, "PUT", "layer?offset=0", bytes.to_vec()).await.0, 200);
        assert_eq!(tells(other).await, 409, "{other} bytes are said of what was sent");
    }
    let others = b"what nobody left".to_vec();
    assert_eq!(ask(&ground, branch, "PUT", "layer?offset=0", others).await.0, 200);
    assert_eq!(tells(length).await, 409, "as long, and other bytes");
    assert_eq!(ask(&ground, branch, "GET", &format!("known/{key}"), vec![]).await.0, 404);
    assert_eq!(ask(&ground, branch, "PUT", "layer?offset=0", bytes.to_vec()).await.0, 200);
    assert_eq!(tells(length).await, 204);
    for other in [0, length - 1, length + 1] {
        assert_eq!(tells(other).await, 409, "{other} bytes are said of what is kept");
    }
    let known = ask(&ground, branch, "GET", &format!("known/{key}"), vec![]).await.1;
    assert_eq!(known["layer"]["length"], length);
}

#[tokio::test]
async fn room_is_made_by_forgetting_what_was_longest_of_no_use_but_not_what_a_run_needs() {
    let mut ground = with_all_levels();
    ground.site.layers.caps = StepCaps { bytes: 100, records: 1_000 };
    ground
        .sql()
        .execute(
            "UPDATE runs SET ended = 2, state = 'passed' WHERE id = ?1",
            [RunId::new(1, [11; 10]).as_str()],
        )
        .unwrap();
    let place = |bytes: &[u8]| ground.site.layers.place(&name("shop"), &Digest::of(bytes));
    let (old, new) = ([1_u8; 60], [2_u8; 60]);
    for (step, bytes) in [("old", &old), ("new", &new)] {
        let number = number(Trust::Fork);
        assert_eq!(ask(&ground, number, "PUT", "layer?offset=0", bytes.to_vec()).await.0, 200);
        assert_eq!(tell(&ground, Trust::Fork, step, Some(Digest::of(bytes)), bytes).await.0, 204);
    }
    assert!(!place(&old).exists() && place(&new).exists());
    // What a run that is not over needs stays, whatever is over the bound.
    for bytes in [[3_u8; 60], [4; 60]] {
        let number = number(Trust::Branch);
        assert_eq!(ask(&ground, number, "PUT", "layer?offset=0", bytes.to_vec()).await.0, 200);
        assert_eq!(tell(&ground, Trust::Branch, &format!("s{}", bytes[0]), None, &bytes).await.0, 204);
    }
    assert!(place(&[3; 60]).exists() && place(&[4; 60]).exists() && !place(&new).exists());
    // A server that starts takes away what nobody names.
    let stray = place(b"stray");
    std::fs::write(&stray, b"stray").unwrap();
    staith_server::layers::tidy(&ground.site).await.unwrap();
    assert!(!stray.exists() && place(&[3; 60]).exists());
}

#[tokio::test]
async fn an_attempt_tells_only_of_its_own_steps_and_only_while_it_counts() {
    let ground = with_all_levels();
    let sql = ground.sql();
    sql.execute("UPDATE jobs SET spec_json = '{\"part\":{\"steps\":[\"build\"]}}'", []).unwrap();
    let (of, store) = (attempt(number(Trust::Branch)), &ground.site.store);
    let note = |step: &str, fence: u64| {
        let given = StepGiven { fence, ..given(Trust::Branch, None, came(1, None)) };
        let (of, step) = (of.clone(), name(step));
        async move { store.note_step(&of, &step, given, 1).await }
    };
    let fence = u64::from(number(Trust::Branch));
    note("build", fence).await.unwrap();
    assert!(matches!(note("check", fence).await, Err(StoreError::Conflict(_))));
    assert!(matches!(note("build", fence + 1).await, Err(StoreError::StaleFence { .. })));
    sql.execute("UPDATE attempts SET state = 'lost', ended = 2 WHERE id = ?1", [of.as_str()]).unwrap();
    assert!(matches!(note("build", fence).await, Err(StoreError::StaleFence { .. })));
}
