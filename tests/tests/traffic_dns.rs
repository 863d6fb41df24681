//! Addresses of a name are exchanged on a real BIND 9, as one compare-and-swap.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use staith_releaser::{
    fleet::balancer::{
        Balancer, Shift, Shifted,
        dns::{Dns, DnsMember, DnsSpec},
    },
    traffic::TrafficError,
};
use staith_tests::{
    balancing::{hold_to_the_contract, name, order},
    bind::{Bind, KEY, RECORD, dns, spec},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
};

fn to(members: &[&str]) -> Shift {
    let to = members.iter().map(|member| (name(member), 1)).collect();
    Shift { to, patience: Duration::from_millis(200), drain: Duration::ZERO }
}

async fn serve(dns: &Dns, members: &[&str]) -> Result<Shifted, TrafficError> {
    dns.serve(&order(1), &to(members)).await
}

async fn serving(dns: &Dns) -> BTreeSet<String> {
    dns.observe().await.unwrap().serving().into_iter().map(ToString::to_string).collect()
}

fn names(members: &[&str]) -> BTreeSet<String> {
    members.iter().map(ToString::to_string).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    staith_tests::pair::runtime(1)
}

#[test]
fn a_swap_is_one_message_and_a_second_one_changes_nothing() {
    let bind = Bind::start();
    let dns = bind.dns();
    runtime().block_on(async {
        assert_eq!(serving(&dns).await, names(&["blue"]));
        // What was served before lingers for as long as it said, not for as long as we say.
        assert_eq!(dns.lingers(), Duration::from_secs(300));
        for members in [&["green"][..], &["blue", "green", "six"], &["six"], &["blue"]] {
            assert_eq!(serve(&dns, members).await.unwrap(), Shifted::default(), "{members:?}");
            assert_eq!(serving(&dns).await, names(members));
            assert!(serve(&dns, members).await.unwrap().already);
        }
    });
}

#[test]
fn it_holds_to_the_contract() {
    let bind = Bind::start();
    runtime().block_on(hold_to_the_contract(&bind.dns(), "blue", "green"));
}

#[test]
fn what_must_not_be_is_refused_and_nothing_changes() {
    let bind = Bind::start();
    let good = bind.dns();
    runtime().block_on(async {
        for (members, expected) in [(&[][..], "no address"), (&["pink"], "address of pink")] {
            let error = serve(&good, members).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let wrong_key = dns(bind.address, RECORD, b"another key altogether, not theirs").unwrap();
        let error = serve(&wrong_key, &["green"]).await.unwrap_err().to_string();
        assert!(error.contains("look at the key's name and value"), "{error}");
        // A key that it does not know, and one that may not change the zone.
        let unknown = Dns::new(spec(bind.address, RECORD), "nobody", KEY).unwrap();
        let error = serve(&unknown, &["green"]).await.unwrap_err().to_string();
        assert!(error.contains("NOTAUTH (BADKEY)") && error.contains("it knows no key `nobody`"), "{error}");
        let reader = Dns::new(spec(bind.address, RECORD), "reader", KEY).unwrap();
        let error = serve(&reader, &["green"]).await.unwrap_err().to_string();
        assert!(error.contains("REFUSED") && error.contains("allow-update"), "{error}");
        let alias = dns(bind.address, "alias.staith.test", KEY).unwrap();
        let error = serve(&alias, &["green"]).await.unwrap_err().to_string();
        assert!(error.contains("CNAME"), "{error}");
        assert!(dns(bind.address, "app.elsewhere.test", KEY).is_err());
        assert_eq!(serving(&good).await, names(&["blue"]));
    });
}

#[test]
fn a_zone_of_others_and_a_member_that_is_down_are_told() {
    let bind = Bind::start();
    let of = |zone: &str, port| DnsSpec {
        server: bind.address.to_string(),
        zone: zone.into(),
        record: format!("app.{zone}"),
        ttl: 5,
        members: BTreeMap::from([(name("green"), DnsMember { address: "127.0.0.3".parse().unwrap(), port })]),
    };
    let closed = std::net::TcpListener::bind("127.0.0.3:0").unwrap().local_addr().unwrap().port();
    runtime().block_on(async {
        let elsewhere = Dns::new(of("elsewhere.test", None), "staith", KEY).unwrap();
        let error = serve(&elsewhere, &["green"]).await.unwrap_err().to_string();
        assert!(error.contains("elsewhere.test"), "{error}");
        let down = Dns::new(of("staith.test", Some(closed)), "staith", KEY).unwrap();
        let error = serve(&down, &["green"]).await.unwrap_err().to_string();
        assert!(error.contains("does not accept connections"), "{error}");
        assert_eq!(serving(&bind.dns()).await, names(&["blue"]));
    });
}

#[test]
fn records_that_somebody_else_changed_in_between_are_read_again() {
    let bind = Bind::start();
    runtime().block_on(async {
        let updates = Arc::new(AtomicU32::new(0));
        let between = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let through = dns(between.local_addr().unwrap(), RECORD, KEY).unwrap();
        let (server, count) = (bind.address, Arc::clone(&updates));
        let meddler = bind.dns();
        tokio::spawn(async move {
            loop {
                let (mut client, _) = between.accept().await.unwrap();
                let mut said = vec![0; usize::from(client.read_u16().await.unwrap())];
                client.read_exact(&mut said).await.unwrap();
                // The operation is in the third byte of a message; 5 is an update.
                if (said[2] >> 3) & 0xf == 5 && count.fetch_add(1, Ordering::SeqCst) == 0 {
                    serve(&meddler, &["blue", "green"]).await.unwrap();
                }
                let mut real = TcpStream::connect(server).await.unwrap();
                real.write_all(&u16::try_from(said.len()).unwrap().to_be_bytes()).await.unwrap();
                real.write_all(&said).await.unwrap();
                let mut answer = vec![0; usize::from(real.read_u16().await.unwrap())];
                real.read_exact(&mut answer).await.unwrap();
                client.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).await.unwrap();
                client.write_all(&answer).await.unwrap();
            }
        });
        assert_eq!(serve(&through, &["green"]).await.unwrap(), Shifted::default());
        assert_eq!(updates.load(Ordering::SeqCst), 2, "the first was refused by the server");
        assert_eq!(serving(&bind.dns()).await, names(&["green"]));
    });
}

