//! One question over HTTP/1.1, on a connection of its own: that proves that the release still accepts.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::protocol::Answer;

/// Longest head of an answer.
const LONGEST_HEAD: usize = 64 << 10;
/// Between two looks whether to stop.
const SLICE: Duration = Duration::from_millis(100);

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
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if stop() || Instant::now() >= until {
            return Err(Answer::NoAnswer { within_millis: super::millis(patience) });
        }
        match stream.read(&mut chunk) {
            Ok(0) => return Err(Answer::Broken("the connection was closed before an answer".into())),
            Ok(length) => head.extend_from_slice(&chunk[..length]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                continue;
            }
            Err(error) => return Err(broken(error)),
        }
        if let Some(answer) = parse(&head, header) {
            return answer;
        }
    }
}

/// The head of the answer in `bytes`; `None` if more has to come. Interim answers are passed over.
fn parse(mut bytes: &[u8], header: Option<&str>) -> Option<Result<Head, Answer>> {
    loop {
        let not_http = || Some(Err(Answer::Broken("what came back is not HTTP".into())));
        let begin = b"HTTP/1.";
        if !begin.starts_with(&bytes[..bytes.len().min(begin.len())]) {
            return not_http();
        }
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return (bytes.len() > LONGEST_HEAD).then(|| Err(Answer::Broken("its head does not end".into())));
        };
        let text = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = text.split("\r\n");
        let status =
            lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let Some(status @ 100..=999) = status else { return not_http() };
        if status < 200 && status != 101 {
            bytes = &bytes[end + 4..];
            continue;
        }
        let value = |line: &str| {
            let (name, value) = line.split_once(':')?;
            header.is_some_and(|wanted| name.eq_ignore_ascii_case(wanted)).then(|| value.trim().to_owned())
        };
        return Some(Ok(Head { status, release: lines.find_map(value) }));
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

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_fail(bytes: Vec<u8>, text in "HTTP/1\\.[01 ]{0,4}[0-9 ]{0,6}(\r\n[a-z: ]{0,6}){0,3}(\r\n\r\n)?") {
            let _ = parse(&bytes, Some("a"));
            let _ = parse(text.as_bytes(), Some("a"));
        }
    }
}
