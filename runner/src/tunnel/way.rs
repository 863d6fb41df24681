//! The deployer's end: a way to the program on a machine that pulls.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::poll_fn;
use staith_model::{
    Name, Secret, TunnelId,
    service::{TUNNEL_PIECE, TargetOf, TunnelWanted},
};
use staith_releaser::fleet::{machine::MachineError, way::Open, wire::Wire};
use tokio::{
    io::{AsyncWrite, DuplexStream},
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::io::StreamReader;

use super::{
    carry::{Over, hear_all, say_all},
    end::End,
};
use crate::{
    client::{Ask, Client, Patience, Refused},
    clock,
};

/// How long the server may wait for the machine, and a little more.
const OPENING: Duration = Duration::from_secs(22);
/// How long a server is asked that does not answer.
const AWAY: Duration = Duration::from_secs(10);
/// Pieces that have come and were not read yet.
const AHEAD: usize = 2;

/// The ways to all machines of an environment that pull, through its server.
#[derive(Debug, Clone)]
pub(crate) struct Through {
    /// Asks the server.
    pub(crate) client: Client,
    /// What proves that it is the deployer that asks.
    pub(crate) token: Secret,
    /// The project.
    pub(crate) project: Name,
    /// The environment.
    pub(crate) environment: Name,
}

impl Through {
    /// The way to one of them.
    pub(crate) fn to(&self, target: &Name) -> PullWay {
        let target = TargetOf {
            project: self.project.clone(),
            environment: self.environment.clone(),
            target: target.clone(),
        };
        PullWay { client: self.client.clone(), token: self.token.clone(), target }
    }
}

/// The way to the program on a machine that pulls.
#[derive(Debug, Clone)]
pub(crate) struct PullWay {
    client: Client,
    token: Secret,
    target: TargetOf,
}

#[async_trait]
impl Open for PullWay {
    async fn open(&self, target: &str, folder: &str) -> Result<Wire, MachineError> {
        let chance = clock::chance().map_err(|error| unreachable(target, error.to_string(), UNEXPECTED))?;
        let tunnel = TunnelId::new(clock::unix_millis(), chance);
        let wanted = TunnelWanted { target: self.target.clone(), folder: folder.to_owned() };
        let path = format!("/api/v1/deployer/tunnels/{tunnel}");
        let ask = Ask::put_value(path, &wanted).with(&self.token).waiting(OPENING);
        let (began, mut patience) = (Instant::now(), Patience::default());
        while let Err(refused) = self.client.bytes(&ask).await {
            if !refused.may_pass() || began.elapsed() > AWAY {
                return Err(not_there(target, refused));
            }
            sleep(patience.failed()).await;
        }
        Ok(wire(End::of_deployer(self.client.clone(), self.token.clone(), &tunnel)))
    }
}

const UNEXPECTED: &str = "Please report this.";

fn unreachable(target: &str, why: String, remedy: &str) -> MachineError {
    MachineError::Unreachable { target: target.to_owned(), why, remedy: remedy.to_owned() }
}

/// A machine that is not there, in the words of the server: since when, and what to do. What to do is said with why, because plans
/// show no more than that.
fn not_there(target: &str, refused: Refused) -> MachineError {
    let remedy = match &refused {
        Refused::Said(said) => said.remedy.clone(),
        _ => None,
    };
    match remedy {
        Some(remedy) => unreachable(target, format!("{refused}: {remedy}"), &remedy),
        None => unreachable(target, refused.to_string(), "See that the server runs."),
    }
}

/// The streams to the program, at the other end of a tunnel.
fn wire(end: End) -> Wire {
    let (heard, mut hears) = mpsc::channel::<io::Result<Bytes>>(AHEAD);
    let (to, says) = tokio::io::duplex(TUNNEL_PIECE);
    let why = Why::default();
    tokio::spawn(converse(end, heard, says, Arc::clone(&why)));
    let from = StreamReader::new(poll_fn(move |cx| hears.poll_recv(cx)));
    Wire { from: Box::new(from), to: Box::new(Speech { to, why }) }
}

/// Why a tunnel ended; nothing while it has not.
type Why = Arc<OnceLock<String>>;

/// What goes to the program. Who can't say more is told why.
struct Speech {
    to: DuplexStream,
    why: Why,
}

impl Speech {
    fn explained<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        polled.map_err(|error| match self.why.get() {
            Some(why) => io::Error::new(io::ErrorKind::ConnectionReset, why.clone()),
            None => error,
        })
    }
}

impl AsyncWrite for Speech {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.to).poll_write(cx, bytes);
        self.explained(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.to).poll_flush(cx);
        self.explained(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.to).poll_shutdown(cx);
        self.explained(polled)
    }
}

/// Carries bytes until nobody here wants more, or the tunnel is over.
async fn converse(end: End, heard: mpsc::Sender<io::Result<Bytes>>, mut says: DuplexStream, told: Why) {
    let over = {
        let mut saying = std::pin::pin!(say_all(&end, &mut says));
        let mut hearing = std::pin::pin!(hear_all(&end, &heard));
        tokio::select! {
            // What the program said last is heard, whatever became of what was said to it.
            said = &mut saying => match said {
                Ok(()) => Over::Unheard,
                Err(_) => hearing.await,
            },
            over = &mut hearing => over,
            () = heard.closed() => Over::Unheard,
        }
    };
    let why = match over {
        Over::Unheard => return end.over(None).await,
        Over::Finished => "the program on the machine has ended".to_owned(),
        Over::Ended(why) => why,
    };
    // Before the stream goes: whoever is about to write is told as well.
    let _ = told.set(why.clone());
    drop(says);
    let _ = heard.send(Err(io::Error::new(io::ErrorKind::ConnectionReset, why))).await;
}
