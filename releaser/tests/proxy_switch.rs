//! Requests while the active release changes, with real sockets.

mod support;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use staith_releaser::proxy::{Limits, Routes, Upstream, serve};
use support::{
    app::App,
    client::{Answer, Client, get, read_until},
    load::{Habit, Load},
    proxied::{proxy, upstream},
    until,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

const CLIENTS: [(Habit, usize); 3] = [(Habit::Keep, 16), (Habit::OneShot, 4), (Habit::KeepWriting, 4)];

fn number(answer: &Answer) -> Option<usize> {
    answer.header("x-release").parse().ok().filter(|_| answer.status == 200)
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_switches_under_load_lose_nothing() {
    let (address, routes) = proxy(Limits::default()).await;
    let mut app = App::start(0).await;
    let mut active = upstream(&app).await;
    routes.switch(Arc::clone(&active));
    let load = Load::start(address, "/", &CLIENTS, number);
    for release in 1..=50 {
        load.let_through(100).await;
        let next_app = App::start(release).await;
        let next = upstream(&next_app).await;
        load.progress.begin();
        routes.switch(Arc::clone(&next));
        load.progress.returned();
        assert_eq!(active.drain(Duration::from_secs(60)).await, 0);
        // Whatever still ran on it would be lost now.
        app.kill();
        (app, active) = (next_app, next);
    }
    load.let_through(100).await;
    let tally = load.stop().await;
    assert_eq!(tally.failures, Vec::<String>::new());
    assert!(tally.answered >= 5000, "{}", tally.answered);
}

/// The order that the design forbids: the old program is ended first, and requests are sent elsewhere afterwards. If
/// this harness did not see that, it would see nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_harness_catches_stopping_before_switching() {
    let (address, routes) = proxy(Limits::default()).await;
    let app = App::start(0).await;
    let active = upstream(&app).await;
    routes.switch(Arc::clone(&active));
    let load = Load::start(address, "/gate", &[(Habit::KeepWriting, 8)], number);
    until("all requests are in flight", || async { active.in_flight() == 8 }).await;
    app.kill();
    active.point_at(None);
    until("requests were lost", || async { load.failed() == 8 }).await;
    let next_app = App::start(1).await;
    next_app.seen.gate.send_replace(true);
    load.progress.begin();
    routes.switch(upstream(&next_app).await);
    load.progress.returned();
    load.let_through(8).await;
    let tally = load.stop().await;
    assert_eq!(tally.failures.len(), 8, "{:?}", tally.failures);
    assert!(tally.failures.iter().all(|failure| failure.starts_with("502")), "{:?}", tally.failures);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_a_long_request_and_then_says_none() {
    let (address, routes) = proxy(Limits::default()).await;
    let (old_app, new_app) = (App::start("old").await, App::start("new").await);
    let old = upstream(&old_app).await;
    routes.switch(Arc::clone(&old));
    let long = tokio::spawn(async move { get(address, "/gate").await });
    until("the request is in flight", || async { old.in_flight() == 1 }).await;
    routes.switch(upstream(&new_app).await);
    assert_eq!(get(address, "/").await.unwrap().text(), "new");
    assert_eq!(old.drain(Duration::from_millis(1)).await, 1);
    old_app.seen.gate.send_replace(true);
    assert_eq!(old.drain(Duration::from_secs(60)).await, 0);
    assert_eq!(long.await.unwrap().unwrap().text(), "old");
}

/// An answer is in flight until its last byte, not until its first.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_still_being_read_is_in_flight() {
    let (address, routes) = proxy(Limits::default()).await;
    let (old_app, new_app) = (App::start("old").await, App::start("new").await);
    let old = upstream(&old_app).await;
    routes.switch(Arc::clone(&old));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_until(&mut stream, "xxx").await;
    routes.switch(upstream(&new_app).await);
    assert_eq!(old.drain(Duration::from_millis(1)).await, 1);
    drop(stream);
    assert_eq!(old.drain(Duration::from_secs(60)).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_connection_lives_through_a_switch_and_counts_as_in_flight() {
    let (address, routes) = proxy(Limits::default()).await;
    let (old_app, new_app) = (App::start("old").await, App::start("new").await);
    let old = upstream(&old_app).await;
    routes.switch(Arc::clone(&old));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let ask = "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nfirst ";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await.to_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("upgrade: shout"), "{head}");
    assert_eq!(read_until(&mut stream, " ").await, "FIRST ");
    routes.switch(upstream(&new_app).await);
    stream.write_all(b"second ").await.unwrap();
    assert_eq!(read_until(&mut stream, " ").await, "SECOND ");
    assert_eq!(old.drain(Duration::from_millis(1)).await, 1);
    drop(stream);
    assert_eq!(old.drain(Duration::from_secs(60)).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_held_until_the_program_is_back_on_another_port() {
    let (address, routes) = proxy(Limits::default()).await;
    let app = App::start(0).await;
    let active = upstream(&app).await;
    routes.switch(Arc::clone(&active));
    let mut kept = Client::connect(address).await.unwrap();
    assert_eq!(kept.get("/").await.unwrap().text(), "0");
    app.kill();
    active.point_at(None);
    let held: Vec<_> = (0..8).map(|_| tokio::spawn(async move { get(address, "/").await })).collect();
    let write = tokio::spawn(async move { kept.post("/swallow", "write").await });
    let again = App::start(0).await;
    active.point_at(Some(again.address));
    for request in held {
        assert_eq!(request.await.unwrap().unwrap().text(), "0");
    }
    assert_eq!(write.await.unwrap().unwrap().text(), "5");
    assert_eq!(*again.seen.bodies.lock().unwrap(), [5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_request_follows_a_switch() {
    let (address, routes) = proxy(Limits::default()).await;
    routes.switch(Upstream::new());
    let held = tokio::spawn(async move { get(address, "/").await });
    let app = App::start("new").await;
    routes.switch(upstream(&app).await);
    assert_eq!(held.await.unwrap().unwrap().text(), "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_ever_and_everybody_is_told_why() {
    let limits = Limits { hold: Duration::from_millis(50), first_hold: Duration::ZERO, ..Limits::default() };
    let (address, routes) = proxy(limits).await;
    let nothing = get(address, "/").await.unwrap();
    assert_eq!((nothing.status.as_u16(), nothing.header("retry-after")), (503, "1"));
    assert_eq!(nothing.text(), "Nothing is released here yet.\n");
    routes.switch(Upstream::new());
    let held = get(address, "/").await.unwrap();
    assert_eq!((held.status.as_u16(), held.header("retry-after")), (503, "1"));
    assert!(held.text().contains("does not accept connections"), "{}", held.text());
}

/// The program closes an idle connection just as it is used. Reads are sent again; writes never meet such a connection.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_ends_under_a_request_is_noticed_by_nobody() {
    let (address, routes) = proxy(Limits::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let program = listener.local_addr().unwrap();
    let requests = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        // Every connection answers one request as if it would take more, waits for the next, and then just ends.
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                for answers in [true, false] {
                    let mut line = String::new();
                    while !line.ends_with("\r\n\r\n") {
                        use tokio::io::AsyncReadExt as _;
                        let Ok(byte) = stream.read_u8().await else { return };
                        line.push(char::from(byte));
                    }
                    seen.lock()
                        .unwrap()
                        .push((line.split(' ').next().unwrap_or_default().to_owned(), answers));
                    if answers {
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                    }
                }
            });
        }
    });
    let upstream = Upstream::new();
    upstream.point_at(Some(program));
    upstream.accepting().await;
    routes.switch(upstream);
    let mut client = Client::connect(address).await.unwrap();
    for _ in 0..20 {
        assert_eq!(client.get("/").await.unwrap().text(), "ok");
        assert_eq!(client.post("/", "").await.unwrap().text(), "ok");
    }
    let requests = requests.lock().unwrap();
    let count = |method: &str, answered| {
        requests.iter().filter(|seen| **seen == (method.to_owned(), answered)).count()
    };
    assert_eq!((count("POST", true), count("POST", false)), (20, 0));
    assert_eq!(count("GET", true), 20);
    assert!(count("GET", false) > 0, "no idle connection was ever used, so nothing was tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_takes_its_request_with_it() {
    let (address, routes) = proxy(Limits::default()).await;
    let app = App::start(0).await;
    let active = upstream(&app).await;
    routes.switch(Arc::clone(&active));
    for method in ["GET", "POST"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{method} /gate HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        until("it is in flight", || async { active.in_flight() == 1 }).await;
        let before = app.seen.abandoned.load(Ordering::SeqCst);
        until("the program has it", || async { app.seen.last.lock().unwrap().starts_with(method) }).await;
        drop(stream);
        until("the program was told", || async { app.seen.abandoned.load(Ordering::SeqCst) == before + 1 })
            .await;
        until("it is not in flight", || async { active.in_flight() == 0 }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ending_proxy_finishes_what_it_has_begun_and_cuts_what_does_not_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Arc::new(Routes::new());
    let app = App::start(0).await;
    let active = upstream(&app).await;
    routes.switch(Arc::clone(&active));
    let stop = CancellationToken::new();
    let limits = Limits { ending: Duration::from_secs(60), ..Limits::default() };
    let proxy = tokio::spawn(serve(listener, routes, limits, stop.clone()));
    let mut idle = Client::connect(address).await.unwrap();
    idle.get("/").await.unwrap();
    let long = tokio::spawn(async move { get(address, "/gate").await });
    until("it is in flight", || async { active.in_flight() == 1 }).await;
    stop.cancel();
    until("no more are accepted", || async { TcpStream::connect(address).await.is_err() }).await;
    assert!(!proxy.is_finished());
    app.seen.gate.send_replace(true);
    assert_eq!(long.await.unwrap().unwrap().text(), "0");
    assert_eq!(proxy.await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ending_proxy_counts_upgraded_connections_among_those_it_cuts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Arc::new(Routes::new());
    let app = App::start(0).await;
    let active = upstream(&app).await;
    routes.switch(Arc::clone(&active));
    let stop = CancellationToken::new();
    let limits = Limits { ending: Duration::from_millis(50), ..Limits::default() };
    let proxy = tokio::spawn(serve(listener, routes, limits, stop.clone()));
    let mut upgraded = TcpStream::connect(address).await.unwrap();
    let ask = "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nhello ";
    upgraded.write_all(ask.as_bytes()).await.unwrap();
    read_until(&mut upgraded, "HELLO ").await;
    let unanswered = tokio::spawn(async move { get(address, "/gate").await });
    until("both are in flight", || async { active.in_flight() == 2 }).await;
    stop.cancel();
    assert_eq!(proxy.await.unwrap(), 2);
    assert!(unanswered.await.unwrap().is_err());
    assert_eq!(active.drain(Duration::from_secs(60)).await, 0);
}
