//! The way in and out of a sandbox while its program runs: connections that the caller makes to it, connections that it makes
//! to its neighbours, and commands that look at how it does. The sandbox's network stays its own; what goes in and out is
//! handed over connection by connection, so that nothing but what was asked for can be reached.

use std::{ffi::OsString, io, net::Ipv4Addr, sync::Arc};

use serde::{Deserialize, Serialize};
use staith_model::Name;
use tokio::{
    net::TcpStream,
    sync::{Mutex, mpsc, oneshot},
};

use super::StepExit;

/// Another sandbox, as a step finds it: a name that leads to an address of the step's own loopback interface, where the
/// engine takes connections for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its host name in the sandbox.
    pub name: Name,
    /// What the name means there; in `127.0.0.0/8`, and not `127.0.0.1`.
    pub address: Ipv4Addr,
    /// Where connections are taken, from before the program starts until it has ended.
    pub ports: Vec<u16>,
}

/// A connection that the program made to one of its neighbours.
#[derive(Debug)]
pub struct Arrival {
    /// To whom.
    pub neighbour: Name,
    /// To which of its ports.
    pub port: u16,
    /// The connection: what is written here is read in the sandbox.
    pub stream: TcpStream,
}

/// What the owner of a [`Gate`] asks of the engine.
#[derive(Debug)]
pub(crate) enum Ask {
    /// A connection to a port at which the program listens, on the sandbox's loopback interface.
    Connect { port: u16, answer: oneshot::Sender<io::Result<TcpStream>> },
    /// A command beside the program, in the same sandbox, as the same user, with the same environment.
    Check { argv: Vec<OsString>, answer: oneshot::Sender<io::Result<StepExit>> },
}

/// The caller's half. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate {
    asks: mpsc::Sender<Ask>,
}

/// The engine's half, for one sandbox.
#[derive(Debug, Clone)]
pub struct Gatekeeper {
    /// What is asked. One sandbox listens.
    pub(crate) asks: Arc<Mutex<mpsc::Receiver<Ask>>>,
    /// Where connections to neighbours go.
    pub(crate) arrivals: mpsc::Sender<Arrival>,
}

/// A gate for one sandbox: the caller's half, the connections that its program makes to its neighbours, and the half that
/// goes into [`StepSpec::gate`](super::StepSpec::gate).
pub fn gate() -> (Gate, mpsc::Receiver<Arrival>, Gatekeeper) {
    let (ask, asks) = mpsc::channel(16);
    let (arrive, arrivals) = mpsc::channel(16);
    (Gate { asks: ask }, arrivals, Gatekeeper { asks: Arc::new(Mutex::new(asks)), arrivals: arrive })
}

impl Gate {
    /// Connects to a port of the sandbox's loopback interface, `127.0.0.1` first and then `::1`. Waits until the program has
    /// been started. Cancel-safe.
    ///
    /// # Errors
    /// What the kernel says, most often that nobody listens there; `NotConnected` where the sandbox has ended.
    pub async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        self.ask(|answer| Ask::Connect { port, answer }).await
    }

    /// Runs a command beside the program, to its end; there is nothing on its standard input, and what it writes goes where
    /// the program's output goes. One at a time: what is asked while another runs waits for that. Waits until the program has
    /// been started. When the future is dropped, the command is ended.
    ///
    /// # Errors
    /// `NotConnected` where the sandbox has ended.
    pub async fn check(&self, argv: Vec<OsString>) -> io::Result<StepExit> {
        self.ask(|answer| Ask::Check { argv, answer }).await
    }

    async fn ask<T>(&self, what: impl FnOnce(oneshot::Sender<io::Result<T>>) -> Ask) -> io::Result<T> {
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "the sandbox has ended");
        let (answer, answered) = oneshot::channel();
        self.asks.send(what(answer)).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// What a sandbox's `/etc/hosts` says: names of its own, and those of its neighbours. Nobody else's.
pub(crate) fn hosts(neighbours: &[Neighbour]) -> String {
    let mut hosts = "127.0.0.1 localhost staith\n::1 localhost\n".to_owned();
    for Neighbour { name, address, .. } in neighbours {
        hosts.push_str(&format!("{address} {}\n", name.as_str()));
    }
    hosts
}
