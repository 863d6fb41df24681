//! One request: claimed, held if need be, passed on, answered.

use std::{net::IpAddr, sync::Arc, time::Duration};

use http_body_util::{Either, Empty, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body as _, Bytes, Incoming},
    header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, UPGRADE},
    http::request,
    upgrade::OnUpgrade,
};
use tokio::time::Instant;

use super::{
    body::{Claimed, RequestBody, ResponseBody},
    headers::{Unacceptable, prepare_request, prepare_response},
    route::{Claim, Routes},
    tunnel::{self, Tunnels},
    upstream::Connection,
};

/// What requests have in common.
#[derive(Debug, Clone)]
pub(super) struct Forwarder {
    pub(super) routes: Arc<Routes>,
    /// How long a request waits for an active program that does not accept connections.
    pub(super) hold: Duration,
    /// No request gives up before this, so that one that arrives while everything starts is not failed.
    pub(super) hold_until: Instant,
    pub(super) tunnels: Tunnels,
}

impl Forwarder {
    /// Answers a request, whatever it is.
    pub(super) async fn answer(&self, request: Request<Incoming>, client: IpAddr) -> Response<ResponseBody> {
        self.forward(request, client).await.unwrap_or_else(|refusal| refusal.response())
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
        client: IpAddr,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let client_half = tunnel::client_half(&mut request);
        let (mut head, body) = request.into_parts();
        let upgrade = prepare_request(&mut head, &body, client)?;
        let (claim, connection, response) = match replayable(&head, &body, upgrade.as_ref()) {
            true => self.send_safely(head).await?,
            false => self.send_once(head, body).await?,
        };
        self.routes.count_served();
        self.deliver(claim, connection, response, upgrade.map(|_| client_half))
    }

    /// Sends a request that changes nothing. A program may close an idle connection just as it is used; nobody can tell
    /// whether it read the request, so only a request without effect may be sent once more, on a connection of its own.
    async fn send_safely(&self, head: request::Parts) -> Result<Sent, Refusal> {
        let (claim, connection) = self.connection(true).await?;
        if !connection.reused {
            return send(claim, connection, head, Either::Right(Empty::new())).await;
        }
        match send(claim, connection, head.clone(), Either::Right(Empty::new())).await {
            Ok(sent) => Ok(sent),
            Err(_) => self.send_once_empty(head).await,
        }
    }

    async fn send_once_empty(&self, head: request::Parts) -> Result<Sent, Refusal> {
        let (claim, connection) = self.connection(false).await?;
        send(claim, connection, head, Either::Right(Empty::new())).await
    }

    /// Sends a request that may change something: on a new connection, where it can't meet the end of an idle one.
    async fn send_once(&self, head: request::Parts, body: Incoming) -> Result<Sent, Refusal> {
        let (claim, connection) = self.connection(false).await?;
        send(claim, connection, head, Either::Left(body)).await
    }

    /// A connection to the active program, as soon as it accepts one. Nothing of the request has been sent before, so
    /// it may meet another program than the one that was active when it arrived.
    async fn connection(&self, may_reuse: bool) -> Result<(Claim, Connection), Refusal> {
        let give_up = (Instant::now() + self.hold).max(self.hold_until);
        loop {
            let mut routes = self.routes.watch();
            let Some(claim) = self.routes.claim() else {
                return Err(Refusal::unavailable("Nothing is released here yet."));
            };
            let upstream = Arc::clone(claim.upstream());
            if let Ok(connection) = upstream.connection(may_reuse).await {
                return Ok((claim, connection));
            }
            // A request that is held is on no upstream: the one it found may be replaced meanwhile.
            drop(claim);
            tokio::select! {
                () = upstream.accepting() => {}
                _ = routes.changed() => {}
                () = tokio::time::sleep_until(give_up) => {
                    return Err(Refusal::unavailable("The application does not accept connections; it may be starting."));
                }
            }
        }
    }

    fn deliver(
        &self,
        claim: Claim,
        Connection { sender, address, .. }: Connection,
        mut response: Response<Incoming>,
        client_half: Option<OnUpgrade>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            prepare_response(response.headers_mut());
            *response.version_mut() = hyper::Version::HTTP_11;
            return Ok(Claimed::response(response, claim, sender, address).map(Either::Left));
        }
        let client_half = client_half.ok_or_else(|| {
            Refusal::bad_gateway(
                "The application changed the protocol, which nobody had asked it to.".to_owned(),
            )
        })?;
        tunnel::join(client_half, &mut response, claim, &self.tunnels);
        let protocol = response.headers().get(UPGRADE).cloned();
        prepare_response(response.headers_mut());
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            response.headers_mut().insert(UPGRADE, protocol);
        }
        Ok(response.map(|_| Either::Right(Full::default())))
    }
}

type Sent = (Claim, Connection, Response<Incoming>);

async fn send(
    claim: Claim,
    mut connection: Connection,
    head: request::Parts,
    body: RequestBody,
) -> Result<Sent, Refusal> {
    let sent = connection.sender.send_request(Request::from_parts(head, body)).await;
    sent.map(|response| (claim, connection, response)).map_err(|error| Refusal::from_program(&error))
}

/// Whether sending a request twice is the same as sending it once, to everybody.
fn replayable(head: &request::Parts, body: &Incoming, upgrade: Option<&HeaderValue>) -> bool {
    let safe = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    safe && body.is_end_stream() && upgrade.is_none()
}

/// An answer of the proxy's own.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    why: String,
}

impl From<Unacceptable> for Refusal {
    fn from(Unacceptable { status, why }: Unacceptable) -> Self {
        Self { status, why: format!("The request was not passed on: {why}.") }
    }
}

impl Refusal {
    fn unavailable(why: &str) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, why: why.to_owned() }
    }

    fn bad_gateway(why: String) -> Self {
        Self { status: StatusCode::BAD_GATEWAY, why }
    }

    fn from_program(error: &hyper::Error) -> Self {
        if error.is_user() || error.is_body_write_aborted() {
            let why = "The request's body could not be read to its end.".to_owned();
            return Self { status: StatusCode::BAD_REQUEST, why };
        }
        Self::bad_gateway(format!("The application ended the connection without an answer ({error})."))
    }

    fn response(self) -> Response<ResponseBody> {
        let mut response = Response::new(Either::Right(Full::new(Bytes::from(self.why + "\n"))));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
