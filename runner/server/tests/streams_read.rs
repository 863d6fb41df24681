//! Streams as people read them: whole, from any byte on, as they come, and without harm to anybody by who reads slowly.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ground;

use axum::{
    body::{Body, to_bytes},
    http::{Response, StatusCode},
};
use base64::Engine as _;
use futures_util::StreamExt as _;
use ground::{FENCE, Ground, PEOPLE, attempt, stream, token};
use proptest::{collection::vec, prelude::*};
use serde_json::Value;
use staith_model::Digest;

/// What a reader of server-sent events has of a stream.
#[derive(Default)]
struct Followed {
    bytes: Vec<u8>,
    last: u64,
    end: Option<Value>,
}

impl Followed {
    /// Reads events until `enough` says so or the stream ends.
    async fn read(&mut self, response: Response<Body>, enough: impl Fn(usize) -> bool) {
        assert_eq!(response.status(), StatusCode::OK);
        let (mut body, mut text, mut events) = (response.into_body().into_data_stream(), Vec::new(), 0);
        while !enough(events)
            && let Some(piece) = body.next().await
        {
            text.extend_from_slice(&piece.unwrap());
            while let Some(at) = text.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = text.drain(..at + 2).collect();
                events += 1;
                self.take(std::str::from_utf8(&event).unwrap());
            }
        }
    }

    fn take(&mut self, event: &str) {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let Some(data) = field("data:") else { return };
        let data: Value = serde_json::from_str(data).unwrap();
        match field("event:") {
            Some("bytes") => {
                let bytes = match data["text"].as_str() {
                    Some(text) => text.as_bytes().to_vec(),
                    None => base64::engine::general_purpose::STANDARD
                        .decode(data["base64"].as_str().unwrap())
                        .unwrap(),
                };
                self.bytes.extend(bytes);
                self.last = field("id:").unwrap().parse().unwrap();
                assert_eq!(self.last, self.bytes.len() as u64);
            }
            Some("end") => self.end = Some(data),
            other => panic!("{other:?}"),
        }
    }
}

async fn follow(ground: &Ground, name: &str, from: u64) -> Response<Body> {
    let last = from.to_string();
    ground.get(&stream(name), &[("accept", "text/event-stream"), ("last-event-id", &last)]).await
}

#[tokio::test]
async fn people_read_any_part_and_no_browser_takes_it_for_a_page() {
    let ground = Ground::new();
    ground.put("log.test", 0, b"<script>0123456789").await;
    let response = ground.get(&stream("log.test"), &[("range", "bytes=8-10")]).await;
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(response.headers()["content-range"], "bytes 8-10/18");
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert!(response.headers()["content-security-policy"].to_str().unwrap().contains("sandbox"));
    assert_eq!(to_bytes(response.into_body(), 99).await.unwrap(), "012");
    let response = ground.get(&format!("{}?offset=16", stream("log.test")), &[]).await;
    assert_eq!(to_bytes(response.into_body(), 99).await.unwrap(), "89");
    for (address, headers) in [
        (format!("{}?offset=19", stream("log.test")), vec![]),
        (stream("log.test"), vec![("range", "bytes=18-")]),
        (stream("log.test"), vec![("accept", "text/event-stream"), ("last-event-id", "19")]),
    ] {
        let (status, problem) = ground::json(ground.get(&address, &headers).await).await;
        assert_eq!((status.as_u16(), &problem["next"]), (416, &18.into()), "{address}");
    }
    let response = ground.get(&stream("events"), &[]).await;
    assert_eq!(response.headers()["content-type"], "application/jsonl");
    assert_eq!(to_bytes(response.into_body(), 99).await.unwrap(), "", "it has not begun");
}

