//! What stands before a registry: something that wants to be asked in its own way, or does not answer.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It is handed on.
    Pass,
    /// It is answered with these headers (the status first) and this body.
    Answer(String, String),
    /// It is never answered.
    Silence,
}

/// Listens before `registry`, with `turn` deciding by the head of each request. Ends with the test program.
///
/// # Panics
/// The system refused a port.
pub fn before(
    registry: SocketAddr,
    turn: impl Fn(&str) -> Turn + Send + Sync + Clone + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let turn = turn.clone();
            thread::spawn(move || drop(serve(client, registry, &turn)));
        }
    });
    address
}

fn serve(mut client: TcpStream, registry: SocketAddr, turn: &dyn Fn(&str) -> Turn) -> io::Result<()> {
    let head = head(&mut client)?;
    match turn(&head) {
        Turn::Pass => pass(&head, &mut client, registry, ""),
        Turn::Answer(status, body) => {
            // Whoever still sends would not hear the answer.
            io::copy(&mut Read::take(&client, length(&head)), &mut io::sink())?;
            let length = body.len();
            write!(client, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        }
        Turn::Silence => io::copy(&mut client, &mut io::sink()).map(drop),
    }
}

/// The head of a request, with the empty line that ends it.
///
/// # Errors
/// The connection ended.
pub fn head(from: &mut impl Read) -> io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        from.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Hands a request on whose head was read, with `more` headers, and brings the answer back. The connection is to be closed then.
///
/// # Errors
/// A connection broke.
pub fn pass(
    head: &str,
    client: &mut (impl Read + Write),
    registry: SocketAddr,
    more: &str,
) -> io::Result<()> {
    let mut registry = TcpStream::connect(registry)?;
    let head = head.trim_end_matches("\r\n");
    write!(registry, "{head}\r\nConnection: close\r\n{more}\r\n")?;
    io::copy(&mut Read::take(&mut *client, length(head)), &mut registry)?;
    let mut answer = Vec::new();
    registry.read_to_end(&mut answer)?;
    client.write_all(&answer)?;
    client.flush()
}

fn length(head: &str) -> u64 {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let length = lines.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    length.and_then(|(_, length)| length.trim().parse().ok()).unwrap_or(0)
}
