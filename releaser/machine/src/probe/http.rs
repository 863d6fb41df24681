//! One question over HTTP/1.1, on a connection of its own: that proves that the release still accepts.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use staith_model::{FileAnswer, LONGEST_FILE};

use super::body::{Body, Framing};
use crate::protocol::Answer;

/// Longest head of an answer.
const LONGEST_HEAD: usize = 64 << 10;
/// Between two looks whether to stop.
const SLICE: Duration = Duration::from_millis(100);

/// What the bytes that came so far are; `None` if more have to come.
type Heard<T> = Option<Result<T, Answer>>;

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) release: Option<String>,
}

/// Makes a connection.
pub(super) fn connect(address: SocketAddr, patience: Duration) -> Result<TcpStream, Answer> {
    TcpStream::connect_timeout(&address, patience.max(Duration::from_millis(1))).map_err(|error| match error
        .kind()
    {
        io::ErrorKind::ConnectionRefused => Answer::Refused,
        io::ErrorKind::TimedOut => {
            Answer::Broken(format!("no connection could be made within {:.1} s", patience.as_secs_f64()))
        }
        _ => Answer::Broken(error.to_string()),
    })
}

/// Asks for `path` and waits for the head of the answer.
pub(super) fn get(
    address: SocketAddr,
    path: &str,
    header: Option<&str>,
    patience: Duration,
    stop: &dyn Fn() -> bool,
) -> Result<Head, Answer> {
    exchange(address, path, patience, stop, &|bytes, _| parse(bytes, header))
}

/// Asks for `path` and waits for the answer, whose body is a short file: its status, and of its body [`LONGEST_FILE`] bytes and one more at
/// most. Where it leads elsewhere, nobody follows.
pub(super) fn file(
    address: SocketAddr,
    path: &str,
    patience: Duration,
    stop: &dyn Fn() -> bool,
) -> Result<FileAnswer, Answer> {
    exchange(address, path, patience, stop, &parse_file)
}

/// One question; `read` makes the answer of the bytes that came so far, and is told when no more come.
fn exchange<T>(
    address: SocketAddr,
    path: &str,
    patience: Duration,
    stop: &dyn Fn() -> bool,
    read: &dyn Fn(&[u8], bool) -> Heard<T>,
) -> Result<T, Answer> {
    let until = Instant::now() + patience;
    let mut stream = connect(address, patience)?;
    let broken = |error: io::Error| Answer::Broken(error.to_string());
    if !path.starts_with('/') || path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(Answer::GivenUp(format!("`{}` can't be asked for", path.escape_debug())));
    }
    let version = env!("CARGO_PKG_VERSION");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nUser-Agent: staith/{version}\r\n\r\n"
    );
    stream.set_read_timeout(Some(SLICE)).map_err(broken)?;
    stream.set_write_timeout(Some(patience.max(SLICE))).map_err(broken)?;
    stream.write_all(request.as_bytes()).map_err(broken)?;
    let mut came = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if stop() || Instant::now() >= until {
            return Err(Answer::NoAnswer { within_millis: super::millis(patience) });
        }
        let ended = match stream.read(&mut chunk) {
            Ok(length) => {
                came.extend_from_slice(&chunk[..length]);
                length == 0
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                continue;
            }
            Err(error) => return Err(broken(error)),
        };
        match read(&came, ended) {
            Some(answer) => return answer,
            None if ended => return Err(Answer::Broken("the connection was closed before an answer".into())),
            None => {}
        }
    }
}

fn parse(bytes: &[u8], header: Option<&str>) -> Heard<Head> {
    let raw = match raw_head(bytes)? {
        Ok(raw) => raw,
        Err(answer) => return Some(Err(answer)),
    };
    Some(Ok(Head { status: raw.status, release: header.and_then(|name| raw.field(name)) }))
}

