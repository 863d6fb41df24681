//! Serving on a port of its own, with bounds on what clients may take of this machine. A server that mounts the router has its
//! own.

mod counted;

use std::{pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

pub use self::counted::{Counted, Passed};

/// Connections at once. More wait to be accepted.
const MOST_CONNECTIONS: usize = 256;
/// How long a client may take to say what it wants.
const FOR_A_HEAD: Duration = Duration::from_secs(30);
/// All of a request's head that is kept in memory.
const LONGEST_HEAD: usize = 64 << 10;
/// A connection over which nothing went for so long is closed. Verifying the largest package takes less.
const IDLE: Duration = Duration::from_secs(300);
/// How long to wait when no connection can be accepted, for want of descriptors for example.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Serves until `stop` is ready, and then ends at once: what was uploaded up to then is kept, and clients go on with it later.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    // Dropped with this future, and with it all connections.
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            () = &mut stop => return,
            (place, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    let router = router.clone();
                    connections.spawn(async move {
                        one(stream, router).await;
                        drop(place);
                    });
                }
                Err(_) => tokio::time::sleep(PAUSE_AFTER_FAILURE).await,
            },
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn one(stream: TcpStream, router: Router) {
    let (counted, passed) = Counted::new(stream);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(FOR_A_HEAD)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(counted), TowerToHyperService::new(router));
    // How a connection ends is between the client and its request; nobody here is to be told.
    tokio::select! {
        _ = connection => {}
        () = passed.stalls(IDLE) => {}
    }
}
