//! Questions and answers.

use std::{
    error::Error,
    fs::File,
    io::{self, Seek as _, Write as _},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue},
    redirect::Policy,
};
use serde::{Serialize, de::DeserializeOwned};
use staith_model::{Secret, service::ProblemDetails};
use tokio::time::timeout;

use super::{Address, Patience, Refused};
use crate::output::Problem;

/// A connection that is not made within this time is not made.
const CONNECTING: Duration = Duration::from_secs(5);
/// How long an answer may take beyond what it was asked to wait. Half-open connections answer never.
const ANSWERING: Duration = Duration::from_secs(10);
/// An answer that comes in pieces for as long as there is something to tell has a sign of life in it every 15 seconds.
const SILENT: Duration = Duration::from_secs(45);
/// An answer that is longer is none of ours: plans of thousands of steps have a tenth of this.
const LONGEST_ANSWER: usize = 64 << 20;

/// A question.
#[derive(Debug)]
pub(crate) struct Ask {
    method: Method,
    path: String,
    token: Option<Secret>,
    body: Vec<u8>,
    kind: &'static str,
    accepts: &'static str,
    more: Option<(HeaderName, String)>,
    waits: Duration,
    within: Duration,
}

impl Ask {
    /// Asks what is there. `path` begins with `/`.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            token: None,
            body: Vec::new(),
            kind: "application/json",
            accepts: "application/json",
            more: None,
            waits: Duration::ZERO,
            within: ANSWERING,
        }
    }

    /// Tells a value.
    pub(crate) fn post(path: impl Into<String>, body: &impl Serialize) -> Self {
        // The shapes of the wire can be written as JSON; a test of each holds them to it.
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self { method: Method::POST, body, ..Self::get(path) }
    }

    /// Changes a part of something.
    pub(crate) fn patch(path: impl Into<String>, body: &impl Serialize) -> Self {
        Self { method: Method::PATCH, ..Self::post(path, body) }
    }

    /// Puts a value.
    pub(crate) fn put_value(path: impl Into<String>, body: &impl Serialize) -> Self {
        Self { method: Method::PUT, ..Self::post(path, body) }
    }

    /// Removes something.
    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, ..Self::get(path) }
    }

    /// Puts bytes.
    pub(crate) fn put(path: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { method: Method::PUT, body: bytes, kind: "application/octet-stream", ..Self::get(path) }
    }

    /// The same with what proves who asks.
    pub(crate) fn with(self, token: &Secret) -> Self {
        Self { token: Some(token.clone()), ..self }
    }

    /// The same, where the answer is asked to wait so long.
    pub(crate) fn waiting(self, waits: Duration) -> Self {
        Self { waits, ..self }
    }

    /// The same, of an answer that may take so long to be made.
    pub(crate) fn taking(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// The same, for an answer of this type.
    pub(crate) fn accepting(self, accepts: &'static str) -> Self {
        Self { accepts, ..self }
    }

    /// The same with one more header.
    pub(crate) fn having(self, name: HeaderName, value: String) -> Self {
        Self { more: Some((name, value)), ..self }
    }

    /// The same, given up sooner than others.
    pub(crate) fn within(self, within: Duration) -> Self {
        Self { within: within.min(ANSWERING), ..self }
    }
}

/// Asks one server. Clones share connections.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    inner: reqwest::Client,
    address: Arc<Address>,
}

impl Client {
    /// A client of a server, which is not asked yet.
    ///
    /// # Errors
    /// The authorities can't be read, or this machine has none.
    pub(crate) fn new(address: &Address) -> Result<Self, Problem> {
        // One may be there already, and is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("staith/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECTING)
            .https_only(address.is_encrypted())
            // Whoever leads elsewhere would be given the token.
            .redirect(Policy::none());
        if !address.is_encrypted() || address.at().is_some() {
            builder = builder.no_proxy();
        }
        if !address.is_encrypted() {
            // Nobody has to be vouched for, so a machine that knows no authority does as well as any.
            builder = builder.tls_certs_only([]);
        }
        if let (Some(at), Some(host)) = (address.at(), address.host()) {
            builder = builder.resolve(&host, at);
        }
        if let Some(authorities) = address.certificates()? {
            builder = builder.tls_certs_only(authorities);
        }
        let unable = |error: reqwest::Error| {
            Problem::from(Refused::Unable { server: address.as_str().to_owned(), why: in_words(&error) })
        };
        Ok(Self { inner: builder.build().map_err(unable)?, address: Arc::new(address.clone()) })
    }

