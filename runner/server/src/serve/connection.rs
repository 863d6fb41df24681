//! One client, with bounds on what it may take of this machine.

use std::{
    net::SocketAddr,
    pin::{Pin, pin},
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
use staith_packager::registry::listen::{Counted, Passed};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::api::Operator;

/// How long a client may take to say what it wants.
const FOR_A_HEAD: Duration = Duration::from_secs(30);
/// How long a client may take to shake hands.
const FOR_A_HANDSHAKE: Duration = Duration::from_secs(10);
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
                let shaken = tokio::select! {
                    shaken = tokio::time::timeout(FOR_A_HANDSHAKE, tls.accept(stream)) => shaken,
                    () = stop.cancelled() => return,
                };
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
    let (counted, passed) = Counted::new(stream);
    let counted = TokioIo::new(counted);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        match way {
            Way::Network(from) => drop(request.extensions_mut().insert(ConnectInfo(from))),
            Way::Control => drop(request.extensions_mut().insert(Operator)),
        }
        router.call(request)
    });
    if second {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).max_concurrent_streams(MOST_STREAMS).max_header_list_size(64 << 10);
        let connection = builder.serve_connection(counted, service);
        until_it_ends(connection, http2::Connection::graceful_shutdown, &passed, &stop).await;
    } else {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(FOR_A_HEAD).max_buf_size(LONGEST_HEAD);
        let connection = builder.serve_connection(counted, service);
        until_it_ends(connection, http1::Connection::graceful_shutdown, &passed, &stop).await;
    }
}

/// How a connection ends is between the client and its request; nobody here is to be told.
async fn until_it_ends<C: Future>(
    connection: C,
    leave: impl FnOnce(Pin<&mut C>),
    passed: &Passed,
    stop: &CancellationToken,
) {
    let mut connection = pin!(connection);
    tokio::select! {
        _ = &mut connection => return,
        () = passed.stalls(IDLE) => return,
        () = stop.cancelled() => leave(connection.as_mut()),
    }
    let _ = connection.await;
}
