//! What is said through the control socket: one line of JSON asks, one line answers, as often as one likes.
//!
//! Nothing that is asked takes long: whoever waits for a member to come up, or for requests to end, asks again. So nothing is
//! half done when a caller is killed.

use std::{collections::BTreeMap, io};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use staith_model::Name;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// The version of this protocol.
pub const VERSION: u32 = 1;

/// A line that is longer is nonsense.
const LONGEST_LINE: u64 = 4 << 20;

/// A question or an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// The backend.
    pub backend: Name,
    /// What is asked of it.
    pub ask: Ask,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// [`VERSION`].
    pub version: u32,
    /// What is answered.
    pub answer: Answer,
}

/// What is asked of a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// How it is. Changes nothing.
    Status,
    /// Begins to check those of `to` that get no requests yet. Answers who of them is not up: [`Answer::Waiting`].
    Prepare(Wanted),
    /// Makes exactly `to` get the requests that begin from now on, if all of them are up. Answers [`Answer::Committed`], or
    /// [`Answer::Waiting`] if somebody is not up, and then nothing has changed.
    Commit(Wanted),
    /// Requests of members that went: [`Answer::Left`].
    Left {
        /// In whose name.
        epoch: u64,
    },
    /// Holds requests from now on, until [`Ask::Resume`] or for as long as this at most.
    Pause {
        /// Milliseconds.
        at_most_ms: u64,
    },
    /// Lets requests go on.
    Resume,
}

/// Who is to get requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// In whose name: an epoch below the highest one seen is refused.
    pub epoch: u64,
    /// The same in all orders of one attempt: what another attempt found up is checked anew.
    pub attempt: String,
    /// The members.
    pub to: BTreeMap<Name, WantedMember>,
}

/// A member that is to get requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedMember {
    /// 1 to 256, relative to the others.
    pub weight: u32,
    /// `HOST:PORT`; the one that the proxy knows if `None`.
    pub address: Option<String>,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// How the backend is.
    Status(Status),
    /// Members that are not up yet, with what their last check said.
    Waiting(BTreeMap<Name, String>),
    /// It is so.
    Committed {
        /// Whether it was not so before.
        changed: bool,
    },
    /// Requests that members which went still have.
    Left(BTreeMap<Name, u64>),
    /// Done.
    Done,
    /// Another epoch was seen that is higher.
    Fenced {
        /// Which.
        highest: u64,
    },
    /// It was not done.
    Refused {
        /// Why.
        why: String,
    },
}

/// How a backend is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The highest epoch that has said who gets requests.
    pub epoch: u64,
    /// All members that it knows.
    pub members: BTreeMap<Name, MemberStatus>,
    /// Requests that were answered by members since the proxy was started.
    pub served: u64,
    /// Whether requests are held.
    pub paused: bool,
    /// Requests of members that are not known any more.
    pub leaving: BTreeMap<Name, u64>,
}

/// How a member is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// `HOST:PORT`.
    pub address: String,
    /// Its weight.
    pub weight: u32,
    /// Whether it gets new requests if it is up.
    pub admitted: bool,
    /// Whether it is up; `None` before its first checks are done.
    pub up: Option<bool>,
    /// What its last check said.
    pub check: String,
    /// Requests that it is answering.
    pub in_flight: u64,
}

/// A value as one line.
///
/// # Errors
/// It is too long.
pub fn line<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    if line.len() as u64 > LONGEST_LINE {
        return Err(io::Error::other(format!("it would be longer than {LONGEST_LINE} bytes")));
    }
    Ok(line)
}

/// Reads one line; `None` at the end of the stream.
///
/// # Errors
/// The stream broke off, or a line is too long.
pub async fn read_line<R: AsyncBufRead + Unpin>(from: &mut R) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    from.take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() as u64 >= LONGEST_LINE => {
            Err(io::Error::other(format!("a line is longer than {LONGEST_LINE} bytes")))
        }
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Reads a value of this version.
///
/// # Errors
/// It is of another version or nonsense; the text says so.
pub fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Envelope {
        version: u32,
    }
    let nonsense = |error: serde_json::Error| format!("it can't be read ({error})");
    let Envelope { version } = serde_json::from_slice(line).map_err(nonsense)?;
    if version != VERSION {
        return Err(format!("version {version} of the protocol is not spoken here, only {VERSION}"));
    }
    serde_json::from_slice(line).map_err(nonsense)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_named_and_nonsense_is_refused() {
        let why = parse::<Request>(br#"{"version":2,"ask":"juggle"}"#).unwrap_err();
        assert!(why.contains("version 2"), "{why}");
        for nonsense in [&b""[..], b"{}", b"[]", b"{\"version\":1}", b"\xff\n"] {
            assert!(parse::<Request>(nonsense).is_err(), "{nonsense:?}");
        }
        let request = Request { version: VERSION, backend: "shop".parse().unwrap(), ask: Ask::Status };
        assert_eq!(parse::<Request>(&line(&request).unwrap()), Ok(request));
    }

    #[tokio::test]
    async fn half_a_line_and_an_endless_one_are_errors() {
        assert!(read_line(&mut &b"{\"version\""[..]).await.is_err());
        let mut endless = tokio::io::BufReader::new(tokio::io::repeat(b'x'));
        assert!(read_line(&mut endless).await.is_err());
        let mut two = &b"a\nb\n"[..];
        assert_eq!(read_line(&mut two).await.unwrap().unwrap(), b"a\n");
        assert_eq!(read_line(&mut two).await.unwrap().unwrap(), b"b\n");
        assert_eq!(read_line(&mut two).await.unwrap(), None);
    }
}
