//! Asks the server that has a data directory open, by the entrance that it has there. Whoever may read the directory may ask.

use std::{fs::File, os::fd::AsRawFd as _, path::Path};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use staith_model::{Exit, service::ProblemDetails};
use staith_server::serve::control_below;
use tokio::net::UnixStream;

use crate::{
    client::{pages, told},
    output::Problem,
};

/// The longest answer.
const LONGEST: usize = 64 << 20;

/// Asks, and gives what was answered.
///
/// # Errors
/// No server answers, or it refuses.
pub(super) async fn ask<T: DeserializeOwned>(
    data: &Path,
    method: &str,
    path: &str,
    body: Option<&impl Serialize>,
) -> Result<Option<T>, Problem> {
    let no_server = |why: String| {
        Problem::new(Exit::Environment, format!("no server answers in {}", data.display())).with_why(why)
    };
    let body = body.map(serde_json::to_vec).transpose().map_err(|bad| Problem::bug(bad.to_string()))?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "server")
        .body(Full::new(bytes::Bytes::from(body.unwrap_or_default())))
        .map_err(|bad| Problem::bug(bad.to_string()))?;
    let directory = File::open(data).map_err(|refused| Problem::unreadable(data, &refused))?;
    let stream = UnixStream::connect(control_below(directory.as_raw_fd())).await;
    let stream = stream.map_err(|refused| no_server(refused.to_string()))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|lost| no_server(lost.to_string()))?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(|lost| no_server(lost.to_string()))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LONGEST).collect().await;
    let body = body.map_err(|lost| no_server(lost.to_string()))?.to_bytes();
    drop(sender);
    let _ = connection.await;
    if !status.is_success() {
        return Err(refused(status.as_u16(), &body));
    }
    if body.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&body).map(Some).map_err(|bad| no_server(bad.to_string()))
}

/// All of the list of this name at an address, whose pages are followed.
///
/// # Errors
/// As [`ask`].
pub(super) async fn all<T: DeserializeOwned>(data: &Path, path: &str, list: &str) -> Result<Vec<T>, Problem> {
    let page = async |path: String| ask(data, "GET", &path, None::<&()>).await.map(Option::unwrap_or_default);
    pages::all(path, list, page).await
}

fn refused(status: u16, body: &[u8]) -> Problem {
    match serde_json::from_slice::<ProblemDetails>(body) {
        Ok(details) => told::said(ProblemDetails { status, ..details }),
        Err(_) => Problem::new(Exit::Environment, format!("the server answered with status {status}")),
    }
}
