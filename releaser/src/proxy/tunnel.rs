//! Connections that change their protocol, such as WebSockets: bytes both ways, in flight until either side ends.

use hyper::{Request, Response, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::route::Claim;

/// The client's half of a change of protocol, to be taken before the request is passed on.
pub(super) fn client_half<B>(request: &mut Request<B>) -> OnUpgrade {
    hyper::upgrade::on(request)
}

/// What upgraded connections have in common.
#[derive(Debug, Clone)]
pub(super) struct Tunnels {
    /// Where they are counted beside the connections that they came from.
    pub(super) open: TaskTracker,
    /// Closes both sides of each when it is cancelled.
    pub(super) end: CancellationToken,
}

/// Joins both halves once the program has agreed; the claim is held until the connection is over.
pub(super) fn join<B>(client: OnUpgrade, response: &mut Response<B>, claim: Claim, tunnels: &Tunnels) {
    let program = hyper::upgrade::on(response);
    let end = tunnels.end.clone();
    tunnels.open.spawn(async move {
        let _claim = claim;
        let through = async {
            let (client, program) = tokio::try_join!(client, program)?;
            let (mut client, mut program) = (TokioIo::new(client), TokioIo::new(program));
            // An end with an error is an end: neither side can be told more than that the connection is closed.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut program).await;
            Ok::<(), hyper::Error>(())
        };
        tokio::select! {
            _ = through => {}
            () = end.cancelled() => {}
        }
    });
}
