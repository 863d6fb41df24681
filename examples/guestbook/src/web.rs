//! What is answered to whom.

use std::{io, sync::Arc, time::SystemTime};

use axum::{
    Form, Json, Router,
    extract::{DefaultBodyLimit, State, rejection::JsonRejection},
    http::{HeaderValue, StatusCode, header},
    middleware,
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use serde_json::json;
use tokio::task::spawn_blocking;

use crate::{
    book::{Book, NotWritten},
    entry::{Draft, Entry},
    page::Page,
};

/// Most bytes of a request's body: a full form whose every character takes twelve bytes, and some more.
const BODY_LIMIT: usize = 8 * 1024;

/// What every request needs.
#[derive(Debug, Clone)]
pub struct Site {
    pub book: Arc<Book>,
    /// The release that this process is; goes into every response.
    pub release: HeaderValue,
}

/// All routes.
pub fn routes(site: Site) -> Router {
    Router::new()
        .route("/", get(show).post(sign))
        .route("/api/entries", get(list).post(sign_as_json))
        .route("/healthz", get(health))
        .route("/style.css", get(style))
        .fallback(async || (StatusCode::NOT_FOUND, "There is nothing here. The book is at /.\n"))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::map_response_with_state(site.clone(), common_headers))
        .with_state(site)
}

/// Says with every response, errors included, which release answered; Staith takes it as proof of what is running.
async fn common_headers(State(site): State<Site>, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert("x-staith-release", site.release);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A second wall behind the escaping: even if markup got into the page, a browser would run no script.
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'"),
    );
    response
}

async fn show(State(site): State<Site>) -> Result<Response, Failure> {
    site.page(StatusCode::OK, &Draft::default(), None).await
}

async fn sign(State(site): State<Site>, Form(draft): Form<Draft>) -> Result<Response, Failure> {
    match site.sign(&draft).await {
        // So that reloading the page does not sign again.
        Ok(_) => Ok(Redirect::to("/").into_response()),
        Err(failure) => site.page(failure.status, &draft, Some(&failure.message)).await,
    }
}

async fn list(State(site): State<Site>) -> Result<Response, ApiFailure> {
    Ok(Json(site.entries().await?).into_response())
}

async fn sign_as_json(
    State(site): State<Site>,
    draft: Result<Json<Draft>, JsonRejection>,
) -> Result<Response, ApiFailure> {
    let Json(draft) =
        draft.map_err(|wrong| Failure { status: wrong.status(), message: wrong.body_text() })?;
    let entry = site.sign(&draft).await?;
    Ok((StatusCode::CREATED, Json(entry)).into_response())
}

/// Healthy means that the book can be read, not only that the process answers.
async fn health(State(site): State<Site>) -> Result<&'static str, Failure> {
    site.entries().await.map(|_| "ok\n")
}

async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css"))
}

impl Site {
    async fn page(
        &self,
        status: StatusCode,
        draft: &Draft,
        problem: Option<&str>,
    ) -> Result<Response, Failure> {
        let entries = self.entries().await?;
        let release = self.release.to_str().unwrap_or_default();
        let page = Page { entries: &entries, draft, problem, release, now: now() };
        Ok((status, Html(page.render().into_string())).into_response())
    }

    async fn entries(&self) -> Result<Vec<Entry>, Failure> {
        let book = Arc::clone(&self.book);
        let entries = spawn_blocking(move || book.entries()).await.map_err(io::Error::other)?;
        Ok(entries?)
    }

    async fn sign(&self, draft: &Draft) -> Result<Entry, Failure> {
        let unprocessable = |refusal: crate::entry::Refusal| Failure {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            message: refusal.to_string(),
        };
        let entry = draft.accept(now()).map_err(unprocessable)?;
        let (book, written) = (Arc::clone(&self.book), entry.clone());
        spawn_blocking(move || book.write(written)).await.map_err(io::Error::other)??;
        Ok(entry)
    }
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

/// What went wrong, for the visitor; its cause goes to the log.
struct Failure {
    status: StatusCode,
    message: String,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        eprintln!("guestbook: the book can't be read: {error}");
        let message = "The book can't be read at the moment. Please try again later.".to_owned();
        Self { status: StatusCode::SERVICE_UNAVAILABLE, message }
    }
}

impl From<NotWritten> for Failure {
    fn from(error: NotWritten) -> Self {
        let status = match &error {
            NotWritten::Full => StatusCode::INSUFFICIENT_STORAGE,
            NotWritten::Io(cause) => {
                eprintln!("guestbook: the book can't be written: {cause}");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Self { status, message: error.to_string() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, format!("{}\n", self.message)).into_response()
    }
}

/// The same for programs.
struct ApiFailure(Failure);

impl From<Failure> for ApiFailure {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl IntoResponse for ApiFailure {
    fn into_response(self) -> Response {
        (self.0.status, Json(json!({ "error": self.0.message }))).into_response()
    }
}
