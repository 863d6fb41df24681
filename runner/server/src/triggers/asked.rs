//! Somebody asks for a run.

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use staith_model::service::{Arrived, Happening, Priority, Project, RunAsked};

use super::{ids, projects::allowed};
use crate::{
    api::{Answer, Body, Caller, Permission, Problem, Scope},
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
    let RunAsked { reference, settings, priority } = asked;
    may_go_first(&caller, &project, priority)?;
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
    let happening = Happening::Asked { reference, by, settings, priority };
    let new = NewArrival { id: ids::arrival(now), project: project.name, source: "api", delivery, happening };
    let arrivals = site.store.arrive(vec![new], now).await?;
    site.bells.arrivals.ring();
    Ok((StatusCode::ACCEPTED, Answer(Arrived { arrivals })))
}

/// Whoever may ask for runs may let others go first, and no more.
fn may_go_first(caller: &Caller, project: &Project, priority: Priority) -> Result<(), Problem> {
    if !priority.goes_before_others() {
        return Ok(());
    }
    caller.must(Permission::Release, Scope::Project(&project.name)).map_err(|refused| {
        refused
            .with_why(format!("a priority above 0 goes before what others of `{}` wait for, which is for releasers and administrators", project.name))
            .with_remedy("ask with a priority of 0 or less, or with the token of a releaser of the project")
    })
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
