//! Frames over a wire.

use staith_machine::protocol::{FrameError, Kind, PROTOCOL, Reply, Request, State, decode_length, encode};
use staith_model::Digest;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::meaning::Errand;
use crate::fleet::{machine::MachineError, wire::Wire};

/// A conversation with a program that has said hello.
pub(super) struct Connection {
    pub(super) from: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) to: Box<dyn tokio::io::AsyncWrite + Send + Unpin>,
    /// What is believed to be there.
    pub(super) there: There,
    /// What was there when the program began to speak.
    pub(super) greeting: Option<State>,
}

/// What is believed to be on a machine. A hint: others may have changed it.
#[derive(Debug, Clone, Default)]
pub(super) struct There {
    /// Releases, with the digests of their manifests.
    pub(super) releases: Vec<(Digest, Digest)>,
    /// The release that runs.
    pub(super) current: Option<Digest>,
}

impl Connection {
    /// Waits until the program has said what it is.
    pub(super) async fn begin(wire: Wire, target: &str, errand: Errand) -> Result<Self, MachineError> {
        let there = There::default();
        let mut connection = Self { from: wire.from, to: wire.to, there, greeting: None };
        match connection.hear(target, errand).await? {
            Reply::Hello { protocol: PROTOCOL, state, .. } => {
                if let Some(state) = &state {
                    connection.there = There { releases: state.releases.clone(), current: state.current };
                }
                connection.greeting = state;
                Ok(connection)
            }
            Reply::Hello { protocol, .. } => Err(errand.unexpected(
                target,
                &format!("it speaks protocol {protocol}, and this Staith speaks {PROTOCOL}"),
            )),
            other => Err(errand.unexpected(target, &format!("{other:?}"))),
        }
    }

    /// Asks one thing and waits for its end, passing over what is told meanwhile.
    pub(super) async fn ask(
        &mut self,
        target: &str,
        errand: Errand,
        request: &Request,
    ) -> Result<Reply, MachineError> {
        self.tell(target, errand, request).await?;
        loop {
            let reply = self.hear(target, errand).await?;
            if reply.ends() {
                return Ok(reply);
            }
        }
    }

    /// Says something.
    pub(super) async fn tell(
        &mut self,
        target: &str,
        errand: Errand,
        request: &Request,
    ) -> Result<(), MachineError> {
        let frame = encode(request).map_err(|error| errand.unexpected(target, &error.to_string()))?;
        let sent = async {
            self.to.write_all(&frame).await?;
            self.to.flush().await
        };
        sent.await.map_err(|error| errand.lost(target, &error))
    }

    /// What the program says next.
    pub(super) async fn hear(&mut self, target: &str, errand: Errand) -> Result<Reply, MachineError> {
        hear(&mut self.from).await.map_err(|error| match error {
            FrameError::Broken(error) => errand.lost(target, &error),
            other => errand.unexpected(target, &other.to_string()),
        })
    }
}

/// The next reply. Memory grows with what comes, not with the length that is announced.
pub(super) async fn hear(from: &mut (impl AsyncRead + Unpin)) -> Result<Reply, FrameError> {
    let mut head = [0; 5];
    from.read_exact(&mut head).await?;
    let (kind, length) = decode_length(head)?;
    if kind != Kind::Message {
        return Err(FrameError::BadContent("a program sends no contents"));
    }
    let mut bytes = Vec::with_capacity(length.min(64 << 10));
    from.take(length as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < length {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    Ok(serde_json::from_slice(&bytes)?)
}
