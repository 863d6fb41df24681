//! One signed message and its answer: over UDP first, over TCP where that comes to nothing.
//!
//! Over UDP, only an answer counts that is whole and signed with the key: anybody can send the others. Whatever else comes, or does not
//! come, is asked again over TCP, once. An update may so be carried out twice; the second time, its condition does not hold any more, and
//! whoever asked reads the records again.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::TSigner,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use crate::traffic::TrafficError;

/// A server on the same continent answers within a tenth of it.
const SOON: Duration = Duration::from_secs(1);

/// A server that takes longer does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest message that passes everywhere in one piece (DNS Flag Day 2020).
const ONE_PIECE: usize = 1232;

/// A name server, and the key by which it is spoken to.
pub(super) struct Server {
    /// `HOST:PORT`.
    pub(super) address: String,
    pub(super) signer: TSigner,
    /// Whether it did not answer over UDP: it is not waited for again and again.
    deaf: AtomicBool,
}

impl Server {
    pub(super) const fn new(address: String, signer: TSigner) -> Self {
        Self { address, signer, deaf: AtomicBool::new(false) }
    }

    /// Signs, sends, and verifies the answer. A refusal may come without a signature, for the server may not know the key; all else
    /// that is not signed is no answer. Cancel-safe: what was sent may still be done.
    pub(super) async fn ask(&self, message: Message, what: &'static str) -> Result<Message, TrafficError> {
        let lost =
            |why: String| TrafficError::Lost { what, why: format!("name server {}: {why}", self.address) };
        if !self.deaf.load(Ordering::Relaxed)
            && let Some(answer) = self.ask_over_udp(&message).await
        {
            return Ok(answer);
        }
        let signed = Signed::new(message, &self.signer).map_err(lost)?;
        let bytes = match timeout(PATIENCE, self.over_tcp(&signed.bytes)).await {
            Ok(answer) => answer.map_err(|error| lost(format!("{error}, over TCP")))?,
            Err(_) => {
                return Err(lost(format!(
                    "no answer within {} s, neither over UDP nor over TCP; see that it runs and that nothing between here and it \
                     blocks its port",
                    PATIENCE.as_secs()
                )));
            }
        };
        let answer = signed.answer(&bytes).map_err(lost)?;
        let good = matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
        if good {
            signed.verified(&bytes).map_err(lost)?
        };
        Ok(answer)
    }

    /// `None` where it has to be asked again over TCP.
    async fn ask_over_udp(&self, message: &Message) -> Option<Message> {
        let signed = Signed::new(message.clone(), &self.signer).ok()?;
        if signed.bytes.len() > ONE_PIECE {
            return None;
        }
        let bytes = match timeout(SOON, self.over_udp(&signed.bytes)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => {
                tracing::debug!(server = self.address, %error, "no answer over UDP");
                self.deaf.store(true, Ordering::Relaxed);
                return None;
            }
            Err(_) => {
                tracing::debug!(server = self.address, "no answer over UDP in time");
                self.deaf.store(true, Ordering::Relaxed);
                return None;
            }
        };
        let answer = signed.answer(&bytes).ok().filter(|answer| !answer.metadata.truncation)?;
        signed.verified(&bytes).ok()?;
        Some(answer)
    }

    async fn over_udp(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        let unresolved = || io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        let address = tokio::net::lookup_host(&self.address).await?.next().ok_or_else(unresolved)?;
        let own: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(own).await?;
        socket.connect(address).await?;
        socket.send(message).await?;
        let mut answer = vec![0; usize::from(u16::MAX)];
        let length = socket.recv(&mut answer).await?;
        answer.truncate(length);
        Ok(answer)
    }

    async fn over_tcp(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let length = u16::try_from(message.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], message].concat()).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }
}

/// A message as it is sent, and what its answer is held to.
struct Signed<'a> {
    id: u16,
    bytes: Vec<u8>,
    message: Message,
    signer: &'a TSigner,
    at: u64,
}

impl<'a> Signed<'a> {
    fn new(message: Message, signer: &'a TSigner) -> Result<Self, String> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut signed = message.clone();
        signed.finalize(signer, at).map_err(|error| format!("the message can't be signed: {error}"))?;
        let bytes = signed.to_vec().map_err(|error| format!("the message can't be said: {error}"))?;
        Ok(Self { id: message.metadata.id, bytes, message, signer, at })
    }

    fn answer(&self, bytes: &[u8]) -> Result<Message, String> {
        let read = Message::from_vec(bytes).map_err(|error| format!("its answer can't be read: {error}"))?;
        match read.metadata.id == self.id {
            true => Ok(read),
            false => Err("it answered another question".into()),
        }
    }

    /// Whether an answer is signed with the key, for this message.
    fn verified(&self, bytes: &[u8]) -> Result<(), String> {
        // The same message at the same time has the same signature.
        let verifier = self.message.clone().finalize(self.signer, self.at);
        let mut verifier =
            verifier.ok().flatten().ok_or_else(|| "nothing is there to verify its answer with".to_owned())?;
        let verified = verifier.verify(bytes);
        verified.map(drop).map_err(|error| format!("its answer is not signed with the key: {error}"))
    }
}

#[cfg(test)]
#[path = "exchange/tests.rs"]
mod tests;
