//! How the socket of a node's runtime API is reached.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Somebody who opens streams to a socket that is elsewhere, for example through a connection of ssh.
#[async_trait]
pub trait Open: Send + Sync {
    /// A new stream to the socket.
    ///
    /// # Errors
    /// There is no way to it, or nobody listens.
    async fn open(&self) -> io::Result<Box<dyn Stream>>;

    /// What people call it.
    fn name(&self) -> String;
}

/// How a socket of a node is reached.
#[derive(Clone)]
pub enum Dial {
    /// A socket on this machine.
    Unix(PathBuf),
    /// A host and port. HAProxy asks nobody who they are there: only for networks where nobody else is.
    Tcp(String),
    /// Whatever somebody else opens.
    Through(Arc<dyn Open>),
}

impl Dial {
    /// Reads `unix:PATH` and `tcp:HOST:PORT`; `None` for others, which take more than a text to be opened.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("unix", path) if path.starts_with('/') => Some(Self::Unix(path.into())),
            ("tcp", address)
                if address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) =>
            {
                Some(Self::Tcp(address.to_owned()))
            }
            _ => None,
        }
    }

    /// How long a new stream may take. Reaching another machine by ssh takes longer than knocking at a socket.
    pub(super) const fn patience(&self) -> Duration {
        match self {
            Self::Unix(_) | Self::Tcp(_) => Duration::from_secs(10),
            Self::Through(_) => Duration::from_secs(60),
        }
    }

    /// A new stream. Cancel-safe.
    ///
    /// # Errors
    /// Nobody listens there, or it may not be opened.
    pub async fn open(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Self::Tcp(address) => Box::new(TcpStream::connect(address.as_str()).await?),
            Self::Through(opener) => opener.open().await?,
        })
    }
}

impl fmt::Display for Dial {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
            Self::Tcp(address) => write!(out, "tcp:{address}"),
            Self::Through(opener) => out.write_str(&opener.name()),
        }
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::Dial;

    #[test]
    fn sockets_are_named_as_they_are_written() {
        for text in ["unix:/run/haproxy/admin.sock", "tcp:lb1:9999", "tcp:[::1]:9999"] {
            assert_eq!(Dial::parse(text).unwrap().to_string(), text);
        }
        for other in
            ["", "/run/haproxy.sock", "unix:relative", "tcp:lb1", "tcp:lb1:http", "ssh:lb1:/run/h.sock"]
        {
            assert!(Dial::parse(other).is_none(), "{other}");
        }
    }
}
