//! One request: claimed, held if need be, passed on, answered.

use std::{sync::Arc, time::Duration};

use http_body_util::{Either, Empty, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body as _, Bytes, Incoming},
    header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, UPGRADE},
    http::request,
    upgrade::OnUpgrade,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::{
    body::{Claimed, Patient, RequestBody, ResponseBody},
    headers::{Origin, Unacceptable, prepare_request, prepare_response},
    route::{Claim, Destination, Nobody},
    tunnel::{self, Tunnels},
    upstream::{Connection, NotAccepting, Upstream},
};

/// What requests have in common.
#[derive(Debug, Clone)]
pub(super) struct Forwarder {
    pub(super) destination: Arc<dyn Destination>,
    /// Places for requests that are held.
    pub(super) waiting_room: Arc<Semaphore>,
    /// How long a client may take between two pieces of a body.
    pub(super) body_time: Duration,
    /// How long a program may take to begin its answer.
    pub(super) answer_time: Duration,
    /// How long a request waits for an active program that does not accept connections.
    pub(super) hold: Duration,
    /// No request gives up before this, so that one that arrives while everything starts is not failed.
    pub(super) hold_until: Instant,
    pub(super) tunnels: Tunnels,
}

impl Forwarder {
    /// Answers a request, whatever it is.
    pub(super) async fn answer(&self, request: Request<Incoming>, origin: Origin) -> Response<ResponseBody> {
        self.forward(request, origin).await.unwrap_or_else(|refusal| refusal.response())
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
        origin: Origin,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let client_half = tunnel::client_half(&mut request);
        let (mut head, body) = request.into_parts();
        let upgrade = prepare_request(&mut head, &body, origin)?;
        let (claim, connection, response) = match replayable(&head, &body, upgrade.as_ref()) {
            true => self.send_safely(head).await?,
            false => self.send_once(head, body).await?,
        };
        self.destination.count_served();
        self.deliver(claim, connection, response, upgrade.map(|_| client_half))
    }

    /// Sends a request that changes nothing. A program may close an idle connection just as it is used; nobody can tell
    /// whether it read the request, so only a request without effect may be sent once more, on a connection of its own.
    async fn send_safely(&self, head: request::Parts) -> Result<Sent, Refusal> {
        let (claim, connection) = self.connection(true).await?;
        if !connection.reused {
            return self.send(claim, connection, head, Either::Right(Empty::new())).await;
        }
        match self.send(claim, connection, head.clone(), Either::Right(Empty::new())).await {
            // A program that was too slow would only be asked twice as much.
            Err(refusal) if refusal.status != StatusCode::GATEWAY_TIMEOUT => self.send_once_empty(head).await,
            sent => sent,
        }
    }

    async fn send_once_empty(&self, head: request::Parts) -> Result<Sent, Refusal> {
        let (claim, connection) = self.connection(false).await?;
        self.send(claim, connection, head, Either::Right(Empty::new())).await
    }

    /// Sends a request that may change something: on a new connection, where it can't meet the end of an idle one.
    async fn send_once(&self, head: request::Parts, body: Incoming) -> Result<Sent, Refusal> {
        let (claim, connection) = self.connection(false).await?;
        let body = Patient::new(body, self.body_time);
        self.send(claim, connection, head, Either::Left(body)).await
    }

    async fn send(
        &self,
        claim: Claim,
        mut connection: Connection,
        head: request::Parts,
        body: RequestBody,
    ) -> Result<Sent, Refusal> {
        let sending = connection.sender.send_request(Request::from_parts(head, body));
        match timeout(self.answer_time, sending).await {
            Ok(sent) => sent
                .map(|response| (claim, connection, response))
                .map_err(|error| Refusal::from_program(&error)),
            Err(_) => Err(Refusal::late()),
        }
    }

    /// A connection to a program that is to serve, as soon as one accepts it. Nothing of the request has been sent before,
    /// so it may meet another program than one that was to serve when it arrived.
    async fn connection(&self, may_reuse: bool) -> Result<(Claim, Connection), Refusal> {
        match self.attempt(may_reuse).await {
            Attempt::Connected(claim, connection) => Ok((claim, connection)),
            Attempt::Nobody(Nobody::Released) => Err(Refusal::unreleased()),
            Attempt::Nobody(Nobody::Now) | Attempt::Refused(_) => self.hold(may_reuse).await,
        }
    }

    /// Goes from program to program, each of which is known from then on not to accept connections.
    async fn attempt(&self, may_reuse: bool) -> Attempt {
        let mut refused: Option<Arc<Upstream>> = None;
        loop {
            let claim = match self.destination.choose() {
                Ok(claim) => claim,
                Err(nobody) => return Attempt::Nobody(nobody),
            };
            let upstream = Arc::clone(claim.upstream());
            if refused.as_ref().is_some_and(|refused| Arc::ptr_eq(refused, &upstream)) {
                return Attempt::Refused(upstream);
            }
            match upstream.connection(may_reuse).await {
                Ok(connection) => return Attempt::Connected(claim, connection),
                Err(NotAccepting) => refused = Some(upstream),
            }
        }
    }

    /// Waits with a request that nothing was sent of. It is on no upstream meanwhile: the one it found may be replaced.
    async fn hold(&self, may_reuse: bool) -> Result<(Claim, Connection), Refusal> {
        let give_up = (Instant::now() + self.hold).max(self.hold_until);
        let Ok(_place) = self.waiting_room.try_acquire() else {
            return Err(Refusal::unavailable("Too many requests are waiting for the application already."));
        };
        loop {
            let news = self.destination.news();
            let refused = match self.attempt(may_reuse).await {
                Attempt::Connected(claim, connection) => return Ok((claim, connection)),
                Attempt::Nobody(Nobody::Released) => return Err(Refusal::unreleased()),
                Attempt::Nobody(Nobody::Now) => None,
                Attempt::Refused(upstream) => Some(upstream),
            };
            let accepting = async {
                match &refused {
                    Some(upstream) => upstream.accepting().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = accepting => {}
                () = news => {}
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

/// What came of looking for a program.
enum Attempt {
    Connected(Claim, Connection),
    Nobody(Nobody),
    /// This one is chosen again although it accepts no connections: there is no other.
    Refused(Arc<Upstream>),
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

    fn unreleased() -> Self {
        Self::unavailable("Nothing is released here yet.")
    }

    fn late() -> Self {
        let why = "The application did not begin its answer in time.".to_owned();
        Self { status: StatusCode::GATEWAY_TIMEOUT, why }
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
