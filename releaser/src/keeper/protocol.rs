//! What a client and a keeper say to each other: one line of JSON each way per connection.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

use super::pool::{KeeperStatus, Pool, PoolPhase, PoolSpec, PoolStatus};

/// The version of what is said here. A keeper that hears another one answers with its own and does nothing.
pub(super) const VERSION: u32 = 1;

/// The longest line that either side reads. A spec with a few hundred kilobytes of environment is the largest thing
/// ever said, and the kernel refuses to start a program with much more.
pub(super) const LONGEST_LINE: u64 = 4 << 20;

/// What every request has in common, read first so that a stranger's version is named instead of misunderstood.
#[derive(Serialize, Deserialize)]
pub(super) struct Envelope {
    pub(super) version: u32,
}

/// A request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) version: u32,
    pub(super) ask: Ask,
}

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Ask {
    Status,
    EnsurePool { epoch: u64, pool: Pool, spec: PoolSpec },
    Switch { epoch: u64, to: Pool },
    Abandon { epoch: u64, pool: Pool },
    Drain { epoch: u64, pool: Pool, deadline: Duration },
    StopPool { epoch: u64, pool: Pool },
    Shutdown,
}

/// A response.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Response {
    pub(super) version: u32,
    pub(super) outcome: Result<Answer, Refusal>,
}

/// What was done.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    Status(KeeperStatus),
    Pool(PoolStatus),
    InFlight(u64),
    Done,
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Refusal {
    Superseded { asked: u64, highest: u64 },
    PoolIsActive { pool: Pool },
    PoolNotRunning { pool: Pool, phase: PoolPhase, last_exit: Option<String> },
    UnusableSpec { pool: Pool, why: String },
    OtherVersion { spoken: u32 },
    Failed { why: String },
}

/// What a keeper tells whoever started it, once, on its standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StartReport {
    /// It listens and answers.
    Ready,
    /// Another keeper holds the directory's lock.
    AlreadyRunning,
    /// The proxy's address can't be had.
    PortTaken(super::port::PortTaken),
    /// Anything else.
    Failed(String),
}

/// A value as one line.
pub(super) fn line<T: Serialize>(value: &T) -> std::io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    if line.len() as u64 > LONGEST_LINE {
        return Err(std::io::Error::other(format!("it would be longer than {LONGEST_LINE} bytes")));
    }
    Ok(line)
}

/// Reads one line; an end of the stream before the line's end, and a line that is too long, are errors.
pub(super) async fn read_line<R: AsyncRead + Unpin>(from: R) -> std::io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(from.take(LONGEST_LINE)).read_until(b'\n', &mut line).await?;
    if line.last() == Some(&b'\n') {
        return Ok(line);
    }
    Err(if line.len() as u64 >= LONGEST_LINE {
        std::io::Error::other(format!("a line is longer than {LONGEST_LINE} bytes"))
    } else {
        std::io::ErrorKind::UnexpectedEof.into()
    })
}

/// Reads a request, or says what to answer instead.
pub(super) fn parse(line: &[u8]) -> Result<Ask, Refusal> {
    let malformed = |error: serde_json::Error| Refusal::Failed {
        why: format!("the request can't be read ({error}); is the program that asks of the same version?"),
    };
    let Envelope { version } = serde_json::from_slice(line).map_err(malformed)?;
    if version != VERSION {
        return Err(Refusal::OtherVersion { spoken: VERSION });
    }
    serde_json::from_slice::<Request>(line).map(|request| request.ask).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_named_before_anything_else_is_understood() {
        let refusal = parse(br#"{"version":2,"ask":{"juggle":{"balls":3}}}"#).unwrap_err();
        assert_eq!(refusal, Refusal::OtherVersion { spoken: VERSION });
    }

    #[test]
    fn nonsense_is_refused() {
        for nonsense in
            [&b""[..], b"{}", b"[]", b"{\"version\":1}", b"{\"version\":1,\"ask\":\"juggle\"}", b"\xff\n"]
        {
            assert!(matches!(parse(nonsense), Err(Refusal::Failed { .. })), "{nonsense:?}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let request = Request { version: VERSION, ask: Ask::Switch { epoch: 7, to: Pool::Green } };
        let line = line(&request).unwrap();
        assert!(matches!(parse(&line), Ok(Ask::Switch { epoch: 7, to: Pool::Green })));
    }

    #[tokio::test]
    async fn half_a_line_and_an_endless_one_are_errors() {
        assert!(read_line(&b"{\"version\""[..]).await.is_err());
        assert!(read_line(tokio::io::repeat(b'x')).await.is_err());
        assert_eq!(read_line(&b"a\nb\n"[..]).await.unwrap(), b"a\n");
    }
}
