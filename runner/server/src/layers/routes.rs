//! The addresses of layers: all of them are for attempts, about their own run and what they may read.

use axum::{
    Router,
    body::{Body as HttpBody, to_bytes},
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, put},
};
use serde::Deserialize;
use staith_model::{
    AttemptId, Digest, Name,
    service::{LARGEST_LAYER, LAYER_PIECE, StepCame, StepGiven, StreamState},
};
use tokio::task::spawn_blocking;

use super::ShelfError;
use crate::{
    api::{Answer, Body, Caller, Problem, Who},
    site::Site,
    store::StoreError,
};

/// The requests about layers.
pub fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/attempts/{attempt}/layer", put(send))
        .route("/api/v1/attempts/{attempt}/steps/{step}", put(note).get(of_run))
        .route("/api/v1/attempts/{attempt}/known/{key}", get(known))
        .route("/api/v1/attempts/{attempt}/layers/{blob}", get(give))
}

/// Where bytes belong.
#[derive(Debug, Deserialize)]
struct At {
    #[serde(default)]
    offset: u64,
}

/// `PUT …/layer?offset=…`: bytes of the layer that the attempt is sending. One at a time; at 0 it begins another one.
async fn send(
    State(site): State<Site>,
    caller: Caller,
    Path(attempt): Path<String>,
    Query(At { offset }): Query<At>,
    body: HttpBody,
) -> Result<Answer<StreamState>, Problem> {
    let attempt = own(&caller, &attempt)?;
    // Only now: who is not proven fills no memory.
    let piece = usize::try_from(LAYER_PIECE).unwrap_or(usize::MAX);
    let bytes = to_bytes(body, piece).await.map_err(|refused| {
        let title = format!("a piece has at most {LAYER_PIECE} bytes, or was not sent whole");
        Problem::new(413, "body-refused", title).with_why(refused.to_string())
    })?;
    if offset.saturating_add(bytes.len() as u64) > LARGEST_LAYER {
        return Err(Problem::new(
            413,
            "layer-too-large",
            format!("a layer has at most {LARGEST_LAYER} bytes"),
        ));
    }
    let shelf = site.layers.clone();
    let next = blocking(move || shelf.append(&attempt, offset, &bytes)).await??;
    Ok(Answer(StreamState { next, closed: None }))
}

