//! The registry as a service: each request is judged, and answered from the shelf.

mod bodies;
mod lists;
mod manifests;
mod pull;
mod uploads;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::any,
};
use staith_model::Name;
use tokio::task::spawn_blocking;

use super::{
    access::{Access, Asked, Verdict, Wish},
    refusal::{Code, Refusal},
    route::{NoRoute, Route},
    shelf::{Shelf, ShelfError},
};

/// What a registry allows. The default is what a registry on one machine wants.
#[derive(Debug, Clone)]
pub struct Options {
    /// The largest manifest, in bytes. The specification wants four megabytes at least.
    pub largest_manifest: usize,
    /// The largest blob, in bytes.
    pub largest_blob: u64,
    /// The most bytes of all headers of a request.
    pub longest_headers: usize,
    /// How long a client that is sending a body may say nothing.
    pub patience: Duration,
    /// Whether manifests and tags can be deleted. Where not, who asks for it is told so.
    pub deletion: bool,
    /// The names by which this registry may be called (`Host`, without the port); `None` means all. A registry on loopback
    /// wants its own names only: a page in a browser can make its own name mean this machine.
    pub hosts: Option<Vec<String>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            largest_manifest: 4 << 20,
            largest_blob: 16 << 30,
            longest_headers: 16 << 10,
            patience: Duration::from_secs(60),
            deletion: false,
            hosts: None,
        }
    }
}

/// The protocol of OCI Distribution 1.1 over a shelf, to be mounted at the root of a server: all its paths begin with `/v2/`.
///
/// A repository is a package's name. A tag is a version, with `_` for `+`, or a channel. Versions never change their meaning: pushing
/// another manifest under one is refused with the status 409; channels move.
///
/// Memory is bounded: bodies are carried in pieces of some hundred kilobytes as fast as the other side takes them, and no thread
/// waits for a client. What is read is verified before its first byte is sent, or the connection ends before its last byte.
/// Call it within a runtime of tokio.
pub fn router(shelf: Arc<dyn Shelf>, access: Arc<dyn Access>, options: Options) -> Router {
    let registry = Registry { shelf, access, options: Arc::new(options) };
    Router::new()
        .route("/v2", any(answer))
        .route("/v2/", any(answer))
        .route("/v2/{*rest}", any(answer))
        .with_state(registry)
}

#[derive(Clone)]
struct Registry {
    shelf: Arc<dyn Shelf>,
    access: Arc<dyn Access>,
    options: Arc<Options>,
}

/// What handlers answer with.
type Answer = Result<Response, Refusal>;

