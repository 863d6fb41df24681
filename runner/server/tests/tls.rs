//! The server by TLS: HTTP/2 and HTTP/1.1, certificates that clients must not take, and clients that never get as far as a question.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, io, net::SocketAddr, path::Path, process::Command, sync::Arc};

use axum::body::Body;
use hyper::{Request, StatusCode, Version, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use staith_server::{
    clock::Clock,
    serve::{self, Entrances, NoTls, ServeError},
    site::Site,
    store::Sqlite,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

type Certificate = rcgen::CertifiedKey<rcgen::KeyPair>;

/// A certificate for `localhost`, valid until the end of this year.
fn certificate(until: i32) -> Certificate {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 12, 31);
    let signing_key = rcgen::KeyPair::generate().unwrap();
    let cert = params.self_signed(&signing_key).unwrap();
    Certificate { cert, signing_key }
}

fn write(place: &Path, certificate: &Certificate) {
    fs::write(place.join("cert.pem"), certificate.cert.pem()).unwrap();
    fs::write(place.join("key.pem"), certificate.signing_key.serialize_pem()).unwrap();
}

/// A server with TLS, on a port of its own.
struct Served {
    place: tempfile::TempDir,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Served {
    async fn with(certificate: &Certificate) -> Self {
        let place = tempfile::tempdir().unwrap();
        write(place.path(), certificate);
        let tls = serve::read_tls(&place.path().join("cert.pem"), &place.path().join("key.pem")).unwrap();
        let store = Sqlite::open(&place.path().join("staith.db")).unwrap();
        let failed = store.failed();
        let site = Site::new(Arc::new(store), place.path().to_owned(), Clock::of_this_machine());
        let stop = site.stop.clone();
        let network = serve::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = network.local_addr().unwrap();
        let entrances = Entrances { network, tls: Some(tls), control: None };
        let serving = tokio::spawn(serve::serve(site, entrances, failed));
        Self { place, address, stop, serving }
    }

    /// A connection of somebody who trusts nothing but this certificate.
    async fn shake(&self, trusted: &Certificate, protocol: &[u8]) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    /// What curl says: the version of HTTP and the status, or why not.
    async fn curl(&self, words: &[&str]) -> String {
        let port = self.address.port();
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--noproxy", "*", "--output", "/dev/null"])
            .args(["--write-out", "%{http_version} %{http_code}"])
            .args(["--resolve", &format!("localhost:{port}:127.0.0.1"), "--cacert"])
            .arg(self.place.path().join("cert.pem"))
            .args(words)
            .arg(format!("https://localhost:{port}/healthz"));
        let asked =
            tokio::task::spawn_blocking(move || curl.output().expect("curl is needed: apt-get install curl"));
        let output = asked.await.unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    async fn ends(self) {
        self.stop.cancel();
        self.serving.await.unwrap().unwrap();
    }
}

fn question() -> Request<Body> {
    Request::get("https://localhost/healthz").body(Body::empty()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_is_answered_by_either_version_of_http() {
    let served = Served::with(&certificate(2999)).await;
    assert_eq!(served.curl(&["--http2"]).await, "2 200");
    assert_eq!(served.curl(&["--http1.1"]).await, "1.1 200");
    assert_eq!(served.curl(&["--http2", "--tls-max", "1.2"]).await, "2 200");
    let old = served.curl(&["--tls-max", "1.1"]).await;
    assert!(!old.contains("200"), "{old}");
    served.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_carries_many_questions_and_ends_in_order() {
    let trusted = certificate(2999);
    let served = Served::with(&trusted).await;
    let stream = served.shake(&trusted, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (asks, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    // More than may be under way at once: the rest wait for their turn.
    let questions: Vec<_> = (0..300)
        .map(|_| {
            let mut asks = asks.clone();
            tokio::spawn(async move {
                asks.ready().await.unwrap();
                asks.send_request(question()).await.unwrap()
            })
        })
        .collect();
    for question in questions {
        let answer = question.await.unwrap();
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
    }
    // Whoever stays connected holds up nobody: the server says that it goes, and goes.
    served.ends().await;
    connection.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_proves_nothing_is_taken_by_no_client() {
    let expired = certificate(2001);
    let served = Served::with(&expired).await;
    let refused = served.shake(&expired, b"h2").await.unwrap_err();
    assert!(refused.to_string().contains("expired"), "{refused}");
    let told = served.curl(&[]).await;
    assert!(told.contains("expired"), "{told}");
    let stranger = served.shake(&certificate(2999), b"h2").await.unwrap_err();
    assert!(stranger.to_string().contains("certificate"), "{stranger}");
    // Who refuses the certificate does the server no harm.
    assert_eq!(served.curl(&["--insecure"]).await, "2 200");
    served.ends().await;
}

#[test]
fn what_is_no_certificate_with_its_key_is_named() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &certificate(2999));
    let (cert, key) = (place.path().join("cert.pem"), place.path().join("key.pem"));
    let said = |certificate: &Path, key: &Path| match serve::read_tls(certificate, key) {
        Ok(_) => panic!("it was taken"),
        Err(bad) => (matches!(bad, NoTls::Unusable(_)), bad.to_string()),
    };
    let (is_unusable, _) = {
        let other = place.path().join("other.pem");
        fs::write(&other, certificate(2999).signing_key.serialize_pem()).unwrap();
        said(&cert, &other)
    };
    assert!(is_unusable, "another's key");
    for (certificate, key, named) in
        [(&place.path().join("absent"), &key, "absent"), (&key, &key, "key.pem"), (&cert, &cert, "cert.pem")]
    {
        let (is_unusable, told) = said(certificate, key);
        assert!(!is_unusable && told.contains(named), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shakes_hands_for_ever_holds_up_nobody() {
    let served = Served::with(&certificate(2999)).await;
    let mut slow = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        // Some say nothing, and some begin: the head of a record with a hello that never comes.
        if number % 2 == 0 {
            stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
        }
        slow.push(stream);
    }
    assert_eq!(served.curl(&[]).await, "2 200");
    // In clear text nothing is told.
    let mut plain = TcpStream::connect(served.address).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut told = Vec::new();
    let _ = plain.read_to_end(&mut told).await;
    assert!(!String::from_utf8_lossy(&told).contains("HTTP/"), "{told:?}");
    assert_eq!(served.curl(&["--http1.1"]).await, "1.1 200");
    served.ends().await;
    drop(slow);
}
