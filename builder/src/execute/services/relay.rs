//! Joins the connections that a step makes to its services, each to the one that it is for.

use std::{collections::BTreeMap, convert::Infallible, future::pending};

use staith_model::Name;
use tokio::{io::copy_bidirectional, sync::mpsc, task::JoinSet};

use crate::engine::{Arrival, Gate};

/// Connections of one step that are joined at once. More wait, as at a server whose backlog is full: each costs this process
/// two descriptors, and other steps need some, too.
const MOST_AT_ONCE: usize = 256;

/// Joins all that arrives. Never ends by itself; when dropped, all connections are closed.
pub(super) async fn relay(mut arrivals: mpsc::Receiver<Arrival>, gates: BTreeMap<Name, Gate>) -> Infallible {
    // Tasks of their own: what is copied must not wait for what else the attempt does. They own nothing but sockets.
    let mut joined = JoinSet::new();
    let mut is_open = true;
    loop {
        tokio::select! {
            arrival = arrivals.recv(), if is_open && joined.len() < MOST_AT_ONCE => match arrival {
                // To a service that is not there nobody can be joined; what was opened is closed.
                Some(arrival) => if let Some(gate) = gates.get(&arrival.neighbour) {
                    joined.spawn(join(arrival, gate.clone()));
                },
                None => is_open = false,
            },
            Some(_) = joined.join_next() => {}
            // The engine takes no more connections, because the program has ended.
            () = pending(), if !is_open && joined.is_empty() => {}
        }
    }
}

/// Copies both ways until both have ended; the end of one way is passed on, as a client that has asked for something and
/// waits for the answer needs it. Where the service can't be reached, the connection is closed.
async fn join(mut arrival: Arrival, gate: Gate) {
    let Ok(mut service) = gate.connect(arrival.port).await else { return };
    // Neither side knows that its small writes are passed on by somebody who could wait for more.
    let _ = (arrival.stream.set_nodelay(true), service.set_nodelay(true));
    let _ = copy_bidirectional(&mut arrival.stream, &mut service).await;
}
