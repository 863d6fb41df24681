//! Connections of clients.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use hyper::{
    Request,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    forward::Forwarder,
    headers::Origin,
    rewind,
    route::{Destination, Routes},
    tls::Certificate,
    tunnel::Tunnels,
};

/// What a client may take up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once. Those beyond wait in the kernel's queue, where they cost nothing.
    pub connections: usize,
    /// Bytes of a request's line and headers together.
    pub header_bytes: usize,
    /// Time for a request's line and headers, from the end of the request before: it bounds both a client that sends
    /// them slowly and one that stays connected and sends nothing.
    pub header_time: Duration,
    /// Time between two pieces of a request's body.
    pub body_time: Duration,
    /// Time that a program has to begin its answer.
    pub answer_time: Duration,
    /// Requests that are held at once; those beyond are answered that nobody can serve them.
    pub held: usize,
    /// Time that a request is held while the active program does not accept connections.
    pub hold: Duration,
    /// Time from the start of the proxy during which requests are held even longer.
    pub first_hold: Duration,
    /// Time that requests in flight have when the proxy ends.
    pub ending: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            header_bytes: 64 << 10,
            header_time: Duration::from_secs(30),
            body_time: Duration::from_secs(60),
            answer_time: Duration::from_secs(3600),
            held: 10_000,
            hold: Duration::from_secs(10),
            first_hold: Duration::from_secs(30),
            ending: Duration::from_secs(10),
        }
    }
}

/// A pause after the kernel refused a connection, for example because all file descriptors are in use.
const AFTER_REFUSAL: Duration = Duration::from_millis(50);

/// Requests at once on one connection of HTTP/2.
const STREAMS: u32 = 200;

/// Answers clients until `stop` is cancelled; then accepts no more, lets requests in flight finish within
/// [`Limits::ending`], and returns how many connections were cut.
pub async fn serve(
    listener: TcpListener,
    routes: Arc<Routes>,
    limits: Limits,
    stop: CancellationToken,
) -> usize {
    let entrance = Entrance { listener, speaks: Speaks::Http1 };
    serve_all(vec![entrance], routes, limits, stop).await
}

/// Where clients come in.
#[derive(Debug)]
pub(super) struct Entrance {
    pub(super) listener: TcpListener,
    pub(super) speaks: Speaks,
}

/// What is spoken at an entrance.
#[derive(Debug, Clone)]
pub(super) enum Speaks {
    /// HTTP/1.1.
    Http1,
    /// HTTP/1.1, and HTTP/2 with clients that know that it is.
    Either,
    /// Either of them within TLS.
    Tls(Arc<Certificate>),
}

/// The same for several entrances to one destination, which have all limits in common.
pub(super) async fn serve_all(
    entrances: Vec<Entrance>,
    destination: Arc<dyn Destination>,
    limits: Limits,
    stop: CancellationToken,
) -> usize {
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(limits.connections));
    let cut = CancellationToken::new();
    let forwarder = Forwarder {
        destination,
        waiting_room: Arc::new(Semaphore::new(limits.held)),
        body_time: limits.body_time,
        answer_time: limits.answer_time,
        hold: limits.hold,
        hold_until: Instant::now() + limits.first_hold,
        tunnels: Tunnels { open: connections.clone(), end: cut.clone() },
    };
    let doors = entrances.into_iter().map(|Entrance { listener, speaks }| {
        let door =
            Door { forwarder: forwarder.clone(), limits, speaks, stop: stop.clone(), cut: cut.clone() };
        door.attend_all(listener, Arc::clone(&room), connections.clone())
    });
    futures_util::future::join_all(doors).await;
    connections.close();
    let finished = timeout(limits.ending, connections.wait()).await.is_ok();
    let left = if finished { 0 } else { connections.len() };
    cut.cancel();
    connections.wait().await;
    left
}

async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let accept = async {
        let permit = Arc::clone(room).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, client)) => return Some((stream, client, permit)),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(AFTER_REFUSAL).await;
                }
            }
        }
    };
    tokio::select! {
        accepted = accept => accepted,
        () = stop.cancelled() => None,
    }
}

