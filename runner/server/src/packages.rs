//! The server's packages, by the protocol of OCI registries: podman, skopeo, oras and `staith push` and `staith pull` speak it.
//!
//! Each project has a store of its own, so a package `app` of the project `shop` is the repository `shop/app`, and what one project
//! has gives nobody a right to it in another. Clients sign in with a token as the password of any user, or as `Bearer`.
//!
//! | who | may pull | may push |
//! |---|---|---|
//! | nobody | no | no |
//! | a person or their program | who may see the project | who may publish in it |
//! | the server's deployer | yes | no |
//! | an attempt of the project | yes | versions, while it counts; channels too if its code is protected; nothing if it is a fork's |
//!
//! With each manifest that is pushed it is written down, before it is published, how far its maker is trusted. Answers about a manifest
//! say so in the header `staith-trust`, and by a channel, `latest` among them, nothing is had that is not of protected code.
//!
//! 1. `sign_in`: who asks, and what they may. 2. `rewrite`: between the addresses of the server and those of one project's store.
//!    3. `vouched`: whose code made what is read. 4. `precedence`: who goes before whom where two want one version.

mod precedence;
mod rewrite;
mod sign_in;
mod vouched;

use std::{
    collections::HashMap,
    path::{Path as FilePath, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, Query, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::any,
};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use staith_model::{Digest, Name, Version, service::Trust};
use staith_packager::{
    registry::{
        self, Options,
        access::Open,
        names::{Reference, Tag},
    },
    store::Store as PackageStore,
};
use tokio::task::spawn_blocking;

use crate::{
    api::{Permission, Problem, Scope, Who},
    site::Site,
    store::{Actor, Pushed},
};

/// The longest manifest; the specification wants as much.
const LONGEST_MANIFEST: usize = 4 << 20;

/// The stores of projects that were opened. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shelves {
    dir: PathBuf,
    opened: Arc<Mutex<HashMap<Name, Shelf>>>,
}

/// A project's store, and its requests.
#[derive(Debug, Clone)]
struct Shelf {
    store: Arc<PackageStore>,
    router: Router,
}

impl Shelves {
    /// Stores below `data`/`packages`, one for each project.
    pub fn below(data: &FilePath) -> Self {
        Self { dir: data.join("packages"), opened: Arc::default() }
    }

    /// Where a project's packages are; a store that `staith_packager::store::Store` opens.
    pub fn place(&self, project: &Name) -> PathBuf {
        self.dir.join(project.as_str())
    }

    async fn of(&self, project: &Name) -> Result<Shelf, String> {
        let lock = || self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shelf) = lock().get(project) {
            return Ok(shelf.clone());
        }
        let place = self.place(project);
        let opening = spawn_blocking(move || PackageStore::open(&place));
        let store = Arc::new(opening.await.map_err(|bad| bad.to_string())?.map_err(|bad| bad.to_string())?);
        let options = Options { largest_manifest: LONGEST_MANIFEST, ..Options::default() };
        // Who may do what was decided before a request comes here.
        let shelf: Arc<PackageStore> = Arc::clone(&store);
        let router = registry::router(shelf, Arc::new(Open), options);
        Ok(lock().entry(project.clone()).or_insert(Shelf { store, router }).clone())
    }
}

/// The requests of registries' clients.
pub fn routes() -> Router<Site> {
    Router::new().route("/v2", any(look)).route("/v2/", any(look)).route("/v2/{project}/{*rest}", any(answer))
}

/// Clients ask this first, to find out how to sign in.
async fn look(State(site): State<Site>, headers: HeaderMap) -> Response {
    match sign_in::who(&site, &headers).await {
        Err(problem) => unavailable(&problem),
        Ok(Who::Nobody) => sign_in::first(),
        Ok(_) => ([(header::CONTENT_TYPE, "application/json")], "{}").into_response(),
    }
}

async fn answer(
    State(site): State<Site>,
    Path((project, rest)): Path<(String, String)>,
    request: Request,
) -> Response {
    match obey(&site, &project, &rest, request).await {
        Ok(response) | Err(response) => response,
    }
}

/// What is wanted, as far as it is about a manifest's reference.
fn reference(rest: &str) -> Option<(&str, &str)> {
    let (name, reference) = rest.split_once("/manifests/")?;
    Some((name, reference))
}

