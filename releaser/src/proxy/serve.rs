//! Connections of clients.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{forward::Forwarder, route::Routes, tunnel::Tunnels};

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
            hold: Duration::from_secs(10),
            first_hold: Duration::from_secs(30),
            ending: Duration::from_secs(10),
        }
    }
}

/// A pause after the kernel refused a connection, for example because all file descriptors are in use.
const AFTER_REFUSAL: Duration = Duration::from_millis(50);

/// Answers clients until `stop` is cancelled; then accepts no more, lets requests in flight finish within
/// [`Limits::ending`], and returns how many connections were cut.
pub async fn serve(
    listener: TcpListener,
    routes: Arc<Routes>,
    limits: Limits,
    stop: CancellationToken,
) -> usize {
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(limits.connections));
    let cut = CancellationToken::new();
    let door = Door {
        forwarder: Forwarder {
            routes,
            hold: limits.hold,
            hold_until: Instant::now() + limits.first_hold,
            tunnels: Tunnels { open: connections.clone(), end: cut.clone() },
        },
        limits,
        stop: stop.clone(),
        cut: cut.clone(),
    };
    while let Some((stream, client, permit)) = next(&listener, &room, &stop).await {
        let door = door.clone();
        connections.spawn(async move {
            door.attend(stream, client).await;
            drop(permit);
        });
    }
    drop(listener);
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
    stop: CancellationToken,
    cut: CancellationToken,
}

impl Door {
    /// One connection, from its first request to its last.
    async fn attend(self, stream: TcpStream, client: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let forwarder = self.forwarder;
        let answer = service_fn(move |request: Request<Incoming>| {
            let forwarder = forwarder.clone();
            async move { Ok::<_, Infallible>(forwarder.answer(request, client.ip()).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_time)
            .max_header_size(self.limits.header_bytes)
            .serve_connection(TokioIo::new(stream), answer)
            .with_upgrades();
        let mut connection = pin!(connection);
        let finished = tokio::select! {
            _ = connection.as_mut() => true,
            () = self.stop.cancelled() => false,
        };
        if !finished {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                _ = connection => {}
                () = self.cut.cancelled() => {}
            }
        }
    }
}
