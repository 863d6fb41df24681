//! Something between hosts and their server that muddles pieces of logs (the design's fault F57): they come twice, late, in another order,
//! a byte at a time. Everything else goes through as it is.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use crate::front::head;

/// So many bytes of a piece are sent a byte at a time, and then the rest.
const SINGLY: usize = 16;

/// A piece of a stream on its way to the server.
#[derive(Debug, Clone)]
struct Piece {
    /// `/api/v1/attempts/<attempt>/streams/<name>`
    path: String,
    offset: usize,
    fence: String,
    /// The rest of the question's head, each line with its end.
    headers: String,
    bytes: Vec<u8>,
}

/// How often something was done to a piece.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// It came twice.
    pub twice: usize,
    /// It came a byte at a time.
    pub singly: usize,
    /// It came after the one that took its place, and its sender heard nothing.
    pub late: usize,
    /// All that came before it came again, the last one first.
    pub backwards: usize,
}

#[derive(Debug, Default)]
struct Shared {
    /// All that came, in its order.
    seen: Vec<Piece>,
    /// What comes after the next one.
    held: Vec<Piece>,
    done: Done,
}

/// It listens until the test ends.
#[derive(Debug)]
pub struct Muddle {
    /// Where: `ADDRESS:PORT`.
    pub address: String,
    server: String,
    shared: Arc<Mutex<Shared>>,
}

impl Muddle {
    /// Before the server at `server`, at another port of this address.
    ///
    /// # Panics
    /// The system refuses a port.
    pub fn before(server: &str, listens: &str) -> Self {
        let listener = TcpListener::bind((listens, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let muddle = Self { address, server: server.to_owned(), shared: Arc::default() };
        let (to, shared) = (muddle.server.clone(), Arc::clone(&muddle.shared));
        // In the network of who made it.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (to, shared) = (to.clone(), Arc::clone(&shared));
                thread::spawn(move || drop(serve(client, &to, &shared)));
            }
        });
        muddle
    }

    /// What it has done so far.
    pub fn done(&self) -> Done {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).done
    }

    /// Sends every piece once more, long after: what the server answers each.
    ///
    /// # Panics
    /// The server does not answer.
    pub fn says_all_again(&self) -> Vec<u16> {
        let seen = self.shared.lock().unwrap_or_else(PoisonError::into_inner).seen.clone();
        let answers = seen.iter().map(|piece| piece.sent(&self.server).unwrap());
        answers.map(|answer| status(&answer)).collect()
    }
}

impl Piece {
    /// A question that brings one.
    fn of(head: &str, bytes: &[u8]) -> Option<Self> {
        let (first, headers) = head.split_once("\r\n")?;
        let target = first.strip_prefix("PUT ")?.split(' ').next()?;
        let (path, question) = target.split_once('?')?;
        let value =
            |name: &str| question.split('&').find_map(|one| one.strip_prefix(name)).map(str::to_owned);
        let (offset, fence) = (value("offset=")?.parse().ok()?, value("fence=")?);
        let keeps = |line: &&str| {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            !line.is_empty() && !["content-length", "connection"].contains(&name.as_str())
        };
        let headers = headers.split("\r\n").filter(keeps).map(|line| format!("{line}\r\n")).collect();
        let is_one = path.contains("/streams/");
        (is_one && !bytes.is_empty()).then(|| Self {
            path: path.to_owned(),
            offset,
            fence,
            headers,
            bytes: bytes.to_vec(),
        })
    }

    fn part(&self, from: usize, to: usize) -> Self {
        Self { offset: self.offset + from, bytes: self.bytes[from..to].to_vec(), ..self.clone() }
    }

    /// The server's whole answer.
    fn sent(&self, server: &str) -> io::Result<Vec<u8>> {
        let Self { path, offset, fence, headers, bytes } = self;
        let length = bytes.len();
        let head = format!(
            "PUT {path}?offset={offset}&fence={fence} HTTP/1.1\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        asked(server, &head, bytes)
    }
}

fn asked(server: &str, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(server)?;
    server.write_all(head.as_bytes())?;
    server.write_all(body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    Ok(answer)
}

fn status(answer: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(answer);
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

fn serve(mut client: TcpStream, server: &str, shared: &Mutex<Shared>) -> io::Result<()> {
    let head = head(&mut client)?;
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let Some(length) = lengths.next().map_or(Some(0), |(_, length)| length.trim().parse().ok()) else {
        return Ok(());
    };
    let piece_like = head.starts_with("PUT ") && head.contains("/streams/");
    if !piece_like {
        return carry(&head, client, server);
    }
    let mut bytes = vec![0; length];
    client.read_exact(&mut bytes)?;
    let Some(piece) = Piece::of(&head, &bytes) else { return Ok(()) };
    match muddled(&piece, server, shared)? {
        // Who sent it hears nothing, and asks again.
        None => Ok(()),
        Some(answer) => client.write_all(&answer),
    }
}

/// Hands a question on as it comes, and the answer as it comes back.
fn carry(head: &str, mut client: TcpStream, server: &str) -> io::Result<()> {
    let mut server = TcpStream::connect(server)?;
    let head = head.trim_end_matches("\r\n");
    write!(server, "{head}\r\nConnection: close\r\n\r\n")?;
    let (mut asks, mut hears) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || io::copy(&mut asks, &mut hears));
    io::copy(&mut server, &mut client)?;
    client.shutdown(std::net::Shutdown::Both)
}

/// One piece at a time, as a server gets them from one host. What is answered; nothing, if it comes later.
fn muddled(piece: &Piece, server: &str, shared: &Mutex<Shared>) -> io::Result<Option<Vec<u8>>> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let number = shared.seen.len();
    let before: Vec<Piece> = shared.seen.iter().filter(|one| one.path == piece.path).cloned().collect();
    shared.seen.push(piece.clone());
    if number % 4 == 3 {
        shared.done.late += 1;
        shared.held.push(piece.clone());
        return Ok(None);
    }
    let answer = match number % 4 {
        0 => {
            shared.done.twice += 1;
            piece.sent(server)?;
            piece.sent(server)?
        }
        1 => {
            shared.done.singly += 1;
            let single = (piece.bytes.len() - 1).min(SINGLY);
            for at in 0..single {
                piece.part(at, at + 1).sent(server)?;
            }
            piece.part(single, piece.bytes.len()).sent(server)?
        }
        _ => {
            shared.done.backwards += 1;
            for earlier in before.iter().rev() {
                earlier.sent(server)?;
            }
            piece.sent(server)?
        }
    };
    for late in std::mem::take(&mut shared.held) {
        late.sent(server)?;
    }
    Ok(Some(answer))
}
