//! A connection to a machine, over which any number of programs and forwarded connections run.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use russh::{
    Channel, ChannelOpenFailure, client,
    client::{DisconnectReason, Msg, Session},
    keys::{Algorithm, PublicKeyOrCertificate},
};
use tokio::io::AsyncReadExt as _;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    channel::{ChannelDuplex, ChannelReader, ChannelWriter, streams},
    error::SshError,
    host_key::Trust,
};

/// A connection to a machine that has let us in. Dropping the last of whoever uses it ends the session, its channels, and a
/// ProxyCommand or the channel of a jump host below it.
pub struct Connection {
    handle: client::Handle<Watcher>,
    host: String,
    seen: Arc<Mutex<Seen>>,
    ended: CancellationToken,
    _severed: DropGuard,
}

/// What a machine's side of a connection told.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Why the host's key was refused.
    pub(super) refused: Option<SshError>,
    /// The kind of key that it showed.
    pub(super) shown: Option<Algorithm>,
    /// What it says to whoever comes.
    pub(super) banner: String,
    /// How the connection ended.
    fate: Option<String>,
}

/// What is asked when the machine's side says something.
pub(super) struct Watcher {
    trust: Trust,
    seen: Arc<Mutex<Seen>>,
    _ended: DropGuard,
}

impl Watcher {
    /// `ended` fires when the session's task is over, however that came about.
    pub(super) fn new(trust: Trust, seen: Arc<Mutex<Seen>>, ended: CancellationToken) -> Self {
        Self { trust, seen, _ended: ended.drop_guard() }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl client::Handler for Watcher {
    type Error = SshError;

    async fn auth_banner(&mut self, banner: &str, _: &mut Session) -> Result<(), SshError> {
        self.seen().banner = banner.chars().take(1024).collect();
        Ok(())
    }

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, SshError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let judged = self.trust.judge(shown, now);
        let mut seen = self.seen();
        seen.shown = Some(shown.public_key().algorithm());
        seen.refused = judged.err();
        Ok(seen.refused.is_none())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<SshError>) -> Result<(), SshError> {
        let why = match &reason {
            DisconnectReason::ReceivedDisconnect(told) => {
                format!("the machine ended it: {}", told.message.trim())
            }
            DisconnectReason::Error(error) => error.to_string(),
        };
        self.seen().fate.get_or_insert(why);
        Ok(())
    }
}

/// What is reached over a connection, seen from the machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A unix socket.
    Socket(String),
    /// A host and port.
    Tcp(String, u16),
}

impl Connection {
    pub(super) fn new(
        handle: client::Handle<Watcher>,
        host: String,
        seen: Arc<Mutex<Seen>>,
        ended: CancellationToken,
        severed: DropGuard,
    ) -> Arc<Self> {
        Arc::new(Self { handle, host, seen, ended, _severed: severed })
    }

    /// Whether it can still be used, as far as that is known here.
    pub fn is_open(&self) -> bool {
        !self.handle.is_closed() && !self.ended.is_cancelled()
    }

    /// Fires when it has ended, or when what is made of it is cancelled.
    pub(super) fn ending(&self) -> CancellationToken {
        self.ended.child_token()
    }

    /// How it ended.
    pub(super) fn fate(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.fate.clone().unwrap_or_else(|| "the machine's end of it is gone".into())
    }

    /// Starts a program by the user's login shell. Dropping both streams ends it. Cancel-safe.
    ///
    /// # Errors
    /// The connection is broken, or the server opens no more sessions.
    pub(super) async fn exec(
        self: &Arc<Self>,
        command: &str,
    ) -> Result<(ChannelReader, ChannelWriter), SshError> {
        let opened = self.handle.channel_open_session().await;
        let channel = self.opened(opened, "another session")?;
        // No reply is waited for: what the program says is the reply, and a refusal comes in its place.
        channel.exec(true, command).await.map_err(|_| self.lost())?;
        Ok(streams(channel, Arc::clone(self), true))
    }

    /// What a program writes that the user's login shell starts, `most` bytes of it, up to its end, whatever that is. Cancel-safe:
    /// dropping it ends the program.
    ///
    /// # Errors
    /// The connection broke, or the server opens no more sessions.
    pub async fn output(self: &Arc<Self>, command: &str, most: usize) -> Result<Vec<u8>, SshError> {
        let (from, _to) = self.exec(command).await?;
        let mut said = Vec::new();
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        match from.take(most).read_to_end(&mut said).await {
            Ok(_) => Ok(said),
            // So the stream ends where the program's exit code was another than 0.
            Err(ended) if ended.kind() == std::io::ErrorKind::BrokenPipe => Ok(said),
            Err(_) => Err(self.lost()),
        }
    }

    /// Connects to a socket or address that the machine reaches. Cancel-safe.
    ///
    /// # Errors
    /// The connection is broken, the server forbids it, or nobody listens there.
    pub(super) async fn forward(self: &Arc<Self>, to: &Endpoint) -> Result<ChannelDuplex, SshError> {
        let (opened, what) = match to {
            Endpoint::Socket(path) => (
                self.handle.channel_open_direct_streamlocal(path.clone()).await,
                format!("a connection to {path}"),
            ),
            Endpoint::Tcp(host, port) => {
                let asked =
                    self.handle.channel_open_direct_tcpip(host.clone(), u32::from(*port), "127.0.0.1", 0);
                (asked.await, format!("a connection to {host}:{port}"))
            }
        };
        let (from, to) = streams(self.opened(opened, &what)?, Arc::clone(self), false);
        Ok(ChannelDuplex { from, to })
    }

    fn opened(
        &self,
        opened: Result<Channel<Msg>, russh::Error>,
        what: &str,
    ) -> Result<Channel<Msg>, SshError> {
        match opened {
            Ok(channel) => Ok(channel),
            Err(russh::Error::ChannelOpenFailure(reason)) => Err(self.refusal(what, reason)),
            Err(_) => Err(self.lost()),
        }
    }

    fn refusal(&self, what: &str, reason: ChannelOpenFailure) -> SshError {
        let nobody_listens = matches!(reason, ChannelOpenFailure::ConnectFailed);
        let (why, remedy) = match reason {
            ChannelOpenFailure::AdministrativelyProhibited => (
                "its sshd does not allow it",
                "See AllowTcpForwarding, AllowStreamLocalForwarding and PermitOpen in the machine's sshd_config, and options of \
                 the key in its authorized_keys.",
            ),
            ChannelOpenFailure::ConnectFailed => (
                "nobody answers there, or the limit of sessions is reached",
                "See that it listens there and that the user may connect to it; MaxSessions in the machine's sshd_config limits \
                 sessions of a connection.",
            ),
            ChannelOpenFailure::ResourceShortage => {
                ("it has run out of something", "See MaxSessions in the machine's sshd_config.")
            }
            _ => ("it does not know how", "A machine needs OpenSSH's server, 6.7 or newer."),
        };
        SshError::Channel {
            host: self.host.clone(),
            what: what.into(),
            why: why.into(),
            remedy: remedy.into(),
            nobody_listens,
        }
    }

    pub(super) fn lost(&self) -> SshError {
        SshError::Lost { host: self.host.clone(), why: self.fate() }
    }
}
