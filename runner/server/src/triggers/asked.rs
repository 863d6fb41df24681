//! Somebody asks for a run.

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use staith_model::service::{Arrived, Happening, RunAsked};

use super::{ids, projects::allowed};
use crate::{
    api::{Answer, Body, Caller, Permission, Problem},
    site::Site,
    store::NewArrival,
};

/// Names the question: asked again with it, it is the same run.
const KEY: &str = "idempotency-key";
/// The longest name of a branch, tag or commit, in bytes, and of such a key.
const LONGEST: usize = 1024;

pub(super) fn routes() -> Router<Site> {
    // Under the address of a project's runs, which are listed by the queue.
    Router::new().route("/api/v1/projects/{project}/runs", post(ask))
}

async fn ask(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
    headers: HeaderMap,
    Body(asked): Body<RunAsked>,
) -> Result<(StatusCode, Answer<Arrived>), Problem> {
    let project = allowed(&site, &caller, Permission::Run, &project).await?;
    let RunAsked { reference, settings } = asked;
    if reference.is_empty()
        || reference.len() > LONGEST
        || reference.starts_with('-')
        || reference.contains(char::is_control)
    {
        return Err(Problem::new(
            422,
            "bad-reference",
            format!("`{}` is no branch, tag or commit", reference.escape_debug()),
        ));
    }
    let now = site.clock.unix_millis();
    let key = headers.get(KEY).and_then(|key| key.to_str().ok()).filter(|key| key.len() <= LONGEST);
    let by = caller.actor().who;
    let delivery = key.map_or_else(|| ids::delivery(now), |key| named(&by, key));
    let happening = Happening::Asked { reference, by, settings };
    let new = NewArrival { id: ids::arrival(now), project: project.name, source: "api", delivery, happening };
    let arrivals = site.store.arrive(vec![new], now).await?;
    site.bells.arrivals.ring();
    Ok((StatusCode::ACCEPTED, Answer(Arrived { arrivals })))
}

/// What somebody calls their question. Neither names nor keys have a line's end, so that nobody's is another's.
fn named(by: &str, key: &str) -> String {
    format!("{by}\n{key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_question_is_anothers() {
        assert_ne!(named("person:ann", "lee 1"), named("person:ann lee", "1"));
    }
}