fn parse_file(bytes: &[u8], ended: bool) -> Heard<FileAnswer> {
    let raw = match raw_head(bytes)? {
        Ok(raw) => raw,
        Err(answer) => return Some(Err(answer)),
    };
    let status = raw.status;
    // What an answer with another status holds is no matter; and one of 204 holds nothing.
    if !(200..300).contains(&status) || status == 204 {
        return Some(Ok(FileAnswer { status, body: Vec::new() }));
    }
    let (length, encoding) = (raw.field("content-length"), raw.field("transfer-encoding"));
    let read = Framing::of(length.as_deref(), encoding.as_deref())
        .map_or(Body::Broken, |framing| framing.body(raw.rest, LONGEST_FILE, ended));
    match read {
        Body::There(body) => Some(Ok(FileAnswer { status, body })),
        Body::Partly => None,
        Body::Broken => Some(Err(Answer::Broken("the body of the answer is not whole".into()))),
    }
}

/// The head of an answer as it came, and what came after it.
struct RawHead<'a> {
    status: u16,
    fields: String,
    rest: &'a [u8],
}

impl RawHead<'_> {
    fn field(&self, wanted: &str) -> Option<String> {
        let value = |line: &str| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
        };
        self.fields.split("\r\n").find_map(value)
    }
}

/// The head of the answer in `bytes`; `None` if more has to come. Interim answers are passed over.
fn raw_head(mut bytes: &[u8]) -> Heard<RawHead<'_>> {
    loop {
        let not_http = || Some(Err(Answer::Broken("what came back is not HTTP".into())));
        let begin = b"HTTP/1.";
        if !begin.starts_with(&bytes[..bytes.len().min(begin.len())]) {
            return not_http();
        }
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return (bytes.len() > LONGEST_HEAD).then(|| Err(Answer::Broken("its head does not end".into())));
        };
        let (text, rest) = (String::from_utf8_lossy(&bytes[..end]), &bytes[end + 4..]);
        let (line, fields) = text.split_once("\r\n").unwrap_or((&text, ""));
        let Some(status @ 100..=999) = line.split(' ').nth(1).and_then(|status| status.parse().ok()) else {
            return not_http();
        };
        if status < 200 && status != 101 {
            bytes = rest;
            continue;
        }
        return Some(Ok(RawHead { status, fields: fields.to_owned(), rest }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_head_is_read_when_it_is_there_and_interim_answers_are_passed_over() {
        let answer = b"HTTP/1.1 103 Early\r\nx-release: old\r\n\r\nHTTP/1.1 204 No Content\r\nX-Release:  new \r\n\r\n";
        let head = Head { status: 204, release: Some("new".into()) };
        assert_eq!(parse(answer, Some("x-release")), Some(Ok(head)));
        assert_eq!(parse(&answer[..answer.len() - 1], Some("x-release")), None);
        assert!(matches!(parse(b"SSH-2.0-x\r\n", None), Some(Err(Answer::Broken(_)))));
    }

    #[test]
    fn a_file_is_read_as_far_as_its_head_says_and_not_of_an_answer_that_leads_elsewhere() {
        let file = |status, body: &str| Some(Ok(FileAnswer { status, body: body.into() }));
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(parse_file(whole, false), file(200, "abc"));
        assert_eq!(parse_file(&whole[..whole.len() - 1], false), None);
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        assert_eq!(parse_file(chunked, false), file(200, "abc"));
        let moved = b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(parse_file(moved, false), file(302, ""));
        assert_eq!(parse_file(b"HTTP/1.1 204 No Content\r\n\r\n", false), file(204, ""));
        let short = parse_file(&whole[..whole.len() - 1], true);
        assert!(matches!(short, Some(Err(Answer::Broken(_)))), "{short:?}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_fail(bytes: Vec<u8>, text in "HTTP/1\\.[01 ]{0,4}[0-9 ]{0,6}(\r\n[a-z: ]{0,6}){0,3}(\r\n\r\n)?") {
            let _ = parse(&bytes, Some("a"));
            let _ = parse(text.as_bytes(), Some("a"));
            let _ = parse_file(&bytes, true);
            let _ = parse_file(text.as_bytes(), false);
        }
    }
}
