//! The bytes below a connection: a socket, a ProxyCommand's streams, or a channel of the hop before.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::TcpStream,
    process::{Child, ChildStdin, ChildStdout, Command},
};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::AbortOnDropHandle,
};

use super::{error::SshError, settings::Settings};

/// Both directions of a stream.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// How long connecting may take where the configuration does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long the last words of a program that ended are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How much of what a server says before its own greeting is kept.
const GREETING: usize = 512;

/// Connects to a machine's sshd, directly.
///
/// # Errors
/// The name is not known, or none of its addresses answers in time; each is told.
pub(super) async fn tcp(settings: &Settings) -> Result<Prompt, SshError> {
    let address = format!("{}:{}", settings.host_name, settings.port);
    let limit = settings.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
    let failed = |why: String, transient| SshError::Connect { address: address.clone(), why, transient };
    let looked_up =
        tokio::time::timeout(limit, tokio::net::lookup_host((&*settings.host_name, settings.port))).await;
    let found: Vec<SocketAddr> = match looked_up {
        Ok(Ok(found)) => found.filter(|address| fits(settings.family, *address)).collect(),
        Ok(Err(error)) => return Err(failed(format!("the name is not known: {error}"), false)),
        Err(_) => {
            return Err(failed(format!("looking up the name took longer than {} s", limit.as_secs()), false));
        }
    };
    let (mut tried, mut transient) = (Vec::new(), false);
    for address in found {
        match tokio::time::timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without it, the answer to a small command waits for the acknowledgement of the packet before: 40 ms.
                stream.set_nodelay(true).map_err(|error| failed(error.to_string(), false))?;
                return Ok(Prompt(stream));
            }
            Ok(Err(error)) => {
                transient |= is_transient(&error);
                tried.push(format!("{address}: {error}"));
            }
            Err(_) => tried.push(format!("{address}: no answer within {} s", limit.as_secs())),
        }
    }
    if tried.is_empty() {
        return Err(failed(
            "the name has no address of the family that the configuration allows".into(),
            false,
        ));
    }
    Err(failed(tried.join("; "), transient))
}

fn fits(family: Option<u8>, address: SocketAddr) -> bool {
    family.is_none_or(|family| (family == 4) == address.is_ipv4())
}

fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | ConnectionAborted)
}

/// A connection that acknowledges what came as soon as all of it was read.
///
/// sshd holds back a small packet for as long as the one before is not acknowledged, until a program is started: it tells of its host
/// keys, and then that the session is open. The kernel here waits up to 40 ms whether there is something to send with the
/// acknowledgement. There is not: we wait for that packet.
pub(super) struct Prompt(TcpStream);

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.0).poll_read(cx, into);
        #[cfg(target_os = "linux")]
        if polled.is_pending() {
            // It holds until the kernel thinks better of it. Without it, all is slower and nothing else.
            let _ = self.0.set_quickack(true);
        }
        polled
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The standard streams of a ProxyCommand. Dropping it ends the program.
pub(super) struct Proxy {
    from: ChildStdout,
    to: ChildStdin,
    words: Arc<Words>,
    _child: Child,
}

/// What a ProxyCommand writes to its standard error, as it goes on.
pub(super) struct Words {
    said: Arc<Mutex<Vec<u8>>>,
    ended: CancellationToken,
    _listening: AbortOnDropHandle<()>,
}

impl Words {
    /// Its last words. Where it is just ending, they are waited for.
    pub(super) async fn last(&self) -> String {
        let _ = tokio::time::timeout(LAST_WORDS, self.ended.cancelled()).await;
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).trim().replace('\n', "; ")
    }
}

impl Proxy {
    /// Starts the command by the shell, as OpenSSH does.
    ///
    /// # Errors
    /// The shell can't be started.
    pub(super) fn start(command: &str) -> Result<Self, SshError> {
        let wrong = |error: io::Error| SshError::Proxy {
            command: command.into(),
            why: format!("did not start: {error}"),
        };
        // `exec`, so that the child that is ended is the program and not a shell in front of it.
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(format!("exec {command}")).kill_on_drop(true);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = shell.spawn().map_err(wrong)?;
        let lacks = || wrong(io::Error::other("it has no standard streams"));
        let (to, from) = (child.stdin.take().ok_or_else(lacks)?, child.stdout.take().ok_or_else(lacks)?);
        let mut errors = child.stderr.take().ok_or_else(lacks)?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let ended = CancellationToken::new();
        let (kept, over) = (Arc::clone(&said), ended.clone().drop_guard());
        // Read to its end, so that a talkative program is not blocked; kept are its last words.
        let listening = tokio::spawn(async move {
            let _over = over;
            let mut piece = [0; 1024];
            while let Ok(length @ 1..) = errors.read(&mut piece).await {
                keep_last(&mut kept.lock().unwrap_or_else(PoisonError::into_inner), &piece[..length], 2048);
            }
        });
        let words = Arc::new(Words { said, ended, _listening: AbortOnDropHandle::new(listening) });
        Ok(Self { from, to, words, _child: child })
    }

    /// What the program writes to its standard error.
    pub(super) fn words(&self) -> Arc<Words> {
        Arc::clone(&self.words)
    }
}

/// Appends, and lets go of what is older than the last `most` bytes.
pub(super) fn keep_last(kept: &mut Vec<u8>, more: &[u8], most: usize) {
    kept.extend_from_slice(more);
    kept.drain(..kept.len().saturating_sub(most));
}

impl AsyncRead for Proxy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.from).poll_read(cx, into)
    }
}

impl AsyncWrite for Proxy {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.to).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_shutdown(cx)
    }
}

/// A stream that can be cut from outside, which ends whoever reads from it: dropping a connection ends its session's task,
/// even where the other side has fallen silent. It remembers what came first, for what is told when that was no greeting.
pub(super) struct Severable {
    stream: Box<dyn Duplex>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    first: Arc<Mutex<Vec<u8>>>,
    begun: bool,
}

impl Severable {
    pub(super) fn new(stream: Box<dyn Duplex>, cut: CancellationToken, first: Arc<Mutex<Vec<u8>>>) -> Self {
        Self { stream, cut: Box::pin(cut.cancelled_owned()), first, begun: false }
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "closed on this side")),
            Poll::Pending => Ok(()),
        }
    }

    fn remember(&mut self, bytes: &[u8]) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.extend_from_slice(&bytes[..bytes.len().min(GREETING)]);
        self.begun = first.len() >= GREETING || first.windows(4).any(|letters| letters == b"SSH-");
    }
}

impl AsyncRead for Severable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_cut(cx)?;
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        if polled.is_ready() && !self.begun {
            self.remember(&into.filled()[before..]);
        }
        polled
    }
}

impl AsyncWrite for Severable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // russh tells nobody how a session ended where this fails, and it does where the machine was first to go.
        Pin::new(&mut self.stream).poll_shutdown(cx).map(|_| Ok(()))
    }
}
