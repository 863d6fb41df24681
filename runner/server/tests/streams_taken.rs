//! Streams as attempts send them: byte-identical whatever comes twice, late or in pieces; nothing of others; nothing acknowledged is lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ground;

use axum::http::StatusCode;
use ground::{FENCE, Ground, attempt, run_id, stream};
use proptest::{collection::vec, prelude::*};
use serde_json::json;
use staith_model::Digest;
use staith_server::streams::{Caps, Desk};

fn kind(answer: &(StatusCode, serde_json::Value)) -> (u16, &str) {
    (answer.0.as_u16(), answer.1["type"].as_str().unwrap_or(""))
}

#[tokio::test]
async fn bytes_are_appended_compared_and_refused_by_their_offset() {
    let ground = Ground::new();
    assert_eq!(ground.put("log.test", 0, b"hello ").await, (StatusCode::OK, json!({ "next": 6 })));
    assert_eq!(ground.put("log.test", 6, b"world").await.1["next"], 11);
    assert_eq!(ground.put("log.test", 3, b"lo world!").await.1["next"], 12, "what is known is compared");
    assert_eq!(ground.put("log.test", 12, b"").await.1["next"], 12, "nothing asks for the state");
    let gap = ground.put("log.test", 13, b"x").await;
    assert_eq!((kind(&gap), gap.1["next"].as_u64()), ((416, "wrong-offset"), Some(12)));
    let other = ground.put("log.test", 3, b"lo World and more").await;
    assert_eq!((kind(&other), other.1["next"].as_u64()), ((409, "divergent"), Some(12)));
    assert_eq!(ground.text_of("log.test").await, b"hello world!");
    let state = ground.get_as(&ground::token(1), &stream("log.test"), &[]).await;
    assert_eq!(ground::json(state).await.1, json!({ "next": 12 }), "the attempt is told how far it is");
    let listed = ground.get(&format!("/api/v1/runs/{}/streams", run_id()), &[]).await;
    let listed = ground::json(listed).await.1;
    assert_eq!(
        (&listed[0]["name"], &listed[0]["divergent"], &listed[0]["length"]),
        (&json!("log.test"), &json!(true), &json!(12))
    );
}

#[tokio::test]
async fn a_stream_is_closed_once_with_all_its_bytes() {
    let ground = Ground::new();
    ground.put("events", 0, b"{}\n").await;
    assert_eq!(kind(&ground.close("events", b"{}\n{}\n").await), (409, "incomplete"));
    assert_eq!(kind(&ground.close("events", b"[]\n").await), (409, "divergent"));
    let closed = json!({ "next": 3, "closed": Digest::of(b"{}\n") });
    assert_eq!(ground.close("events", b"{}\n").await, (StatusCode::OK, closed.clone()));
    assert_eq!(ground.close("events", b"{}\n").await.1, closed, "again changes nothing");
    assert_eq!(kind(&ground.close("events", b"{}").await), (409, "closed"));
    assert_eq!(ground.put("events", 0, b"{}\n").await.1, closed, "a piece that comes late is known");
    assert_eq!(kind(&ground.put("events", 3, b"{}\n").await), (409, "closed"));
    assert_eq!(ground.close("log.quiet", b"").await.1["next"], 0, "a step may write nothing");
}

#[tokio::test]
async fn only_the_attempt_itself_sends_and_only_while_it_counts() {
    let ground = Ground::new();
    assert_eq!(kind(&ground.put_as(1, FENCE + 1, "events", 0, b"x").await), (409, "stale-fence"));
    for name in ["log.", "log...%2f..%2fx", "other", "log.%2e%2e", "events%00"] {
        assert_eq!(kind(&ground.put(name, 0, b"x").await), (400, "bad-stream"), "{name}");
    }
    ground.put("events", 0, b"x").await;
    ground.add_attempt(2, FENCE + 1);
    assert_eq!(ground.put("events", 1, b"y").await.0, StatusCode::UNAUTHORIZED, "its token ended with it");
    // A request that was let in just before the attempt was given up.
    let (late, name) = (attempt(1), "events".parse().unwrap());
    let desk = &ground.site.streams;
    desk.put(&late, &name, FENCE, 1, b"y".to_vec(), 1).await.unwrap();
    assert!(desk.durable(&late, &name, FENCE, 2).await.unwrap_err().to_string().contains("stale"));
    assert_eq!(ground.text_of("events").await, b"x");
    let theirs = ground.put_as(2, FENCE + 1, "events", 0, b"anew").await;
    assert_eq!(theirs.1["next"], 4);
    assert_eq!(ground.text_of("events").await, b"x", "an attempt's streams are its own");
}