#[test]
fn no_answer_and_half_an_answer_are_lost_contact() {
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dns = dns(listener.local_addr().unwrap(), RECORD, KEY).unwrap();
        let half = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut said = vec![0; usize::from(client.read_u16().await.unwrap())];
            client.read_exact(&mut said).await.unwrap();
            client.write_all(&[0, 100, said[0], said[1]]).await.unwrap();
        });
        let error = serve(&dns, &["green"]).await.unwrap_err();
        assert!(error.is_lost(), "{error}");
        half.await.unwrap();
        let error = serve(&dns, &["green"]).await.unwrap_err();
        assert!(error.is_lost(), "{error}");
    });
}

/// Whatever is lost on the way, over UDP or TCP, the records come to be what they should.
#[test]
fn over_udp_alone_over_tcp_alone_and_with_answers_that_are_lost_it_comes_to_the_same() {
    let bind = Bind::start();
    runtime().block_on(async {
        // TCP goes nowhere: all of it is done over UDP.
        let (place, udp) = udp_before(bind.address, |_| true).await;
        let through = dns(place, RECORD, KEY).unwrap();
        assert_eq!(serve(&through, &["green"]).await.unwrap(), Shifted::default());
        assert_eq!(serving(&bind.dns()).await, names(&["green"]));
        udp.abort();
        // The update is carried out, its answer is lost, and it is asked again over TCP: it is so already.
        let is_update = |said: &[u8]| (said[2] >> 3) & 0xf == 5;
        let (place, udp) = udp_before(bind.address, move |said| !is_update(said)).await;
        let tcp = tcp_before(bind.address, place).await;
        let through = dns(place, RECORD, KEY).unwrap();
        serve(&through, &["blue"]).await.unwrap();
        assert_eq!(serving(&bind.dns()).await, names(&["blue"]));
        udp.abort();
        tcp.abort();
    });
}

/// Hands messages over UDP on to a server, and the answers back that `back` wants.
async fn udp_before(
    server: std::net::SocketAddr,
    back: impl Fn(&[u8]) -> bool + Send + 'static,
) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let front = loop {
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if TcpListener::bind(front.local_addr().unwrap()).await.is_ok() {
            break front;
        }
    };
    let place = front.local_addr().unwrap();
    let passing = tokio::spawn(async move {
        let mut said = [0; 4096];
        loop {
            let (length, from) = front.recv_from(&mut said).await.unwrap();
            let behind = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            behind.send_to(&said[..length], server).await.unwrap();
            let mut answer = [0; 4096];
            let answered = behind.recv(&mut answer).await.unwrap();
            if back(&said[..length]) {
                front.send_to(&answer[..answered], from).await.unwrap();
            }
        }
    });
    (place, passing)
}

async fn tcp_before(server: std::net::SocketAddr, at: std::net::SocketAddr) -> tokio::task::JoinHandle<()> {
    let front = TcpListener::bind(at).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = front.accept().await.unwrap();
            let mut behind = TcpStream::connect(server).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut behind).await });
        }
    })
}
