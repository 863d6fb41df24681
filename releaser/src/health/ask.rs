//! Asks once, over a connection of its own: that proves that the release still accepts.

use std::{io, net::SocketAddr, pin::pin, time::Duration};

use http_body_util::Empty;
use hyper::{Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::Answer;

/// The head of an answer.
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) release: Option<String>,
}

/// Asks `address` for `path` and waits `patience` for the head of the answer. Dropping it closes the connection.
pub(super) async fn ask(
    address: SocketAddr,
    path: &str,
    release_header: Option<&str>,
    patience: Duration,
) -> Result<Head, Answer> {
    let until = Instant::now() + patience;
    let connected = timeout_at(until, TcpStream::connect(address)).await;
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(Answer::Refused),
        Ok(Err(error)) => return Err(Answer::Broken(error.to_string())),
        Err(_) => {
            let seconds = patience.as_secs_f64();
            return Err(Answer::Broken(format!("no connection could be made within {seconds:.1} s")));
        }
    };
    match timeout_at(until, exchange(stream, address, path, release_header)).await {
        Ok(answer) => answer,
        Err(_) => Err(Answer::NoAnswer { within: patience }),
    }
}

async fn exchange(
    stream: TcpStream,
    address: SocketAddr,
    path: &str,
    release_header: Option<&str>,
) -> Result<Head, Answer> {
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
    let mut answering = pin!(sender.send_request(request));
    let response = tokio::select! {
        biased;
        response = &mut answering => response,
        ended = connection => match (answering.await, ended) {
            (Err(_), Err(why)) => Err(why),
            (response, _) => response,
        },
    };
    let response = response.map_err(|error| Answer::Broken(explain(&error)))?;
    let release = release_header
        .and_then(|name| response.headers().get(name))
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Ok(Head { status: response.status().as_u16(), release })
}

/// Hyper's errors keep their cause to themselves; people need it.
fn explain(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
