//! One signed message and its answer, over TCP: nothing is truncated, and nothing is sent twice because an answer was lost.

use std::{
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::TSigner,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::traffic::TrafficError;

/// A server that takes longer does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Signs, sends, and verifies the answer. A refusal may come without a signature, for the server may not know the key; all else that is
/// not signed is no answer.
pub(super) async fn ask(
    server: &str,
    mut message: Message,
    signer: &TSigner,
    what: &'static str,
) -> Result<Message, TrafficError> {
    let lost = |why: String| TrafficError::Lost { what, why: format!("{server}: {why}") };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let id = message.metadata.id;
    let verifier =
        message.finalize(signer, now).map_err(|error| lost(format!("it can't be signed: {error}")))?;
    let bytes = message.to_vec().map_err(|error| lost(format!("it can't be said: {error}")))?;
    let answer = match timeout(PATIENCE, exchange(server, &bytes)).await {
        Ok(answer) => answer.map_err(|error| lost(error.to_string()))?,
        Err(_) => return Err(lost(format!("no answer within {} s", PATIENCE.as_secs()))),
    };
    let read =
        Message::from_vec(&answer).map_err(|error| lost(format!("its answer can't be read: {error}")))?;
    if read.metadata.id != id {
        return Err(lost("it answered another question".into()));
    }
    let good = matches!(read.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
    if good && let Some(mut verifier) = verifier {
        verifier
            .verify(&answer)
            .map_err(|error| lost(format!("its answer is not signed with the key: {error}")))?;
    }
    Ok(read)
}

async fn exchange(server: &str, message: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], message].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}