#[derive(Clone)]
struct Door {
    forwarder: Forwarder,
    limits: Limits,
    speaks: Speaks,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl Door {
    async fn attend_all(self, listener: TcpListener, room: Arc<Semaphore>, connections: TaskTracker) {
        while let Some((stream, client, permit)) = next(&listener, &room, &self.stop).await {
            let door = self.clone();
            connections.spawn(async move {
                door.attend(stream, client).await;
                drop(permit);
            });
        }
    }

    /// One connection, from its first byte to its last.
    async fn attend(self, stream: TcpStream, client: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let client = client.ip();
        match self.speaks.clone() {
            Speaks::Http1 => self.speak_http1(stream, Origin { client, secure: false }).await,
            Speaks::Either => {
                let Some((http2, stream)) = self.begin(rewind::speaks_http2(stream)).await else { return };
                self.speak(http2, stream, Origin { client, secure: false }).await;
            }
            Speaks::Tls(certificate) => {
                let handshake = TlsAcceptor::from(certificate.current()).accept(stream);
                let Some(stream) = self.begin(handshake).await else { return };
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                self.speak(http2, stream, Origin { client, secure: true }).await;
            }
        }
    }

    /// What comes before the first request has as much time as that has, and no proxy waits for it when it ends.
    async fn begin<T>(&self, beginning: impl Future<Output = io::Result<T>>) -> Option<T> {
        tokio::select! {
            begun = timeout(self.limits.header_time, beginning) => begun.ok()?.ok(),
            () = self.stop.cancelled() => None,
        }
    }

    async fn speak<S>(self, http2: bool, stream: S, origin: Origin)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if http2 { self.speak_http2(stream, origin).await } else { self.speak_http1(stream, origin).await }
    }

    async fn speak_http1<S>(self, stream: S, origin: Origin)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let forwarder = self.forwarder.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let forwarder = forwarder.clone();
            async move { Ok::<_, Infallible>(forwarder.answer(request, origin).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_time)
            .max_header_size(self.limits.header_bytes)
            .serve_connection(TokioIo::new(stream), answer)
            .with_upgrades();
        let finish =
            |connection: Pin<&mut http1::UpgradeableConnection<_, _>>| connection.graceful_shutdown();
        self.converse(connection, finish, std::future::pending()).await;
    }

    async fn speak_http2<S>(self, stream: S, origin: Origin)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (forwarder, busy) = (self.forwarder.clone(), watch::Sender::new(0usize));
        let idle = idle(busy.subscribe(), self.limits.header_time);
        let answer = service_fn(move |request: Request<Incoming>| {
            let (forwarder, busy) = (forwarder.clone(), Busy::with(&busy));
            async move {
                let _busy = busy;
                Ok::<_, Infallible>(forwarder.answer(request, origin).await)
            }
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(self.limits.header_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(STREAMS)
            .keep_alive_interval(self.limits.header_time)
            .keep_alive_timeout(self.limits.header_time)
            .serve_connection(TokioIo::new(stream), answer);
        let finish = |connection: Pin<&mut http2::Connection<_, _, _>>| connection.graceful_shutdown();
        self.converse(connection, finish, idle).await;
    }

    /// Lets a connection go on until its end, until it was idle for too long, or until the proxy ends; it then finishes what it
    /// has begun.
    async fn converse<C: Future>(
        self,
        connection: C,
        finish: impl FnOnce(Pin<&mut C>),
        idle: impl Future<Output = ()>,
    ) {
        let mut connection = pin!(connection);
        let finished = tokio::select! {
            _ = connection.as_mut() => true,
            () = idle => false,
            () = self.stop.cancelled() => false,
        };
        if !finished {
            finish(connection.as_mut());
            tokio::select! {
                _ = connection => {}
                () = self.cut.cancelled() => {}
            }
        }
    }
}

/// A request that is being answered, until this is dropped: a client may take it back.
struct Busy(watch::Sender<usize>);

impl Busy {
    fn with(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Ends when no request was being answered for a while. An answer that is still being read is finished all the same.
async fn idle(mut busy: watch::Receiver<usize>, patience: Duration) {
    loop {
        // Without its sender the connection is over, which is noticed where that is waited for.
        if busy.wait_for(|count| *count == 0).await.is_err() {
            return;
        }
        if timeout(patience, busy.changed()).await.is_err() {
            return;
        }
    }
}
