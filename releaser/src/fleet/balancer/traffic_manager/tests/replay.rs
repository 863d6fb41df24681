//! A server that has been told what it will be asked, and what to answer.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// One question and its answer.
pub(super) struct Exchange {
    /// Method and place: `GET /x?api-version=1`.
    pub(super) asked: String,
    /// What the body has to be; `None` where it is not looked at.
    pub(super) body: Option<Value>,
    pub(super) status: u16,
    /// Header lines, each with its end.
    pub(super) headers: &'static str,
    pub(super) answer: String,
}

/// A question as it came.
pub(super) struct Came {
    pub(super) head: String,
    pub(super) body: String,
}

pub(super) struct Replay {
    pub(super) address: SocketAddr,
    serving: JoinHandle<Vec<Came>>,
}

impl Replay {
    pub(super) async fn start(exchanges: Vec<Exchange>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let mut all = Vec::new();
            for exchange in exchanges {
                let (mut stream, _) = listener.accept().await.unwrap();
                let came = read(&mut stream).await;
                assert_eq!(came.head.lines().next().unwrap(), format!("{} HTTP/1.1", exchange.asked));
                if let Some(body) = &exchange.body {
                    assert_eq!(
                        &serde_json::from_str::<Value>(&came.body).unwrap(),
                        body,
                        "{}",
                        exchange.asked
                    );
                }
                let answer = format!(
                    "HTTP/1.1 {} Said\r\ncontent-type: application/json\r\nconnection: close\r\n{}content-length: {}\r\n\r\n{}",
                    exchange.status,
                    exchange.headers,
                    exchange.answer.len(),
                    exchange.answer
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
                all.push(came);
            }
            all
        });
        Self { address, serving }
    }

    /// All that was asked, when all of it was.
    pub(super) async fn ended(self) -> Vec<Came> {
        self.serving.await.unwrap()
    }
}

async fn read(stream: &mut TcpStream) -> Came {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Came { head: head.to_owned(), body: body.to_owned() };
            }
        }
        let length = stream.read(&mut piece).await.unwrap();
        assert!(length > 0, "it ended in the middle of a question: {text}");
        bytes.extend_from_slice(&piece[..length]);
    }
}
