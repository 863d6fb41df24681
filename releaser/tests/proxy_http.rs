//! HTTP/1.1 as the proxy speaks it, byte for byte where it matters.

mod support;

use std::time::Duration;

use hyper::Method;
use staith_releaser::proxy::Limits;
use support::{
    client::{Client, raw, read_until, request},
    proxied::{proxied, proxy},
    until,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

#[tokio::test(flavor = "multi_thread")]
async fn the_program_sees_who_asked_and_not_what_they_claim() {
    let (address, app) = proxied(Limits::default()).await;
    let mut client = Client::connect(address).await.unwrap();
    let mut asked = request(Method::GET, "/path?a=b", address, "");
    for (name, value) in [("x-forwarded-for", "10.1.1.1"), ("forwarded", "for=10.1.1.1"), ("te", "trailers")]
    {
        asked.headers_mut().insert(name, value.parse().unwrap());
    }
    client.send(asked).await.unwrap();
    let last = app.seen.last.lock().unwrap().clone();
    assert!(last.starts_with("GET /path?a=b "), "{last}");
    for expected in
        ["\"x-forwarded-for\": \"127.0.0.1\"", "\"x-forwarded-proto\": \"http\"", "\"via\": \"1.1 staith\""]
    {
        assert!(last.contains(expected), "{expected} in {last}");
    }
    assert_eq!(last.matches(&format!("\"{address}\"")).count(), 2, "host and x-forwarded-host in {last}");
    assert!(!last.contains("10.1.1.1") && !last.contains("\"te\""), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_have_none_and_keep_the_connection() {
    let (address, _app) = proxied(Limits::default()).await;
    let mut client = Client::connect(address).await.unwrap();
    for _ in 0..3 {
        let head = client.send(request(Method::HEAD, "/", address, "")).await.unwrap();
        assert_eq!((head.header("content-length"), head.body.len()), ("2", 0));
        let nothing = client.get("/nothing").await.unwrap();
        assert_eq!((nothing.status.as_u16(), nothing.header("content-length")), (204, ""));
        let unchanged = client.get("/unchanged").await.unwrap();
        assert_eq!((unchanged.status.as_u16(), unchanged.header("etag")), (304, "\"1\""));
        let hop = client.get("/hop").await.unwrap();
        assert_eq!((hop.text(), hop.header("x-hop"), hop.header("keep-alive")), ("hop", "", ""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_gets_an_answer_it_understands() {
    let (address, app) = proxied(Limits::default()).await;
    let answer = raw(address, "GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nr1"), "{answer}");
    assert!(app.seen.last.lock().unwrap().contains("\"via\": \"1.0 staith\""));
    // A body of unknown length ends with the connection, because an old client knows no chunks.
    let echo = "POST /echo HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello";
    let answer = raw(address, echo).await;
    assert!(answer.ends_with("\r\n\r\nhello") && !answer.to_lowercase().contains("chunked"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_arrive_whole_however_they_are_framed() {
    let (address, app) = proxied(Limits::default()).await;
    for method in ["POST", "PUT", "GET", "DELETE"] {
        let chunked = format!(
            "{method} /swallow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
             5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
        );
        let answer = raw(address, &chunked).await;
        assert!(answer.ends_with("\r\n\r\n11"), "{answer}");
        let known = format!(
            "{method} /swallow HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nConnection: close, content-length\r\n\r\nhello world"
        );
        let answer = raw(address, &known).await;
        assert!(answer.ends_with("\r\n\r\n11"), "{answer}");
    }
    assert_eq!(*app.seen.bodies.lock().unwrap(), [11; 8]);
    let echo = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    assert!(raw(address, echo).await.ends_with("\r\n\r\n2\r\nhi\r\n0\r\n\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_is_never_passed_on_as_a_whole_one() {
    let (address, app) = proxied(Limits::default()).await;
    for start in ["Content-Length: 11\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let before = app.seen.arrived.load(std::sync::atomic::Ordering::SeqCst);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("POST /swallow HTTP/1.1\r\nHost: a\r\n{start}").as_bytes()).await.unwrap();
        until("the program has its head", || async {
            app.seen.arrived.load(std::sync::atomic::Ordering::SeqCst) > before
        })
        .await;
        drop(stream);
    }
    let whole = "POST /swallow HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    raw(address, whole).await;
    assert_eq!(*app.seen.bodies.lock().unwrap(), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_expects_a_hundred_gets_it_before_the_body_is_sent() {
    let (address, _app) = proxied(Limits::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /swallow HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_until(&mut stream, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

/// Requests that two parsers could read in two ways are answered here, and never reach the program.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_ambiguous_is_passed_on() {
    let (address, app) = proxied(Limits::default()).await;
    for (status, head) in [
        ("400", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("400", "Content-Length: +5\r\n"),
        ("400", "Content-Length: 5, 6\r\n"),
        ("400", "Content-Length: -1\r\n"),
        ("400", "Content-Length : 5\r\n"),
        ("400", "Transfer-Encoding: gzip\r\n"),
        ("400", "Transfer-Encoding: chunked, identity\r\n"),
        ("501", "Transfer-Encoding: gzip, chunked\r\n"),
        ("501", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("400", "Host: b\r\n"),
        ("400", " folded: 1\r\n"),
        ("400", "X: a\0b\r\n"),
        ("400", "no colon\r\n"),
    ] {
        let answer =
            raw(address, &format!("POST / HTTP/1.1\r\nHost: a\r\n{head}Connection: close\r\n\r\n0\r\n\r\n"))
                .await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{head:?}: {answer}");
    }
    for (status, request) in [
        ("400", "GET / HTTP/1.1\r\n\r\n"),
        ("501", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n"),
        ("400", "nonsense\r\n\r\n"),
        ("400", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("400", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ] {
        let answer =
            raw(address, &(request.to_owned() + "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
                .await;
        assert!(
            answer.split_once(' ').is_some_and(|(_, rest)| rest.starts_with(status)),
            "{request:?}: {answer}"
        );
    }
    assert_eq!(*app.seen.bodies.lock().unwrap(), [0; 0]);
    assert!(!app.seen.last.lock().unwrap().starts_with("POST"), "{:?}", app.seen.last);
}

/// RFC 9112 allows a length beside chunks to be ignored if the connection is closed after the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_chunks_is_dropped_and_nothing_follows_it() {
    let (address, app) = proxied(Limits::default()).await;
    for head in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    ] {
        let smuggled = format!(
            "POST /swallow HTTP/1.1\r\nHost: a\r\n{head}\r\n1\r\nx\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let answer = raw(address, &smuggled).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        let last = app.seen.last.lock().unwrap().clone();
        assert!(last.starts_with("POST /swallow") && !last.contains("content-length"), "{last}");
    }
    assert_eq!(*app.seen.bodies.lock().unwrap(), [1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_large_headers_are_bounded() {
    let limits = Limits { header_time: Duration::from_millis(100), ..Limits::default() };
    let (address, app) = proxied(limits).await;
    // Never finished, so the answer is the end of the connection.
    assert_eq!(raw(address, "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await, "");
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Large: {}\r\n\r\n", "x".repeat(65 << 10));
    assert!(raw(address, &large).await.starts_with("HTTP/1.1 431"));
    let allowed = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Large: {}\r\n\r\n",
        "x".repeat(60 << 10)
    );
    assert!(raw(address, &allowed).await.starts_with("HTTP/1.1 200"));
    assert_eq!(app.seen.arrived.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_too_many_waits_for_one_to_leave() {
    let (address, _app) = proxied(Limits { connections: 2, ..Limits::default() }).await;
    let mut first = Client::connect(address).await.unwrap();
    let mut second = Client::connect(address).await.unwrap();
    first.get("/").await.unwrap();
    second.get("/").await.unwrap();
    let third = tokio::spawn(async move { support::client::get(address, "/").await });
    assert_eq!(second.get("/").await.unwrap().text(), "r1");
    assert!(!third.is_finished());
    drop(first);
    assert_eq!(third.await.unwrap().unwrap().text(), "r1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_refused_is_a_plain_answer() {
    let (address, _app) = proxied(Limits::default()).await;
    let ask = |path: &str, protocol: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: {protocol}\r\n\r\n")
    };
    let answer = raw(address, &ask("/", "websocket")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("r1"), "{answer}");
    // Nobody is asked to speak HTTP/2, so whoever agrees to it is not believed.
    let answer = raw(address, &ask("/upgrade", "h2c")).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_says_nonsense_is_a_bad_gateway() {
    let (address, routes) = proxy(Limits::default()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let program = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move { stream.write_all(b"SSH-2.0-nonsense\r\n\r\n").await });
        }
    });
    let upstream = staith_releaser::proxy::Upstream::new();
    upstream.point_at(Some(program));
    routes.switch(upstream);
    for method in ["GET", "POST"] {
        let answer =
            raw(address, &format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
        assert!(answer.contains("without an answer"), "{answer}");
    }
}