/// `PUT …/steps/{step}`: what a step came to.
async fn note(
    State(site): State<Site>,
    caller: Caller,
    Path((attempt, step)): Path<(String, String)>,
    Body(given): Body<StepGiven>,
) -> Result<StatusCode, Problem> {
    let (attempt, step) = (own(&caller, &attempt)?, name(&step)?);
    let project = project(&caller)?;
    if let Some(layer) = given.came.layer {
        if layer.length > LARGEST_LAYER {
            return Err(Problem::new(
                413,
                "layer-too-large",
                format!("a layer has at most {LARGEST_LAYER} bytes"),
            ));
        }
        let (shelf, sender) = (site.layers.clone(), attempt.clone());
        let sent = blocking(move || shelf.sent(&sender, &layer)).await?;
        // Who names what another has sent must be one who may read it.
        let readable = sent.is_some() || site.store.layer_for(&attempt, &layer.blob).await?.is_some();
        let _held = site.layers.gate.lock().await;
        let (shelf, of) = (site.layers.clone(), project.clone());
        let is_there = blocking(move || match sent {
            Some(sent) => shelf.keep(&sent, &of, &layer.blob).map(|()| true),
            None => Ok(readable && shelf.has(&of, &layer)),
        });
        if !is_there.await?.map_err(ShelfError::from)? {
            return Err(no_such_layer());
        }
        noted(&site, &attempt, &step, given).await?;
    } else {
        let _held = site.layers.gate.lock().await;
        noted(&site, &attempt, &step, given).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Writes it down, and makes room for it. What was sent and then is not taken goes as well.
async fn noted(site: &Site, attempt: &AttemptId, step: &Name, given: StepGiven) -> Result<(), Problem> {
    site.store.note_step(attempt, step, given, site.clock.unix_millis()).await?;
    let gone = site.store.forget_steps(site.layers.caps).await?;
    let (shelf, attempt) = (site.layers.clone(), attempt.clone());
    blocking(move || {
        shelf.drop_all(&gone);
        shelf.forget(&attempt);
    })
    .await
}

/// `GET …/steps/{step}`: what a step of the same run came to.
async fn of_run(
    State(site): State<Site>,
    caller: Caller,
    Path((attempt, step)): Path<(String, String)>,
) -> Result<Answer<StepCame>, Problem> {
    let (attempt, step) = (own(&caller, &attempt)?, name(&step)?);
    let found = site.store.step_of_run(&attempt, &step).await?;
    found.map(Answer).ok_or_else(|| unknown("step", step.as_str()))
}

/// `GET …/known/{key}`: what a step with this key came to, in a run whose word counts for this one.
async fn known(
    State(site): State<Site>,
    caller: Caller,
    Path((attempt, key)): Path<(String, String)>,
) -> Result<Answer<StepCame>, Problem> {
    let (attempt, key) = (own(&caller, &attempt)?, digest(&key)?);
    let found = site.store.step_known(&attempt, &key, site.clock.unix_millis()).await?;
    found.map(Answer).ok_or_else(|| unknown("key", &key.to_string()))
}

/// `GET …/layers/{blob}?offset=…`: bytes of a layer that the attempt may read.
async fn give(
    State(site): State<Site>,
    caller: Caller,
    Path((attempt, blob)): Path<(String, String)>,
    Query(At { offset }): Query<At>,
) -> Result<Response, Problem> {
    let (attempt, blob) = (own(&caller, &attempt)?, digest(&blob)?);
    let Some((project, _)) = site.store.layer_for(&attempt, &blob).await? else {
        return Err(unknown("layer", &blob.to_string()));
    };
    let shelf = site.layers.clone();
    let bytes = blocking(move || shelf.piece(&project, &blob, offset, LAYER_PIECE)).await??;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

fn own(caller: &Caller, attempt: &str) -> Result<AttemptId, Problem> {
    let attempt =
        attempt.parse().map_err(|bad: staith_model::NotAnId| Problem::new(400, "bad-id", bad.to_string()))?;
    caller.must_be(&attempt)?;
    Ok(attempt)
}

fn project(caller: &Caller) -> Result<Name, Problem> {
    match caller.who() {
        Who::Attempt { project, .. } => Ok(project.clone()),
        _ => Err(Problem::new(403, "not-the-attempt", "only the attempt itself may ask this")),
    }
}

fn name(text: &str) -> Result<Name, Problem> {
    text.parse().map_err(|_| Problem::new(400, "bad-name", "no step is called so"))
}

fn digest(text: &str) -> Result<Digest, Problem> {
    text.parse().map_err(|_| Problem::new(400, "bad-digest", "that is no digest"))
}

fn unknown(what: &'static str, name: &str) -> Problem {
    StoreError::Unknown { what, name: name.to_owned() }.into()
}

fn no_such_layer() -> Problem {
    Problem::new(409, "no-such-layer", "the bytes of the layer are not here")
        .with_remedy("send them with PUT …/layer, and say again what the step came to")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    spawn_blocking(work).await.map_err(|panicked| {
        tracing::error!(%panicked, "a layer can't be kept");
        Problem::new(500, "bug", "the server has a bug").with_remedy("its log says where")
    })
}

impl From<ShelfError> for Problem {
    fn from(error: ShelfError) -> Self {
        let text = error.to_string();
        match error {
            ShelfError::WrongOffset { next } => Self::new(409, "wrong-offset", text).with_next(next),
            ShelfError::NoSuchLayer => Self::new(404, "unknown", text),
            ShelfError::System(refused) if refused.kind() == std::io::ErrorKind::StorageFull => {
                StoreError::Full.into()
            }
            ShelfError::System(_) => Self::new(503, "layers-unavailable", text)
                .with_remedy("see to the server's directory and its disk"),
        }
    }
}
