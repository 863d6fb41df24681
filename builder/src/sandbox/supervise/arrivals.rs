//! Connections that a step makes to its neighbours, on their way to who leads them on.

use std::{collections::BTreeSet, io, net::TcpListener, time::Duration};

use staith_model::Name;
use tokio::{sync::mpsc, task::JoinSet, time::sleep};

use crate::engine::{Arrival, Gatekeeper, Neighbour};

/// How long to wait when no connection can be accepted, for want of descriptors for example.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Accepts for one step, each socket by itself; ends when dropped.
#[derive(Debug)]
pub(super) struct Arrivals {
    neighbours: Vec<Neighbour>,
    to: Option<mpsc::Sender<Arrival>>,
    served: BTreeSet<(usize, u16)>,
    loops: JoinSet<()>,
}

impl Arrivals {
    pub(super) fn for_step(neighbours: &[Neighbour], gate: Option<&Gatekeeper>) -> Self {
        Self {
            neighbours: neighbours.to_vec(),
            to: gate.map(|gate| gate.arrivals.clone()),
            served: BTreeSet::new(),
            loops: JoinSet::new(),
        }
    }

    /// Whether a socket for this neighbour and port was asked for, and none has come yet. Not because it is said but because it
    /// was asked: in a container the image has a say in who says it.
    pub(super) fn wants(&self, number: usize, port: u16) -> bool {
        let asked = self.neighbours.get(number).is_some_and(|neighbour| neighbour.ports.contains(&port));
        asked && !self.served.contains(&(number, port))
    }

    /// Accepts on a socket that is wanted.
    pub(super) fn serve(&mut self, number: usize, port: u16, listener: TcpListener) {
        if let (Some(neighbour), Some(to)) = (self.neighbours.get(number), &self.to) {
            self.served.insert((number, port));
            self.loops.spawn(accept(listener, neighbour.name.clone(), port, to.clone()));
        }
    }
}

async fn accept(listener: TcpListener, neighbour: Name, port: u16, to: mpsc::Sender<Arrival>) {
    let ready: io::Result<_> =
        listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
    let Ok(listener) = ready else { return };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                // Where nobody takes them any more they are closed, which the program sees.
                let _ = to.send(Arrival { neighbour: neighbour.clone(), port, stream }).await;
            }
            // The program's (it went away) or a passing lack of descriptors, which would only be made worse in a hurry.
            Err(_) => sleep(PAUSE_AFTER_FAILURE).await,
        }
    }
}