async fn obey(site: &Site, project: &str, rest: &str, request: Request) -> Result<Response, Response> {
    let who = sign_in::who(site, request.headers()).await.map_err(|problem| unavailable(&problem))?;
    if who == Who::Nobody {
        return Err(sign_in::first());
    }
    let project: Name = project.parse().map_err(|_| unknown(project))?;
    let pushes = !matches!(*request.method(), Method::GET | Method::HEAD) || rest.contains("/blobs/uploads");
    let allowed = if pushes { sign_in::must_push } else { sign_in::must_pull };
    allowed(&who, &project).map_err(sign_in::denied)?;
    if !site.store.knows_project(&project).await.map_err(|error| unavailable(&error.into()))? {
        return Err(unknown(project.as_str()));
    }
    let shelf = site.packages.of(&project).await.map_err(|why| {
        tracing::error!(%project, why, "the packages of a project can't be opened");
        refused(StatusCode::SERVICE_UNAVAILABLE, "UNKNOWN", "the packages of the project can't be opened")
    })?;
    let request = match reference(rest) {
        Some((name, which)) if *request.method() == Method::PUT => {
            let (name, which) = (name.to_owned(), which.to_owned());
            let (request, pushed, versions) = noted(site, &who, &project, (&name, &which), request).await?;
            precedence::make_way(site, &shelf.store, &pushed, versions).await?;
            request
        }
        _ => request,
    };
    let reads = matches!(*request.method(), Method::GET | Method::HEAD).then(|| reference(rest)).flatten();
    let request = match reads {
        Some((name, Tag::LATEST)) => {
            let newest = vouched::latest(site, &project, name, Arc::clone(&shelf.store)).await?;
            rewrite::to(&format!("{name}/manifests/{newest}"), request)
        }
        _ => rewrite::inwards(&project, rest, request),
    };
    let answered = TowerToHyperService::new(shelf.router).call(request).await;
    let mut response = match answered {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if let Some((name, which)) = reads
        && response.status().is_success()
    {
        vouched::told(site, &project, (name, which), response.headers_mut()).await?;
    }
    rewrite::outwards(&project, response.headers_mut());
    Ok(response)
}

/// A request that publishes a manifest, once it is written down whose it is; that, and the versions that it is to have.
async fn noted(
    site: &Site,
    who: &Who,
    project: &Name,
    (name, which): (&str, &str),
    request: Request,
) -> Result<(Request, Pushed, Vec<Version>), Response> {
    let bad = |why: &str| refused(StatusCode::BAD_REQUEST, "NAME_INVALID", why);
    let name: Name = name.parse().map_err(|_| bad("names of packages have no `/`"))?;
    let which: Reference = which.parse().map_err(|_| bad("this is no tag and no digest"))?;
    let (attempt, trust) = match who {
        Who::Attempt { attempt, trust, .. } => (Some(attempt.clone()), *trust),
        // That somebody who may publish stands for it is what publishing means.
        _ => (None, Trust::Protected),
    };
    let is_version = |tag: &str| tag.parse::<Tag>().is_ok_and(|tag| tag.reads_as_version());
    let Ok(Query(query)) = Query::<Vec<(String, String)>>::try_from_uri(request.uri()) else {
        return Err(bad("what follows `?` can't be read"));
    };
    // A manifest that is pushed by its digest may get tags as well.
    let more = query.iter().filter(|(key, _)| key == "tag").map(|(_, tag)| tag.as_str());
    let own = match &which {
        Reference::Tag(tag) => Some(tag.as_str()),
        Reference::Digest(_) => None,
    };
    let tags: Vec<&str> = own.into_iter().chain(more).collect();
    if trust < Trust::Protected && !tags.iter().copied().all(is_version) {
        return Err(sign_in::denied(
            "channels are moved by runs of protected branches and by people who may publish",
        ));
    }
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, LONGEST_MANIFEST).await.map_err(|_| {
        refused(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", "the manifest is longer than 4 MiB")
    })?;
    let by = Actor { who: sign_in::shown(who), from: None };
    let (project, manifest) = (project.clone(), Digest::of(&bytes));
    let pushed = Pushed { project, name, manifest, attempt, trust, by };
    let noted = site.store.note_push(pushed.clone(), site.clock.unix_millis()).await;
    noted.map_err(|error| unavailable(&error.into()))?;
    let versions = tags.iter().filter_map(|tag| tag.parse::<Tag>().ok()?.version()).collect();
    Ok((Request::from_parts(parts, Body::from(bytes)), pushed, versions))
}

/// An answer as clients of registries understand it.
fn refused(status: StatusCode, code: &str, message: &str) -> Response {
    let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, kind, body.to_string()).into_response()
}

fn unknown(project: &str) -> Response {
    let project: String = project.chars().take(80).collect();
    let message = format!("there is no project `{}`; a package is PROJECT/NAME", project.escape_debug());
    refused(StatusCode::NOT_FOUND, "NAME_UNKNOWN", &message)
}

fn unavailable(problem: &Problem) -> Response {
    let details = problem.details();
    let status = StatusCode::from_u16(details.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let code = if status.is_server_error() { "UNKNOWN" } else { "DENIED" };
    refused(status, code, &details.title)
}

/// Whether a person may do something in a project.
fn may(who: &Who, permission: Permission, project: &Name) -> bool {
    crate::api::allows(who, permission, Scope::Project(project))
}
