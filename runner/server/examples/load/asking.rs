//! Questions by HTTP/1.1 on one connection, with as little work as possible: whoever asks shares the processors with the server.

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

/// A connection that is kept.
pub(crate) struct Connection(BufReader<TcpStream>);

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::with_capacity(16 << 10, stream))
    }

    pub(crate) async fn ask(&mut self, method: &str, path: &str, token: &str, body: &[u8]) -> Answer {
        self.send(method, path, token, "", body).await;
        let (status, length) = self.head().await;
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer).await.unwrap();
        Answer { status, body: answer }
    }

    async fn send(&mut self, method: &str, path: &str, token: &str, more: &str, body: &[u8]) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: server\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n{more}\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.0.write_all(head.as_bytes()).await.unwrap();
        self.0.write_all(body).await.unwrap();
    }

    /// The status, and how long the body is.
    async fn head(&mut self) -> (u16, usize) {
        let (mut status, mut length, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            assert!(self.0.read_line(&mut line).await.unwrap() > 0, "the server has hung up");
            let lower = line.trim_end().to_ascii_lowercase();
            if lower.is_empty() {
                return (status, length);
            }
            if let Some(said) = lower.strip_prefix("http/1.1 ") {
                status = said[..3].parse().unwrap();
            }
            if let Some(said) = lower.strip_prefix("content-length:") {
                length = said.trim().parse().unwrap();
            }
        }
    }

    /// Reads a stream as it comes until it ends, and counts the bytes of the answer.
    pub(crate) async fn follow(mut self, path: &str, token: &str, heard: &std::sync::atomic::AtomicU64) {
        self.send("GET", path, token, "Accept: text/event-stream\r\n", b"").await;
        let mut bytes = vec![0; 64 << 10];
        while let Ok(read @ 1..) = self.0.read(&mut bytes).await {
            heard.fetch_add(read as u64, std::sync::atomic::Ordering::Relaxed);
        }
    }
}