#[tokio::test]
async fn only_who_may_see_the_project_reads() {
    let ground = Ground::new();
    ground.put("events", 0, b"x").await;
    let grants = r#"[{"role":"admin","project":"blog"}]"#;
    let hash = Digest::of(b"admin-of-the-blog").to_string();
    ground
        .sql()
        .execute(
            "INSERT INTO tokens (id, hash, name, grants_json, created, expires) VALUES ('b', ?1, 'b', ?2, 1, ?3)",
            rusqlite::params![hash, grants, i64::MAX],
        )
        .unwrap();
    ground.add_attempt(2, FENCE + 1);
    let addresses = [stream("events"), format!("/api/v1/runs/{}/streams", ground::run_id())];
    for address in addresses {
        for (who, expected) in [
            (PEOPLE, 200),
            ("admin-of-the-blog", 403),
            ("nobody-knows-this", 401),
            (&token(1), 401),
            (&token(2), 403),
        ] {
            let response = ground.get_as(who, &address, &[]).await;
            assert_eq!(response.status().as_u16(), expected, "{who} {address}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_follows_to_the_end_and_is_told_what_it_was() {
    let ground = Ground::new();
    let reading = follow(&ground, "log.test", 0).await;
    let reader = tokio::spawn(async move {
        let mut followed = Followed::default();
        followed.read(reading, |_| false).await;
        followed
    });
    ground.put("log.test", 0, "zwölf ".as_bytes()).await;
    ground.put("log.test", 7, b"\xff\xfe\n").await;
    ground.close("log.test", b"zw\xc3\xb6lf \xff\xfe\n").await;
    let followed = reader.await.unwrap();
    assert_eq!(followed.bytes, b"zw\xc3\xb6lf \xff\xfe\n");
    let end = followed.end.unwrap();
    assert_eq!((&end["length"], &end["cut"]), (&10.into(), &false.into()));
    assert_eq!(end["digest"].as_str().unwrap(), Digest::of(&followed.bytes).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_an_attempt_that_was_lost_ends_too() {
    let ground = Ground::new();
    ground.put("log.test", 0, b"half").await;
    let reading = follow(&ground, "log.test", 0).await;
    let reader = tokio::spawn(async move {
        let mut followed = Followed::default();
        followed.read(reading, |_| false).await;
        followed
    });
    ground.add_attempt(2, FENCE + 1);
    ground.site.bells.jobs.ring();
    let followed = reader.await.unwrap();
    let end = followed.end.unwrap();
    assert_eq!((followed.bytes.as_slice(), &end["digest"]), (b"half".as_slice(), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_readers_that_stand_still_cost_a_piece_each_and_nobody_waits_for_them() {
    const READERS: u64 = 500;
    const PIECE: u64 = 64 << 10;
    let ground = Ground::new();
    ground.put("log.test", 0, &vec![b'x'; 300 << 10]).await;
    let mut standing = Vec::new();
    for _ in 0..READERS {
        let mut body = follow(&ground, "log.test", 0).await.into_body().into_data_stream();
        assert!(body.next().await.unwrap().is_ok());
        standing.push(body);
    }
    assert_eq!(ground.site.streams.given(), READERS * PIECE, "one piece for each");
    let mut offset = 300 << 10;
    for _ in 0..40 {
        let (status, state) = ground.put("log.test", offset, &vec![b'y'; 256 << 10]).await;
        assert_eq!(status, StatusCode::OK);
        offset = state["next"].as_u64().unwrap();
    }
    assert_eq!(ground.site.streams.given(), READERS * PIECE, "what nobody asks for is not read");
    let mut followed = Followed::default();
    assert_eq!(ground.close("log.test", &ground.text_of("log.test").await).await.0, StatusCode::OK);
    followed.read(follow(&ground, "log.test", 0).await, |_| false).await;
    assert_eq!(followed.bytes.len() as u64, offset);
    // One that wakes up reads on where it was.
    assert!(standing[0].next().await.unwrap().is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_reader_that_comes_and_goes_gets_the_same_bytes(
        bytes in vec(prop_oneof![any::<u8>(), Just(0xc3), Just(0xb6), Just(b'a')], 1..3000),
        pieces in vec(1_usize..400, 1..12),
        leaves in vec(1_usize..4, 0..12),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let ground = std::sync::Arc::new(Ground::new());
            let (writer, content) = (ground.clone(), bytes.clone());
            let writing = tokio::spawn(async move {
                let mut at = 0;
                for piece in pieces.iter().cycle() {
                    let end = content.len().min(at + piece);
                    writer.put("log.test", at as u64, &content[at..end]).await;
                    at = end;
                    if at == content.len() {
                        break;
                    }
                }
                writer.close("log.test", &content).await
            });
            let mut followed = Followed::default();
            for leave in leaves {
                let from = followed.last;
                followed.read(follow(&ground, "log.test", from).await, |events| events >= leave).await;
                if followed.end.is_some() {
                    break;
                }
            }
            if followed.end.is_none() {
                let from = followed.last;
                followed.read(follow(&ground, "log.test", from).await, |_| false).await;
            }
            assert_eq!(writing.await.unwrap().0, StatusCode::OK);
            assert_eq!(followed.bytes, bytes);
            assert_eq!(followed.end.unwrap()["digest"].as_str().unwrap(), Digest::of(&bytes).to_string());
        });
    }
}

#[tokio::test]
async fn the_readers_offset_is_a_number() {
    let ground = Ground::new();
    let response =
        ground.get(&stream("events"), &[("accept", "text/event-stream"), ("last-event-id", "-1")]).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let other = format!("/api/v1/attempts/{}/streams/events", attempt(9));
    assert_eq!(ground.get(&other, &[]).await.status(), StatusCode::NOT_FOUND);
}
