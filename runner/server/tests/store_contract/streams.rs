//! Promises about the bytes that attempts send.

use staith_model::{
    AttemptId, Digest,
    service::{AttemptEnd, AttemptOutcome},
};
use staith_server::{
    store::{Actor, Closing, Finish, Finished, Given, Growth, Store, StoreError, StreamMark, StreamRow},
    streams::StreamName,
};

use crate::bench::{Bench, NOW, TREE, name};

fn stream(text: &str) -> StreamName {
    text.parse().unwrap()
}

fn growth(given: &Given, called: &str, length: u64) -> Growth {
    let (attempt, fence) = (given.live.attempt.clone(), given.live.fence);
    Growth { attempt, name: stream(called), fence, length }
}

fn closing(given: &Given, called: &str, bytes: &[u8]) -> Closing {
    Closing {
        attempt: given.live.attempt.clone(),
        name: stream(called),
        fence: given.live.fence,
        length: bytes.len() as u64,
        digest: Digest::of(bytes),
    }
}

async fn row(store: &dyn Store, given: &Given, called: &str) -> Option<StreamRow> {
    store.stream_place(&given.live.attempt, &stream(called)).await.unwrap().stream
}

async fn grow(store: &dyn Store, growth: Growth) -> Result<(), StoreError> {
    store.grow_streams(vec![growth]).await.unwrap().remove(0)
}

async fn lose(store: &dyn Store, given: &Given) {
    let why = "not heard of".to_owned();
    store.give_up(given.live.attempt.clone(), AttemptEnd::RunnerLost, why, NOW).await.unwrap();
}

fn is_stale<T: std::fmt::Debug>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::StaleFence { .. }))
}

fn conflicts<T: std::fmt::Debug>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Conflict(_)))
}

pub(crate) async fn a_length_only_grows_and_only_for_who_counts(bench: Bench) {
    bench.project("shop").await;
    let runner = bench.runner("host").await;
    let run = bench.run("shop", None, NOW).await;
    let one = bench.attempt(&runner, NOW).await;
    bench.run("shop", None, NOW).await;
    let other = bench.attempt(&runner, NOW).await;
    let store = bench.store();
    assert_eq!(row(store, &one, "events").await, None);
    for (length, kept) in [(10, 10), (7, 10), (10, 10), (25, 25)] {
        grow(store, growth(&one, "events", length)).await.unwrap();
        assert_eq!(row(store, &one, "events").await.unwrap().length, kept);
    }
    // Each of many has an answer of its own.
    let wrong = Growth { fence: one.live.fence + 1000, ..growth(&one, "events", 99) };
    let all = vec![growth(&one, "log.a", 5), wrong, growth(&other, "log.a", 6)];
    let answers = store.grow_streams(all).await.unwrap();
    assert!(answers[0].is_ok() && is_stale(&answers[1]) && answers[2].is_ok(), "{answers:?}");
    let bench = bench.reopened();
    let store = bench.store();
    let place = store.stream_place(&one.live.attempt, &stream("log.a")).await.unwrap();
    assert_eq!((place.run, place.project, place.fence), (run, name("shop"), one.live.fence));
    assert_eq!((place.live, place.streams, place.bytes), (true, 2, 30));
    assert_eq!(place.stream, Some(StreamRow { length: 5, ..StreamRow::default() }));
    lose(store, &one).await;
    assert!(is_stale(&grow(store, growth(&one, "events", 26)).await));
    assert!(!store.stream_place(&one.live.attempt, &stream("events")).await.unwrap().live);
    assert_eq!(row(store, &one, "events").await.unwrap().length, 25, "what was acknowledged stays");
    let unknown = store.stream_place(&AttemptId::new(0, [1; 10]), &stream("events")).await;
    assert!(matches!(unknown, Err(StoreError::Unknown { .. })), "{unknown:?}");
}

pub(crate) async fn a_stream_is_closed_once(bench: Bench) {
    bench.project("shop").await;
    let runner = bench.runner("host").await;
    bench.run("shop", None, NOW).await;
    let given = bench.attempt(&runner, NOW).await;
    let store = bench.store();
    grow(store, growth(&given, "events", 4)).await.unwrap();
    assert!(conflicts(&store.close_stream(closing(&given, "events", b"123")).await), "some are missing");
    assert!(conflicts(&store.close_stream(closing(&given, "events", b"12345")).await), "or too many");
    let wrong = Closing { fence: given.live.fence + 1000, ..closing(&given, "events", b"1234") };
    assert!(is_stale(&store.close_stream(wrong).await));
    let names = || ["events", "log.a"].map(str::to_owned).to_vec();
    assert_eq!(store.unclosed_streams(&given.live.attempt, names()).await.unwrap(), names());
    store.close_stream(closing(&given, "events", b"1234")).await.unwrap();
    assert_eq!(store.unclosed_streams(&given.live.attempt, names()).await.unwrap(), ["log.a"]);
    store.close_stream(closing(&given, "log.a", b"")).await.unwrap();
    let bench = bench.reopened();
    let store = bench.store();
    assert_eq!(row(store, &given, "events").await.unwrap().digest, Some(Digest::of(b"1234")));
    store.close_stream(closing(&given, "events", b"1234")).await.unwrap();
    assert!(conflicts(&store.close_stream(closing(&given, "events", b"4321")).await), "other bytes");
    grow(store, growth(&given, "events", 4)).await.unwrap();
    assert!(conflicts(&grow(store, growth(&given, "events", 5)).await), "nothing comes after the end");
    let finish = Finish {
        attempt: given.live.attempt.clone(),
        token: Digest::of(given.live.attempt.as_str().as_bytes()),
        fence: given.live.fence,
        outcome: AttemptOutcome::Passed,
        streams: names(),
        by: Actor::server(),
    };
    assert!(matches!(store.finish(finish, NOW).await.unwrap(), Finished::Taken(_)));
    store.close_stream(closing(&given, "events", b"1234")).await.unwrap();
    assert!(is_stale(&store.close_stream(closing(&given, "log.b", b"")).await), "it has ended");
}

