//! Where requests are taken: one line in, one line out.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::AsyncWriteExt as _,
    net::{UnixListener, UnixStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    pools::Pools,
    protocol::{self, Answer, Ask, Refusal, Response, VERSION},
};

/// Whoever connects speaks at once; a connection that says nothing is not kept.
const PATIENCE: Duration = Duration::from_secs(10);

/// A pause after a connection could not be accepted.
const AFTER_REFUSAL: Duration = Duration::from_millis(50);

/// Takes requests for ever. Each is carried out to its end, whether or not anybody waits for the answer.
/// `ending` is cancelled when a shutdown was asked for.
pub(super) async fn attend(listener: UnixListener, pools: Arc<Pools>, ending: CancellationToken) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, Arc::clone(&pools), ending.clone()));
            }
            Err(_) => tokio::time::sleep(AFTER_REFUSAL).await,
        }
    }
}

async fn serve(mut stream: UnixStream, pools: Arc<Pools>, ending: CancellationToken) {
    let Ok(Ok(line)) = timeout(PATIENCE, protocol::read_line(&mut stream)).await else { return };
    let asked = protocol::parse(&line);
    let shall_end = matches!(asked, Ok(Ask::Shutdown));
    let outcome = match asked {
        Ok(ask) => carry_out(ask, &pools).await,
        Err(refusal) => Err(refusal),
    };
    if let Ok(line) = protocol::line(&Response { version: VERSION, outcome }) {
        // Nobody to tell: whoever asked looks at the state before asking again.
        let _ = timeout(PATIENCE, stream.write_all(&line)).await;
    }
    // Only now: a process that ends takes its unsent answers with it.
    if shall_end {
        ending.cancel();
    }
}

async fn carry_out(ask: Ask, pools: &Pools) -> Result<Answer, Refusal> {
    match ask {
        Ask::Status => Ok(Answer::Status(pools.status())),
        Ask::EnsurePool { epoch, pool, spec } => pools.ensure(epoch, pool, spec).await.map(Answer::Pool),
        Ask::Switch { epoch, to } => pools.switch(epoch, to).await.map(|()| Answer::Done),
        Ask::Abandon { epoch, pool } => pools.abandon(epoch, pool).await.map(|()| Answer::Done),
        Ask::Drain { epoch, pool, deadline } => {
            pools.drain(epoch, pool, deadline).await.map(Answer::InFlight)
        }
        Ask::StopPool { epoch, pool } => pools.stop(epoch, pool).await.map(|()| Answer::Done),
        Ask::Shutdown => Ok(Answer::Done),
    }
}
