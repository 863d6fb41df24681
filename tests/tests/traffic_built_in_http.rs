//! HTTP as the built-in proxy speaks it to clients while traffic moves: HTTP/2 with and without TLS, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::{Pid, Signal, kill_process};
use staith_tests::{
    balancing::shift,
    load::{RELEASE, application::Application},
    station::StationNode,
    wait,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName},
    },
};

fn runtime() -> tokio::runtime::Runtime {
    staith_tests::pair::runtime(2)
}

/// A client of HTTP/2 that asks on one connection, several questions at once, until it is stopped.
struct Client {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Client {
    async fn start<S>(stream: S, scheme: &'static str) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let (stop, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let tasks = (0..4).map(|_| {
            let (mut sender, stop, asked) = (sender.clone(), Arc::clone(&stop), Arc::clone(&asked));
            tokio::spawn(async move {
                let mut releases: Vec<String> = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let request = Request::get(format!("{scheme}://shop.example/short"));
                    let answer =
                        sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
                    assert_eq!((answer.status().as_u16(), answer.version()), (200, hyper::Version::HTTP_2));
                    let release = answer.headers()[RELEASE].to_str().unwrap().to_owned();
                    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "/short");
                    if releases.last() != Some(&release) {
                        releases.push(release);
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                releases
            })
        });
        let tasks = tasks.collect();
        Self { stop, asked, tasks }
    }

    async fn goes_on(&self) {
        let far = self.asked.load(Ordering::Relaxed) + 50;
        while self.asked.load(Ordering::Relaxed) < far {
            assert!(self.tasks.iter().all(|task| !task.is_finished()), "a request failed");
            tokio::task::yield_now().await;
        }
    }

    /// The releases that each question was answered by, in order.
    async fn stop(self) -> Vec<Vec<String>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = vec![];
        for task in self.tasks {
            all.push(task.await.unwrap());
        }
        all
    }
}

#[test]
fn questions_on_one_connection_of_http2_are_all_answered_through_swaps() {
    let (blue, green) = (Application::start("r0"), Application::start("unused"));
    let node = StationNode::start(&[("blue", blue.address), ("green", green.address)]);
    let balancer = node.balancer();
    runtime().block_on(async {
        let client = Client::start(tokio::net::TcpStream::connect(node.front).await.unwrap(), "http").await;
        for swap in 1..=20 {
            client.goes_on().await;
            let (member, application) = if swap % 2 == 1 { ("green", &green) } else { ("blue", &blue) };
            application.becomes(&format!("r{swap}"));
            shift(&balancer, &[(member, 1)]).await.unwrap();
        }
        client.goes_on().await;
        let expected: Vec<String> = (0..=20).map(|swap| format!("r{swap}")).collect();
        for releases in client.stop().await {
            assert_eq!(releases, expected);
        }
    });
}

/// A certificate for `shop.example` as files, and itself.
fn certificate(node: &std::path::Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["shop.example".to_owned()]).unwrap();
    fs::write(node.join("shop.pem"), made.cert.pem()).unwrap();
    fs::write(node.join("shop.key"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

async fn connect(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("shop.example").unwrap(), stream).await
}

#[test]
fn http2_within_tls_is_agreed_on_and_a_new_certificate_cuts_nobody() {
    let place = tempfile::tempdir().unwrap();
    let first = certificate(place.path());
    let blue = Application::start("r0");
    let secure = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let here = place.path().display();
    let tls = format!(
        "tls = {{ listen = [\"{secure}\"], certificate = \"{here}/shop.pem\", key = \"{here}/shop.key\" }}"
    );
    let node = StationNode::start_with(&[("blue", blue.address)], &tls);
    runtime().block_on(async {
        let stream = connect(secure, &first).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let client = Client::start(stream, "https").await;
        client.goes_on().await;
        // Files that do not belong together change nothing.
        let second = certificate(place.path());
        let key = fs::read(place.path().join("shop.key")).unwrap();
        fs::write(place.path().join("shop.key"), "no key").unwrap();
        let pid = Pid::from_raw(i32::try_from(node.pid().unwrap()).unwrap()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
        client.goes_on().await;
        connect(secure, &first).await.unwrap();
        fs::write(place.path().join("shop.key"), key).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
        while connect(secure, &second).await.is_err() {
            tokio::task::yield_now().await;
        }
        client.goes_on().await;
        assert_eq!(client.stop().await, vec![vec!["r0".to_owned()]; 4]);
    });
}

/// What a client says, byte for byte, and all that it is answered.
fn raw(front: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(front).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn what_is_ambiguous_too_long_or_too_much_is_refused() {
    let blue = Application::start("r0");
    let limits = "limits = { header-bytes = 8192, idle = \"300ms\", answer = \"400ms\" }";
    let node = StationNode::start_with(&[("blue", blue.address)], limits);
    wait::until("it serves", || {
        raw(node.front, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .contains(" 200 ")
            .then_some(())
    });
    for (status, request) in [
        ("400", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        ("400", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!".to_owned()),
        ("501", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\nconnection: close\r\n\r\n0\r\n\r\n".to_owned()),
        ("501", "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\nconnection: close\r\n\r\n".to_owned()),
        ("431", format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(20_000))),
        ("504", "GET /long/2000 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_owned()),
    ] {
        let answer = raw(node.front, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {answer}");
    }
    // Who says nothing, or half of something, is not waited for.
    for beginning in ["", "P", "PRI * HT", "GET / HTTP/1.1\r\nhost:"] {
        let answer = raw(node.front, beginning);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{beginning:?}: {answer}");
    }
}
