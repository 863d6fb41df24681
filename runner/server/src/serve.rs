//! The server on its entrances, with the loops of its parts, until it is to stop.
//!
//! 1. [`Entrances`]: where it listens. 2. [`serve`]: accepts, and ends in order. 3. `connection`: one client.

mod connection;
mod tls;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::Router;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub use self::tls::{NoTls, name_of as name_of_certificate, read as read_tls};
use crate::{api, site::Site};

/// Connections at once. More wait to be accepted.
const MOST_CONNECTIONS: usize = 4096;
/// How long requests that are under way get when the server stops. What waits for something to happen is told to stop by
/// [`Site::stop`], and answers at once.
const TO_FINISH: Duration = Duration::from_secs(5);
/// How long to wait when no connection can be accepted, for want of descriptors for example.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Where a server listens.
pub struct Entrances {
    /// For everybody.
    pub network: TcpListener,
    /// With TLS, if there is a certificate.
    pub tls: Option<TlsAcceptor>,
    /// For whoever may read the data directory: the system lets nobody else connect. No token is asked for.
    pub control: Option<UnixListener>,
}

/// Why a server ended that nobody had asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// What is durable is not known.
    #[error(
        "the database failed: what was asked last may or may not be kept. Nothing that was acknowledged is lost"
    )]
    StoreFailed,
    /// One of the loops ended.
    #[error("a part of the server ended: {0}")]
    LoopEnded(String),
}

/// The loops of all parts, a line each. Each ends when [`Site::stop`] says so.
fn loops(site: &Site) -> JoinSet<()> {
    let mut loops = JoinSet::new();
    loops.spawn(crate::queue::run(site.clone(), site.stop.clone()));
    loops.spawn(crate::triggers::run(site.clone(), site.stop.clone()));
    loops.spawn(crate::source_transfer::run(site.clone(), site.stop.clone()));
    loops.spawn(crate::releases::run(site.clone(), site.stop.clone()));
    loops
}

/// Serves until [`Site::stop`]; then takes nothing more, answers what it has, and ends. `failed` says that the database failed: then it
/// ends at once.
///
/// # Errors
/// The database failed, or a part ended that must not.
pub async fn serve(site: Site, entrances: Entrances, failed: CancellationToken) -> Result<(), ServeError> {
    let stop = site.stop.clone();
    let mut loops = loops(&site);
    let router = api::router(site);
    let mut connections = JoinSet::new();
    let ended = tokio::select! {
        () = accept_all(&entrances, &router, &stop, &mut connections) => Ok(()),
        () = failed.cancelled() => Err(ServeError::StoreFailed),
        Some(ended) = loops.join_next() => Err(ServeError::LoopEnded(
            ended.err().map_or_else(|| "it returned".to_owned(), |panicked| panicked.to_string()),
        )),
    };
    // A loop that ends because it was told to is no failure, whichever was seen first.
    let ended =
        if stop.is_cancelled() && matches!(ended, Err(ServeError::LoopEnded(_))) { Ok(()) } else { ended };
    drop(entrances);
    stop.cancel();
    if ended.is_ok() {
        let finished = async {
            while connections.join_next().await.is_some() {}
            while loops.join_next().await.is_some() {}
        };
        tokio::select! {
            _ = tokio::time::timeout(TO_FINISH, finished) => {}
            () = failed.cancelled() => return Err(ServeError::StoreFailed),
        }
    }
    connections.shutdown().await;
    loops.shutdown().await;
    ended
}

async fn accept_all(
    entrances: &Entrances,
    router: &Router,
    stop: &CancellationToken,
    connections: &mut JoinSet<()>,
) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, accept(entrances).await)
        };
        tokio::select! {
            () = stop.cancelled() => return,
            (place, accepted) = accepted => match accepted {
                Ok(accepted) => {
                    let (router, stop) = (router.clone(), stop.clone());
                    connections.spawn(async move {
                        accepted.serve(router, stop).await;
                        drop(place);
                    });
                }
                Err(refused) => {
                    tracing::warn!(%refused, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
                }
            },
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn accept(entrances: &Entrances) -> std::io::Result<connection::Accepted> {
    let control = async {
        match &entrances.control {
            Some(control) => control.accept().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        network = entrances.network.accept() => {
            let (stream, from) = network?;
            // Answers are small and somebody waits for them.
            let _ = stream.set_nodelay(true);
            Ok(connection::Accepted::Network { stream, from, tls: entrances.tls.clone() })
        }
        control = control => Ok(connection::Accepted::Control(control?.0)),
    }
}

/// Binds the entrance for everybody.
///
/// # Errors
/// The system refuses.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Binds the entrance in the data directory, for its owner only. Only for the one server that has the database: it takes away what an
/// earlier one left.
///
/// # Errors
/// The system refuses.
pub fn bind_control(data: &Path) -> std::io::Result<UnixListener> {
    use std::os::{fd::AsRawFd as _, unix::fs::PermissionsExt as _};
    // An address of a socket is short; a directory's may be long.
    let directory = std::fs::File::open(data)?;
    let path = control_below(directory.as_raw_fd());
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// The path of the entrance in the data directory that is open as this descriptor, short enough for the address of a socket.
pub fn control_below(directory: std::os::fd::RawFd) -> std::path::PathBuf {
    format!("/proc/self/fd/{directory}/control.sock").into()
}
