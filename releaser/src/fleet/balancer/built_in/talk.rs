//! One question to a node, and its answer.

use std::{io, time::Duration};

use staith_model::Name;
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    time::timeout,
};

use crate::{
    fleet::balancer::haproxy::Dial,
    proxy::station::protocol::{self, Answer, Ask, Request, Response, VERSION},
};

/// A node answers at once, but for what its disk takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks a node about a backend. Cancel-safe: the node carries out what it has read.
///
/// # Errors
/// There is no way to it, or it did not answer.
pub async fn ask(node: &Dial, backend: &Name, ask: Ask) -> io::Result<Answer> {
    let request = Request { version: VERSION, backend: backend.clone(), ask };
    let line = protocol::line(&request)?;
    let answered = timeout(PATIENCE, async {
        let mut stream = BufReader::new(node.open().await?);
        stream.write_all(&line).await?;
        stream.flush().await?;
        protocol::read_line(&mut stream).await?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    });
    let line = answered.await.map_err(io::Error::from)??;
    protocol::parse::<Response>(&line).map(|response| response.answer).map_err(io::Error::other)
}
