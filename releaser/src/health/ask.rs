//! Asks once, over a connection of its own: that proves that the release still accepts.

use std::{io, net::SocketAddr, pin::pin, time::Duration};

use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
    http::response::Parts,
};
use hyper_util::rt::TokioIo;
use staith_model::{FileAnswer, HealthCheck, LONGEST_FILE, Testimony};
use tokio::{net::TcpStream, time::timeout};

use super::Answer;

/// Asks `address` what `check` wants to know, and waits `patience` for the answers: the status, and what the application says about which
/// release it is. Dropping it closes the connection.
pub(super) async fn ask(
    address: SocketAddr,
    check: &HealthCheck,
    patience: Duration,
) -> Result<(u16, Testimony), Answer> {
    let answering = async {
        let head = reply(address, &check.path, patience, false).await?.0;
        let file = match &check.release_file {
            Some(path) => {
                // Where it leads elsewhere, nobody follows.
                let (head, body) = reply(address, path, patience, true).await?;
                Some(FileAnswer { status: head.status.as_u16(), body })
            }
            None => None,
        };
        let header = check.release_header.as_ref().and_then(|name| head.headers.get(name));
        let header = header.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Ok((head.status.as_u16(), Testimony { header, file }))
    };
    timeout(patience, answering).await.unwrap_or(Err(Answer::NoAnswer { within: patience }))
}

/// One answer, with its body if that is wanted, as far as it is.
async fn reply(
    address: SocketAddr,
    path: &str,
    patience: Duration,
    with_body: bool,
) -> Result<(Parts, Vec<u8>), Answer> {
    let stream = match timeout(patience, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(Answer::Refused),
        Ok(Err(error)) => return Err(Answer::Broken(error.to_string())),
        Err(_) => {
            let seconds = patience.as_secs_f64();
            return Err(Answer::Broken(format!("no connection could be made within {seconds:.1} s")));
        }
    };
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| Answer::Broken(explain(&error)))?;
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .header(header::USER_AGENT, concat!("staith/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| Answer::Broken(format!("`{path}` can't be asked for: {error}")))?;
    // The connection is driven here and not by a task of its own, so that it ends with this question. It may end before
    // the answer it carried was looked at: then the answer is there all the same.
    let mut answering = pin!(async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok((head, if with_body { beginning(body).await? } else { Vec::new() }))
    });
    let answer = tokio::select! {
        biased;
        answer = &mut answering => answer,
        ended = connection => match (answering.await, ended) {
            (Err(_), Err(why)) => Err(why),
            (answer, _) => answer,
        },
    };
    answer.map_err(|error: hyper::Error| Answer::Broken(explain(&error)))
}

/// The body; of one that is too long for a file that names a release, more than the longest such file.
async fn beginning(mut body: Incoming) -> hyper::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() <= LONGEST_FILE {
        let Some(frame) = body.frame().await else { break };
        bytes.extend_from_slice(frame?.data_ref().map_or(&[][..], |data| data));
    }
    Ok(bytes)
}

/// Hyper's errors keep their cause to themselves; people need it.
fn explain(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