async fn answer(State(registry): State<Registry>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answered = registry.obey(&parts, body).await;
    let mut response = answered.unwrap_or_else(Refusal::into_response);
    let headers = response.headers_mut();
    headers.insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    // What is kept here was made by others; no browser is to take it for a page.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl Registry {
    async fn obey(&self, parts: &Parts, body: axum::body::Body) -> Answer {
        self.check_caller(&parts.headers)?;
        let route = Route::parse(parts.uri.path()).map_err(refuse_route)?;
        let wish = wish(&route, &parts.method);
        if wish == Wish::Remove && !self.options.deletion && !matches!(route, Route::Upload(..)) {
            return Err(not_allowed(
                &parts.method,
                "nothing is deleted by clients of this registry; its owner collects it",
            ));
        }
        self.judge(&parts.headers, route.name(), wish)?;
        let head = parts.method == Method::HEAD;
        match (&route, &parts.method) {
            (Route::Support, &Method::GET | &Method::HEAD) => Ok(supported()),
            (Route::Manifest(name, wanted), &Method::GET | &Method::HEAD) => {
                self.give_manifest(name, wanted, &parts.headers).await
            }
            (Route::Manifest(name, to), &Method::PUT) => self.take_manifest(name, to, parts, body).await,
            (Route::Manifest(name, which), &Method::DELETE) => self.remove(name, which).await,
            (Route::Blob(name, digest), &Method::GET | &Method::HEAD) => {
                self.give_blob(name, digest, &parts.headers, head).await
            }
            (Route::Uploads(name), &Method::POST) => self.begin(name, parts, body).await,
            (Route::Upload(name, upload), &Method::GET) => self.tell_upload(name, upload).await,
            (Route::Upload(name, upload), &Method::PATCH) => self.take_chunk(name, upload, parts, body).await,
            (Route::Upload(name, upload), &Method::PUT) => self.finish(name, upload, parts, body).await,
            (Route::Upload(name, upload), &Method::DELETE) => self.cancel(name, upload).await,
            (Route::Tags(name), &Method::GET | &Method::HEAD) => self.list_tags(name, parts).await,
            (Route::Referrers(name, subject), &Method::GET | &Method::HEAD) => {
                self.list_referrers(name, subject, parts).await
            }
            _ => Err(not_allowed(&parts.method, "this can't be done to that")),
        }
    }

    /// Refuses what no client of registries says, before anything is looked at.
    fn check_caller(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let length: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if length > self.options.longest_headers {
            let message = format!("the headers are longer than {} bytes", self.options.longest_headers);
            return Err(Refusal::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                Code::SizeInvalid,
                message,
            ));
        }
        let denied = |message: &str| Err(Refusal::new(StatusCode::FORBIDDEN, Code::Denied, message));
        // Only browsers say where a page came from, and only a page of somebody else's has a reason to ask.
        if headers.contains_key(header::ORIGIN) {
            return denied("pages in browsers can't use this registry");
        }
        let Some(hosts) = &self.options.hosts else { return Ok(()) };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if hosts.iter().any(|own| own.eq_ignore_ascii_case(without_port(host))) {
            return Ok(());
        }
        denied("this registry is not called by that name")
    }

    fn judge(&self, headers: &HeaderMap, name: Option<&Name>, wish: Wish) -> Result<(), Refusal> {
        match self.access.judge(&Asked { headers, name, wish }) {
            Verdict::Granted => Ok(()),
            Verdict::Denied(why) => Err(Refusal::new(StatusCode::FORBIDDEN, Code::Denied, why)),
            Verdict::SignIn(how) => {
                Err(Refusal::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, "sign in first")
                    .with(header::WWW_AUTHENTICATE, header_value(&how)))
            }
        }
    }

    /// Asks the shelf on a thread that may wait.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Shelf) -> Result<T, ShelfError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let shelf = Arc::clone(&self.shelf);
        let asked = spawn_blocking(move || question(&*shelf)).await;
        Ok(asked.map_err(|error| Refusal::broken(&error))??)
    }
}

fn wish(route: &Route, method: &Method) -> Wish {
    match (route, method) {
        (Route::Support, _) => Wish::Look,
        // Whoever may push may give up pushing, and see how far it came.
        (Route::Uploads(_) | Route::Upload(..), _) => Wish::Push,
        (_, &Method::GET | &Method::HEAD) => Wish::Pull,
        (_, &Method::DELETE) => Wish::Remove,
        _ => Wish::Push,
    }
}

fn refuse_route(no: NoRoute) -> Refusal {
    match no {
        NoRoute::Bad(bad) => bad.into(),
        NoRoute::Nested(name) => {
            let message = format!("there is no package `{name}`: names of packages have no `/`");
            Refusal::not_found(Code::NameUnknown, message)
        }
        NoRoute::Unknown => {
            Refusal::not_found(Code::Unsupported, "this is not a path of the protocol of registries")
        }
    }
}

fn not_allowed(method: &Method, why: &str) -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, format!("{method}: {why}"))
        .with(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, PATCH, PUT"))
}

fn supported() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], "{}").into_response()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|c| c.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

/// The values of the query, decoded, in their order.
fn query(parts: &Parts) -> Result<Vec<(String, String)>, Refusal> {
    match Query::<Vec<(String, String)>>::try_from_uri(&parts.uri) {
        Ok(Query(values)) => Ok(values),
        Err(_) => Err(Refusal::bad(Code::Unsupported, "what follows `?` can't be read")),
    }
}

fn value<'a>(query: &'a [(String, String)], key: &str) -> Option<&'a str> {
    query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Text of our own making as a header: names, digests and numbers, which all can be one.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
