//! A plain HTTP client that hides nothing: one connection, one request after the other, every failure told apart.

use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A connection that is kept between requests.
pub struct Client {
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| format!("refused: {error}"))?;
        stream.set_nodelay(true).unwrap();
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection.with_upgrades());
        Ok(Self { address, sender })
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        self.sender.ready().await.map_err(|error| format!("kept connection is gone: {error}"))?;
        let response =
            self.sender.send_request(request).await.map_err(|error| format!("no answer: {error}"))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| format!("half an answer: {error}"))?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer, String> {
        self.send(request(Method::GET, path, self.address, "")).await
    }

    pub async fn post(&mut self, path: &str, body: &'static str) -> Result<Answer, String> {
        self.send(request(Method::POST, path, self.address, body)).await
    }
}

pub fn request(method: Method, path: &str, host: SocketAddr, body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path).header("host", host.to_string());
    request.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()
}

/// One request on a connection of its own.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer, String> {
    Client::connect(address).await?.get(path).await
}

/// Bytes as they are, and all that comes back until the connection ends.
pub async fn raw(address: SocketAddr, sent: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut back = Vec::new();
    // A connection that is reset after its answer has still said something.
    let _ = stream.read_to_end(&mut back).await;
    String::from_utf8_lossy(&back).into_owned()
}

/// Reads until what came ends with `end`.
pub async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut back = Vec::new();
    while !back.ends_with(end.as_bytes()) {
        let byte = stream.read_u8().await.unwrap_or_else(|error| {
            panic!("{error} after {:?}", String::from_utf8_lossy(&back));
        });
        back.push(byte);
    }
    String::from_utf8(back).unwrap()
}
