//! A registry on loopback, and a client that sends exactly what it is told to.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use serde_json::Value;
use staith_packager::registry::{Options, access::Access, router, shelf::Shelf};
use tokio::runtime::Runtime;

/// A registry that serves as long as it lives.
pub struct Served {
    pub address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Served {
    pub fn over(shelf: Arc<dyn Shelf>, access: impl Access, options: Options) -> Self {
        Self::of(router(shelf, Arc::new(access), options))
    }

    pub fn of(router: axum::Router) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { address, runtime: Some(runtime) }
    }

    /// Asks with a connection of its own.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.begin(method, path, headers, Some(body.len()));
        // A server that refuses early may close before all is sent.
        let _ = stream.write_all(body);
        Answer::read(stream, method == "HEAD")
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], &[])
    }

    /// Sends a request's head, with a length if one is said.
    pub fn begin(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        length: Option<usize>,
    ) -> TcpStream {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        if let Some(length) = length {
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        stream
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether all of the body came that was announced.
    pub is_whole: bool,
}

impl Answer {
    pub fn read(mut stream: TcpStream, is_head: bool) -> Self {
        let mut bytes = Vec::new();
        // A connection that is reset has said what it had to say.
        let _ = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers: Vec<_> = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        let body = bytes[end + 4..].to_vec();
        let said = headers.iter().find(|(name, _)| name == "content-length");
        let said = said.map_or(0, |(_, length)| length.parse().unwrap());
        Self { status, headers, is_whole: is_head || body.len() == said, body }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    #[track_caller]
    pub fn has(self, name: &str, value: &str) -> Self {
        assert_eq!(self.header(name), Some(value), "{name} of {:?}", self.headers);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }

    /// Checks that it is a refusal as the specification has it.
    #[track_caller]
    pub fn refuses(self, status: u16, code: &str) -> Self {
        let answer = self.is(status);
        let json = answer.json();
        assert_eq!(json["errors"][0]["code"], code, "{json}");
        assert!(json["errors"][0]["message"].is_string(), "{json}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        answer
    }

    #[track_caller]
    pub fn location(&self) -> String {
        self.header("location").expect("a location").to_owned()
    }
}