pub(crate) async fn a_mark_is_put_once(bench: Bench) {
    bench.project("shop").await;
    let runner = bench.runner("host").await;
    bench.run("shop", None, NOW).await;
    let given = bench.attempt(&runner, NOW).await;
    let (store, attempt) = (bench.store(), &given.live.attempt);
    grow(store, growth(&given, "events", 4)).await.unwrap();
    for _ in 0..2 {
        store.mark_stream(attempt, &stream("events"), StreamMark::Cut, NOW).await.unwrap();
        store.mark_stream(attempt, &stream("log.new"), StreamMark::Divergent, NOW).await.unwrap();
    }
    let cut = StreamRow { length: 4, cut: true, ..StreamRow::default() };
    assert_eq!(row(store, &given, "events").await, Some(cut));
    let divergent = StreamRow { divergent: true, ..StreamRow::default() };
    assert_eq!(row(store, &given, "log.new").await, Some(divergent));
    let done = bench.done().await;
    let marks: Vec<&String> = done.iter().filter(|what| what.starts_with("stream-")).collect();
    assert_eq!(marks, ["stream-cut", "stream-divergent"]);
}

pub(crate) async fn streams_are_listed_in_their_order(bench: Bench) {
    bench.project("shop").await;
    let runner = bench.runner("host").await;
    let run = bench.run("shop", None, NOW).await;
    let first = bench.attempt(&runner, NOW).await;
    let store = bench.store();
    for called in ["log.b", "events", "log.a"] {
        grow(store, growth(&first, called, 1)).await.unwrap();
    }
    lose(store, &first).await;
    // The job is given away again.
    let second = bench.attempt(&runner, NOW + 60_000).await;
    grow(store, growth(&second, "events", 2)).await.unwrap();
    store.close_stream(closing(&second, "events", b"xy")).await.unwrap();
    let (project, listed) = store.streams_of(&run).await.unwrap();
    let seen: Vec<_> = listed
        .iter()
        .map(|one| (one.number, one.name.to_string(), one.live, one.row.length, one.row.digest.is_some()))
        .collect();
    let row = |number, called: &str, live, length, closed| (number, called.to_owned(), live, length, closed);
    assert_eq!(
        seen,
        [
            row(1, "events", false, 1, false),
            row(1, "log.a", false, 1, false),
            row(1, "log.b", false, 1, false),
            row(2, "events", true, 2, true),
        ]
    );
    assert_eq!(
        (project, &listed[3].attempt, &listed[3].job),
        (name("shop"), &second.live.attempt, &name("run"))
    );
    assert_eq!(store.source_of(&second.live.attempt).await.unwrap(), (name("shop"), TREE.to_owned()));
    let (no_run, no_attempt) = (staith_model::RunId::new(0, [1; 10]), AttemptId::new(0, [1; 10]));
    assert!(matches!(store.streams_of(&no_run).await, Err(StoreError::Unknown { .. })));
    assert!(matches!(store.source_of(&no_attempt).await, Err(StoreError::Unknown { .. })));
}

pub(crate) async fn what_runs_in_flight_build_is_known(bench: Bench) {
    bench.project("shop").await;
    bench.project("blog").await;
    let store = bench.store();
    assert_eq!(store.sources_in_use().await.unwrap(), []);
    let (one, two) = (bench.run("shop", None, NOW).await, bench.run("shop", None, NOW).await);
    let other = bench.run("blog", None, NOW).await;
    let sorted = async || {
        let mut all = store.sources_in_use().await.unwrap();
        all.sort();
        all
    };
    let (of_blog, of_shop) = ((name("blog"), TREE.to_owned()), (name("shop"), TREE.to_owned()));
    assert_eq!(sorted().await, [of_blog.clone(), of_shop.clone()]);
    let end = async |run: &staith_model::RunId| {
        store.cancel_run(run.clone(), Actor::server(), "no more".to_owned(), NOW).await.unwrap();
    };
    end(&one).await;
    assert_eq!(sorted().await, [of_blog.clone(), of_shop.clone()], "another run builds it as well");
    end(&two).await;
    assert_eq!(sorted().await, [of_blog]);
    end(&other).await;
    store.retry_run(two, Actor::server(), NOW).await.unwrap();
    assert_eq!(sorted().await, [of_shop], "tried again, it is needed again");
}