#[tokio::test]
async fn what_is_too_long_is_cut_and_said_to_be() {
    let mut ground = Ground::new();
    let caps = Caps { stream: 10, attempt: 15, streams: 3 };
    let bell = ground.site.bells.streams.clone();
    ground.site.streams = Desk::new(ground.site.store.clone(), ground.place.path(), bell, caps);
    let full = ground.put("log.a", 0, b"0123456789ab").await;
    assert_eq!((kind(&full), full.1["next"].as_u64()), ((413, "stream-full"), Some(10)));
    assert_eq!(kind(&ground.put("log.b", 0, b"012345").await), (413, "stream-full"), "of the attempt");
    assert_eq!(ground.put("log.b", 0, b"01234").await.1["next"], 5);
    assert_eq!(ground.close("log.a", b"0123456789ab").await.1["next"], 10, "it can be closed nevertheless");
    let response = ground.get(&stream("log.a"), &[]).await;
    assert_eq!(response.headers()["staith-stream-cut"], "true");
    assert_eq!(ground.text_of("log.a").await, b"0123456789");
    ground.put("log.c", 0, b"").await;
    assert_eq!(ground.close("log.c", b"").await.0, StatusCode::OK);
    assert_eq!(kind(&ground.put("log.d", 0, b"").await), (413, "too-many-streams"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_and_not_acknowledged_is_gone_after_a_restart() {
    let ground = Ground::new();
    ground.put("log.test", 0, b"acknowledged").await;
    let file = ground
        .place
        .path()
        .join("streams")
        .join(run_id().as_str())
        .join(attempt(1).as_str())
        .join("log.test");
    // As a crash leaves it: bytes that nobody synced, which a file system may also give back as zeros.
    let torn = [b"acknowledged".as_slice(), &[0; 100]].concat();
    std::fs::write(&file, torn).unwrap();
    let ground = tokio::task::spawn_blocking(|| ground.restarted()).await.unwrap();
    assert_eq!(ground.text_of("log.test").await, b"acknowledged");
    assert_eq!(ground.put("log.test", 12, b" and more").await.1["next"], 21);
    assert_eq!(ground.text_of("log.test").await, b"acknowledged and more");
    // Whoever takes acknowledged bytes away is found out.
    std::fs::write(&file, b"ack").unwrap();
    let ground = tokio::task::spawn_blocking(|| ground.restarted()).await.unwrap();
    assert_eq!(kind(&ground.put("log.test", 21, b"x").await), (503, "not-durable"));
}

#[derive(Debug, Clone)]
struct Sent {
    from: usize,
    length: usize,
}

fn sending(length: usize) -> impl Strategy<Value = Vec<Sent>> {
    let one = (0..=length, prop_oneof![Just(1_usize), 0..=length.max(1)]);
    vec(one.prop_map(|(from, length)| Sent { from, length }), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_twice_late_or_in_pieces_the_bytes_are_the_same(
        (bytes, sent) in vec(any::<u8>(), 0..2000).prop_flat_map(|bytes| {
            let length = bytes.len();
            (Just(bytes), sending(length))
        }),
        at_once in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let ground = Ground::new();
            let piece = |it: &Sent| &bytes[it.from..bytes.len().min(it.from + it.length)];
            let puts = sent.iter().map(|it| ground.put("log.test", it.from as u64, piece(it)));
            let answers = if at_once {
                futures_util::future::join_all(puts).await
            } else {
                let mut answers = Vec::new();
                for put in puts {
                    answers.push(put.await);
                }
                answers
            };
            let mut acknowledged = 0;
            for (answer, it) in answers.iter().zip(&sent) {
                assert!(matches!(kind(answer), (200, "") | (416, "wrong-offset")), "{answer:?}");
                if answer.0 == StatusCode::OK {
                    acknowledged = acknowledged.max(it.from + piece(it).len());
                }
            }
            let next = ground.put("log.test", 0, b"").await.1["next"].as_u64().unwrap() as usize;
            assert!(next >= acknowledged);
            ground.put("log.test", next as u64, &bytes[next..]).await;
            assert_eq!(ground.close("log.test", &bytes).await.0, StatusCode::OK);
            assert_eq!(ground.text_of("log.test").await, bytes);
        });
    }
}