    /// Asks once; the answer's bytes. An empty answer has none. Cancel-safe as far as this side goes: the server may do what it was
    /// asked though nobody waits.
    ///
    /// # Errors
    /// See [`Refused`].
    pub(crate) async fn bytes(&self, ask: &Ask) -> Result<Vec<u8>, Refused> {
        // Of the whole: an answer that drips without end is none.
        match timeout(ask.waits.saturating_add(ask.within), self.answer(ask)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.away("it did not answer in time".to_owned())),
        }
    }

    /// Asks once; the answer's value, or `None` where the answer is that there is nothing (204).
    ///
    /// # Errors
    /// See [`Refused`].
    pub(crate) async fn maybe<T: DeserializeOwned>(&self, ask: &Ask) -> Result<Option<T>, Refused> {
        let bytes = self.bytes(ask).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|bad| self.strange(format!("its answer can't be read: {bad}")))
    }

    /// Asks once; the answer's value.
    ///
    /// # Errors
    /// See [`Refused`].
    pub(crate) async fn value<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, Refused> {
        self.maybe(ask).await?.ok_or_else(|| self.strange("its answer is empty".to_owned()))
    }

    /// Asks, and asks again while it may pass, for so long. For questions only that may be asked twice.
    ///
    /// # Errors
    /// What the last answer was.
    pub(crate) async fn value_within<T: DeserializeOwned>(
        &self,
        ask: &Ask,
        long: Duration,
    ) -> Result<T, Refused> {
        let (began, mut patience) = (tokio::time::Instant::now(), Patience::default());
        loop {
            match self.value(ask).await {
                Err(refused) if refused.may_pass() && began.elapsed() < long => {
                    tokio::time::sleep(patience.failed()).await;
                }
                answered => return answered,
            }
        }
    }

    /// Asks once, and writes the answer to a file, which has nothing else afterwards: at most so many bytes, of which only a piece is
    /// in memory at a time. Gives how many there were, or why the file does not take them. Cancel-safe, as [`bytes`](Self::bytes).
    ///
    /// # Errors
    /// See [`Refused`].
    pub(crate) async fn bytes_to(
        &self,
        ask: &Ask,
        to: &mut File,
        most: u64,
    ) -> Result<io::Result<u64>, Refused> {
        let asked = async {
            if let Err(error) = to.set_len(0).and_then(|()| to.rewind()) {
                return Ok(Err(error));
            }
            let (mut response, mut written) = (self.taken(ask).await?, 0);
            while let Some(piece) = response.chunk().await.map_err(|error| self.away(in_words(&error)))? {
                written += piece.len() as u64;
                if written > most {
                    return Err(self.strange(format!("its answer is longer than {most} bytes")));
                }
                if let Err(error) = tokio::task::block_in_place(|| to.write_all(&piece)) {
                    return Ok(Err(error));
                }
            }
            Ok(to.rewind().map(|()| written))
        };
        match timeout(ask.waits.saturating_add(ask.within), asked).await {
            Ok(answer) => answer,
            Err(_) => Err(self.away("it did not answer in time".to_owned())),
        }
    }

    /// Asks once, for an answer that comes in pieces as there is something to tell.
    ///
    /// # Errors
    /// See [`Refused`].
    pub(crate) async fn flow(&self, ask: &Ask) -> Result<Flow, Refused> {
        match timeout(ask.waits.saturating_add(ask.within), self.taken(ask)).await {
            Ok(Ok(response)) if has_kind(&response, ask.accepts) => {
                Ok(Flow { response, client: self.clone() })
            }
            Ok(Ok(_)) => Err(self.strange("its answer is of another type than was asked for".to_owned())),
            Ok(Err(refused)) => Err(refused),
            Err(_) => Err(self.away("it did not answer in time".to_owned())),
        }
    }

    async fn answer(&self, ask: &Ask) -> Result<Vec<u8>, Refused> {
        let response = self.taken(ask).await?;
        let is_empty = response.status() == StatusCode::NO_CONTENT;
        let bytes = self.bounded(response).await?;
        Ok(if is_empty { Vec::new() } else { bytes })
    }

    /// The answer to a question that the server takes, whose body is still to come.
    async fn taken(&self, ask: &Ask) -> Result<Response, Refused> {
        let url = format!("{}{}", self.address.as_str(), ask.path);
        let mut request = self.inner.request(ask.method.clone(), url).header(ACCEPT, ask.accepts);
        if let Some(token) = &ask.token {
            request = request.header(AUTHORIZATION, self.bearer(token)?);
        }
        if let Some((name, value)) = &ask.more {
            request = request.header(name, value);
        }
        if !matches!(ask.method, Method::GET | Method::DELETE) {
            request = request.header(CONTENT_TYPE, ask.kind).body(ask.body.clone());
        }
        let response = request.send().await.map_err(|error| self.away(in_words(&error)))?;
        let status = response.status();
        let is_problem = has_kind(&response, "application/problem+json");
        let is_page = has_kind(&response, "text/html");
        if status.is_success() && !is_page {
            return Ok(response);
        }
        let bytes = self.bounded(response).await?;
        let said = is_problem.then(|| serde_json::from_slice::<ProblemDetails>(&bytes).ok()).flatten();
        Err(match said {
            Some(said) => Refused::Said(ProblemDetails { status: status.as_u16(), ..said }),
            None => {
                self.strange(format!("it answers {status} and says nothing that this program understands"))
            }
        })
    }

    fn bearer(&self, token: &Secret) -> Result<HeaderValue, Refused> {
        let value = token.expose_to(|token| HeaderValue::from_str(&format!("Bearer {token}")));
        let mut value = value.map_err(|_| Refused::Unable {
            server: self.address.as_str().to_owned(),
            why: "the token has characters that no header can have".to_owned(),
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn bounded(&self, mut response: Response) -> Result<Vec<u8>, Refused> {
        let mut bytes = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(piece)) if bytes.len() + piece.len() > LONGEST_ANSWER => {
                    return Err(self.strange(format!("its answer is longer than {LONGEST_ANSWER} bytes")));
                }
                Ok(Some(piece)) => bytes.extend_from_slice(&piece),
                Ok(None) => return Ok(bytes),
                // Cut off on the way: as if there had been none.
                Err(error) => return Err(self.away(in_words(&error))),
            }
        }
    }

    fn away(&self, why: String) -> Refused {
        Refused::Away { server: self.address.as_str().to_owned(), why }
    }

    fn strange(&self, why: String) -> Refused {
        Refused::Strange { server: self.address.as_str().to_owned(), why }
    }
}

/// An answer that comes in pieces.
#[derive(Debug)]
pub(crate) struct Flow {
    response: Response,
    client: Client,
}

impl Flow {
    /// The next piece; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// The connection broke, or nothing was heard for longer than is usual.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, Refused> {
        match timeout(SILENT, self.response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(self.client.away(in_words(&error))),
            Err(_) => Err(self.client.away("nothing was heard of it for too long".to_owned())),
        }
    }

    /// It ended where it should have gone on.
    pub(crate) fn broke_off(&self) -> Refused {
        self.client.away("the answer broke off".to_owned())
    }
}

fn has_kind(response: &Response, kind: &str) -> bool {
    response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|found| found.to_str().ok())
        .is_some_and(|found| found.starts_with(kind))
}

/// An error with what caused it: the outermost one says only that sending failed.
fn in_words(error: &reqwest::Error) -> String {
    let mut words = vec![if error.is_connect() {
        "no connection".to_owned()
    } else {
        "the connection failed".to_owned()
    }];
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if !words.contains(&text) {
            words.push(text);
        }
        cause = next.source();
    }
    words.join(": ")
}
