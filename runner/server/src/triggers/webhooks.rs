//! What forges tell. Nothing of a body is parsed, and nothing is written down, before its signature was found to be right over the very
//! bytes that came.
//!
//! 1. `signature`: whether the project's forge sent it.
//! 2. `github`, `gitlab`, `gitea`: what it says. Pure. `shapes`: what two of them share.

mod gitea;
mod github;
mod gitlab;
mod shapes;
mod signature;

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, Request, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use futures_util::StreamExt as _;
use staith_model::{
    Digest, Name, Secret,
    service::{Arrived, ForgeKind, Happening},
};

use super::ids;
use crate::{
    api::{Answer, Problem},
    limits::{Memory, Taken},
    site::Site,
    store::NewArrival,
};

/// GitHub's own bound on what it sends, in bytes; the others send less.
const LONGEST: usize = 25 << 20;
/// A body that has not come within this time is not waited for. Forges give up after ten seconds themselves.
const SLOWEST: Duration = Duration::from_secs(30);
/// No forge calls anything by a longer name.
const LONGEST_NAME: usize = 200;

pub(super) fn routes() -> Router<Site> {
    let cap = DefaultBodyLimit::max(LONGEST);
    Router::new().route("/hooks/{project}/{forge}", post(told)).layer(cap)
}

async fn told(
    State(site): State<Site>,
    Path((project, forge)): Path<(String, String)>,
    request: Request,
) -> Result<(StatusCode, Answer<Arrived>), Problem> {
    let (parts, body) = request.into_parts();
    let kind = kind(&forge).ok_or_else(|| {
        Problem::new(
            404,
            "no-such-forge",
            format!("`{}` is no forge that is understood", forge.escape_debug()),
        )
        .with_remedy("forges are github, gitlab and gitea; Forgejo is told as gitea")
    })?;
    if !signature::is_claimed(kind, &parts.headers) {
        return Err(unsigned());
    }
    // Whether there is such a project is told by nothing: without its secret, all are alike.
    let (project, secret) = secret(&site, &project, kind).await?.ok_or_else(unsigned)?;
    let mut taken = Taken::default();
    let body = tokio::time::timeout(SLOWEST, whole(body, &site.guard.unproven, &mut taken)).await;
    let body = body.map_err(|_| Problem::new(408, "too-slow", "the body did not come in time"))??;
    if !signature::is_right(kind, &parts.headers, &body, &secret, site.clock.unix_millis()) {
        return Err(unsigned());
    }
    let happening = understood(kind, &parts.headers, &body)?;
    let now = site.clock.unix_millis();
    let delivery = delivery(kind, &parts.headers).unwrap_or_else(|| Digest::of(&body).to_string());
    let new = NewArrival { id: ids::arrival(now), project, source: kind.as_str(), delivery, happening };
    let arrivals = site.store.arrive(vec![new], now).await?;
    site.bells.arrivals.ring();
    Ok((StatusCode::ACCEPTED, Answer(Arrived { arrivals })))
}

/// All of a body, of which nobody knows yet who sends it.
async fn whole(body: Body, memory: &Memory, taken: &mut Taken) -> Result<Vec<u8>, Problem> {
    let refused = |why: String| {
        let what = format!("the body is longer than {LONGEST} bytes, or was not sent whole");
        Problem::new(413, "body-refused", what).with_why(why)
    };
    let (mut pieces, mut bytes) = (body.into_data_stream(), Vec::new());
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|broken| refused(broken.to_string()))?;
        if bytes.len() + piece.len() > LONGEST {
            return Err(refused("length limit exceeded".to_owned()));
        }
        memory.take(taken, bytes.len(), piece.len())?;
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

fn kind(text: &str) -> Option<ForgeKind> {
    let known = [ForgeKind::Github, ForgeKind::Gitlab, ForgeKind::Gitea];
    known.into_iter().find(|kind| kind.as_str() == text)
}

fn unsigned() -> Problem {
    Problem::new(401, "bad-signature", "the signature of this webhook is missing or wrong; nothing was looked at").with_remedy(
        "see that the project has this forge and `forge.webhook_secret`, and that the secret of that name is the one at the forge",
    )
}

/// The secret that a forge's webhooks for a project are signed with; `None` if there is none.
async fn secret(site: &Site, project: &str, kind: ForgeKind) -> Result<Option<(Name, Secret)>, Problem> {
    let Ok(name) = project.parse::<Name>() else { return Ok(None) };
    let Some(project) = site.store.project(&name).await? else { return Ok(None) };
    let forge = project.settings.forge.filter(|forge| forge.kind == kind);
    let Some(called) = forge.and_then(|forge| forge.webhook_secret) else { return Ok(None) };
    let value = site.triggers.secrets.value(&name, &called).await.map_err(|why| {
        tracing::error!(why, project = %name, "the secret of the project's webhooks can't be read");
        Problem::new(503, "secret-unreadable", "the server can't read the secret of this webhook now")
    })?;
    // An empty secret signs everything.
    Ok(value.filter(|value| !value.expose_to(str::is_empty)).map(|value| (name, value)))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn first<'a>(headers: &'a HeaderMap, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| header(headers, name))
}

fn delivery(kind: ForgeKind, headers: &HeaderMap) -> Option<String> {
    let names: &[&str] = match kind {
        ForgeKind::Github => &["x-github-delivery"],
        // The first two are the same whenever GitLab tries again; the last one is all that older versions have.
        ForgeKind::Gitlab => &["webhook-id", "idempotency-key", "x-gitlab-event-uuid"],
        ForgeKind::Gitea => &["x-gitea-delivery", "x-forgejo-delivery"],
    };
    first(headers, names).filter(|name| !name.is_empty() && name.len() <= LONGEST_NAME).map(str::to_owned)
}

fn understood(kind: ForgeKind, headers: &HeaderMap, body: &[u8]) -> Result<Happening, Problem> {
    let names: &[&str] = match kind {
        ForgeKind::Github => &["x-github-event"],
        ForgeKind::Gitlab => &["x-gitlab-event"],
        ForgeKind::Gitea => &["x-gitea-event", "x-forgejo-event"],
    };
    let bad = |why: String| {
        Problem::new(422, "bad-event", "the webhook was signed, and is not understood").with_why(why)
    };
    let event = first(headers, names).filter(|event| event.len() <= LONGEST_NAME);
    let event = event.ok_or_else(|| bad(format!("it has no header `{}`", names.first().unwrap_or(&""))))?;
    let happening = match kind {
        ForgeKind::Github => github::understood(event, body),
        ForgeKind::Gitlab => gitlab::understood(event, body),
        ForgeKind::Gitea => gitea::understood(event, body),
    };
    happening.map_err(bad)
}
