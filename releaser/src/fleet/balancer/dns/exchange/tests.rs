use std::{collections::BTreeMap, sync::Arc};

use hickory_proto::{
    op::{OpCode, ResponseCode},
    rr::{Name, RecordType, rdata::tsig::TsigAlgorithm},
};
use tokio::net::TcpListener;

use super::*;
use crate::fleet::balancer::{
    Balancer as _,
    dns::{Dns, DnsSpec, message},
};

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

fn server(address: SocketAddr) -> Server {
    let name = Name::from_ascii("staith.").unwrap();
    Server::new(address.to_string(), TSigner::new(KEY.into(), TsigAlgorithm::HmacSha256, name, 300).unwrap())
}

fn question() -> Message {
    message::question(&Name::from_ascii("app.example.").unwrap(), RecordType::A)
}

/// Both sockets on one port.
async fn sockets() -> (SocketAddr, UdpSocket, TcpListener) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        if let Ok(udp) = UdpSocket::bind(address).await {
            return (address, udp, tcp);
        }
    }
}

/// An answer without a signature and without anything in it.
fn bare(asked: &[u8], code: u8, truncated: bool) -> Vec<u8> {
    let flags = 0x80 | (asked[2] & 0x78) | if truncated { 2 } else { 0 };
    [asked[0], asked[1], flags, code, 0, 0, 0, 0, 0, 0, 0, 0].into()
}

/// Answers once over TCP.
async fn answers_over_tcp(tcp: TcpListener, code: u8) -> Vec<u8> {
    let (mut stream, _) = tcp.accept().await.unwrap();
    let mut asked = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut asked).await.unwrap();
    let answer = bare(&asked, code, false);
    stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).await.unwrap();
    stream.write_all(&answer).await.unwrap();
    asked
}

#[tokio::test]
async fn what_is_truncated_or_not_signed_over_udp_is_asked_again_over_tcp() {
    for (code, truncated) in [(0, true), (0, false), (5, false), (9, false)] {
        let (address, udp, tcp) = sockets().await;
        let over_udp = tokio::spawn(async move {
            let mut asked = [0; 4096];
            let (length, from) = udp.recv_from(&mut asked).await.unwrap();
            udp.send_to(&bare(&asked[..length], code, truncated), from).await.unwrap();
            asked[..length].to_vec()
        });
        let over_tcp = tokio::spawn(answers_over_tcp(tcp, 2));
        let answer = server(address).ask(question(), "test").await.unwrap();
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
        let (first, second) = (over_udp.await.unwrap(), over_tcp.await.unwrap());
        assert_eq!(first[..2], second[..2], "it is the same question");
    }
}

#[tokio::test]
async fn a_server_that_is_deaf_over_udp_is_asked_over_tcp_from_then_on() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = server(tcp.local_addr().unwrap());
    let over_tcp = tokio::spawn(answers_over_tcp(tcp, 5));
    let answer = server.ask(question(), "test").await.unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    over_tcp.await.unwrap();
    assert!(server.deaf.load(Ordering::Relaxed));
}

/// Time passes only when nobody has anything to do: both waits end at once.
#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_lost_contact() {
    let (address, _udp, tcp) = sockets().await;
    let silent = tokio::spawn(async move {
        let (stream, _) = tcp.accept().await.unwrap();
        std::future::pending::<()>().await;
        drop(stream);
    });
    let error = server(address).ask(question(), "test").await.unwrap_err();
    assert!(error.is_lost() && error.to_string().contains("no answer within 10 s"), "{error}");
    silent.abort();
}

#[tokio::test]
async fn an_answer_to_another_question_is_none() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = server(tcp.local_addr().unwrap());
    let other = tokio::spawn(async move {
        let (mut stream, _) = tcp.accept().await.unwrap();
        let mut asked = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut asked).await.unwrap();
        asked[0] ^= 1;
        let answer = bare(&asked, 0, false);
        stream.write_all(&[&[0, 12], &answer[..]].concat()).await.unwrap();
    });
    let error = server.ask(question(), "test").await.unwrap_err().to_string();
    assert!(error.contains("another question"), "{error}");
    other.await.unwrap();
}

/// Each refusal says what to do about it.
#[tokio::test]
async fn refusals_say_what_to_do() {
    for (code, word, remedy) in [
        (2, "SERVFAIL", "see its log"),
        (5, "REFUSED", "allow-update"),
        (9, "NOTAUTH", "the zone's primary server"),
        (4, "NOTIMP", "takes no dynamic updates"),
        (10, "NOTZONE", "compare `zone` and `record`"),
    ] {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let spec = DnsSpec {
            server: tcp.local_addr().unwrap().to_string(),
            zone: "example".into(),
            record: "app.example".into(),
            ttl: 5,
            members: BTreeMap::new(),
        };
        let dns = Dns::new(spec, "staith", KEY).unwrap();
        let over_tcp = tokio::spawn(answers_over_tcp(tcp, code));
        let error = dns.observe().await.unwrap_err();
        assert!(!error.is_lost(), "{error}");
        let error = error.to_string();
        assert!(error.contains(word) && error.contains(remedy), "{error}");
        over_tcp.await.unwrap();
    }
}

#[tokio::test]
async fn keys_come_in_base64_and_a_bad_one_is_not_told() {
    let spec = || DnsSpec {
        server: "127.0.0.1:1".into(),
        zone: "example".into(),
        record: "app.example".into(),
        ttl: 5,
        members: BTreeMap::new(),
    };
    assert!(Dns::with_base64_key(spec(), "k", " MDEyMzQ1Njc4OWFiY2RlZg==\n").is_ok());
    for bad in ["", "no base64!", "\"\""] {
        let error = Dns::with_base64_key(spec(), "k", bad).err().unwrap().to_string();
        assert!(
            error.contains("no base64") && (bad.is_empty() || bad == "\"\"" || !error.contains(bad)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_update_is_signed_anew_for_each_way_and_stays_the_same_update() {
    let name = Name::from_ascii("app.example.").unwrap();
    let zone = Name::from_ascii("example.").unwrap();
    let update = message::swap(&zone, &name, &[].into(), &["10.0.0.1".parse().unwrap()].into(), 5);
    let signer = Arc::new(server("127.0.0.1:1".parse().unwrap()));
    let (one, two) =
        (Signed::new(update.clone(), &signer.signer).unwrap(), Signed::new(update, &signer.signer).unwrap());
    assert_eq!(one.id, two.id);
    assert_eq!(Message::from_vec(&one.bytes).unwrap().metadata.op_code, OpCode::Update);
    // What is not signed at all, and what is signed as a question, is no answer.
    assert!(one.verified(&bare(&one.bytes, 0, false)).is_err());
    assert!(one.verified(&two.bytes).is_err());
}
