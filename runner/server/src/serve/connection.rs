//! One client, with bounds on what it may take of this machine.

use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, extract::ConnectInfo};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::api::Operator;

/// How long a client may take to say what it wants, and to shake hands.
const FOR_A_HEAD: Duration = Duration::from_secs(30);
/// All of a request's head that is kept in memory.
const LONGEST_HEAD: usize = 64 << 10;
/// Questions at once over one connection of HTTP/2.
const MOST_STREAMS: u32 = 128;
/// A connection over which nothing went for so long is closed. Long polls are shorter, and streams of events say something oftener.
const IDLE: Duration = Duration::from_secs(300);

/// A client that came in.
pub(super) enum Accepted {
    /// By the network.
    Network { stream: TcpStream, from: SocketAddr, tls: Option<TlsAcceptor> },
    /// By the entrance in the data directory.
    Control(UnixStream),
}

/// Which way a request came.
#[derive(Clone, Copy)]
enum Way {
    Network(SocketAddr),
    Control,
}

impl Accepted {
    /// Answers what the client asks until it leaves, or until `stop`, after the question that is under way.
    pub(super) async fn serve(self, router: Router, stop: CancellationToken) {
        match self {
            Self::Control(stream) => one(stream, Way::Control, false, router, stop).await,
            Self::Network { stream, from, tls: None } => {
                one(stream, Way::Network(from), false, router, stop).await;
            }
            Self::Network { stream, from, tls: Some(tls) } => {
                let shaken = tokio::time::timeout(FOR_A_HEAD, tls.accept(stream)).await;
                // Who does not get as far as TLS is to be told nothing.
                let Ok(Ok(stream)) = shaken else { return };
                let second = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                one(stream, Way::Network(from), second, router, stop).await;
            }
        }
    }
}

async fn one<S>(stream: S, way: Way, second: bool, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let passed = Arc::new(AtomicU64::new(0));
    let counted = TokioIo::new(Counted { stream, passed: Arc::clone(&passed) });
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        match way {
            Way::Network(from) => drop(request.extensions_mut().insert(ConnectInfo(from))),
            Way::Control => drop(request.extensions_mut().insert(Operator)),
        }
        router.call(request)
    });
    // How a connection ends is between the client and its request; nobody here is to be told.
    if second {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).max_concurrent_streams(MOST_STREAMS).max_header_list_size(64 << 10);
        let mut connection = pin!(builder.serve_connection(counted, service));
        tokio::select! {
            _ = &mut connection => return,
            () = stalled(&passed) => return,
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    } else {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(FOR_A_HEAD).max_buf_size(LONGEST_HEAD);
        let mut connection = pin!(builder.serve_connection(counted, service));
        tokio::select! {
            _ = &mut connection => return,
            () = stalled(&passed) => return,
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

/// Returns when nothing has passed for a while.
async fn stalled(passed: &AtomicU64) {
    let mut before = None;
    loop {
        let now = passed.load(Ordering::Relaxed);
        if before == Some(now) {
            return;
        }
        before = Some(now);
        tokio::time::sleep(IDLE).await;
    }
}

/// A connection that counts what passes.
struct Counted<S> {
    stream: S,
    passed: Arc<AtomicU64>,
}

impl<S> Counted<S> {
    fn count(&self, bytes: usize) {
        self.passed.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, to);
        self.count(to.filled().len() - before);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, from);
        if let Poll::Ready(Ok(bytes)) = &written {
            self.count(*bytes);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
