//! What would something set off, and why? Answered as if it had happened; nothing is written down.

use axum::{
    Router,
    extract::{Path, State},
    routing::post,
};
use staith_model::{
    RelPath,
    service::{ExplainAsked, Explanation, Happening, Project},
};

use super::{
    decide,
    planner::{Outcome, OwnSchedule, Unplanned, Wanted},
    projects::{allowed, problem},
    schedules,
};
use crate::{
    api::{Answer, Body, Caller, Permission, Problem},
    site::Site,
    store::Seen,
};

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/api/v1/projects/{project}/explain", post(explain))
}

async fn explain(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
    Body(asked): Body<ExplainAsked>,
) -> Result<Answer<Explanation>, Problem> {
    let project = allowed(&site, &caller, Permission::See, &project).await?;
    let paths = asked
        .paths
        .iter()
        .map(|path| RelPath::try_from(path.clone()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|bad| Problem::new(422, "bad-path", bad.to_string()))?;
    let seen = site.triggers.planner.references(&project.origin).await.map_err(problem)?;
    let own = match &asked {
        ExplainAsked { event, schedule, .. }
            if event == "schedule" && schedule.as_ref().is_none_or(|name| name == schedules::OWN) =>
        {
            site.triggers.planner.own_schedule(&project.origin).await.map_err(problem)?
        }
        _ => None,
    };
    let happening = supposed(&project, &asked, own.as_ref(), &seen)?;
    let wanted = Wanted {
        project: project.name.clone(),
        origin: project.origin.clone(),
        happening: happening.clone(),
        paths: (!paths.is_empty()).then_some(paths),
    };
    let nothing = |why| Explanation {
        starts: false,
        why,
        trust: None,
        trusted_because: None,
        plan: None,
        plan_digest: None,
        notices: Vec::new(),
    };
    let planned = match site.triggers.planner.plan(&wanted).await {
        Ok(Outcome::Starts(planned)) => planned,
        Ok(Outcome::Not { why }) => return Ok(Answer(nothing(why))),
        // A pipeline that can't work is an answer: it is what would happen.
        Err(Unplanned::Refused { what, why, .. }) => {
            let why = why.map_or_else(|| what.clone(), |why| format!("{what}: {why}"));
            return Ok(Answer(nothing(why)));
        }
        Err(not_now) => return Err(problem(not_now)),
    };
    let (trust, because) = decide::trust(&project, &happening, &planned.lineage);
    let group = decide::apart(project.settings.concurrency, &happening, &planned);
    let mut notices = planned.notices;
    if let (Some(group), newest) = group {
        let how = if newest { "a newer run of it ends this one" } else { "its runs go one after the other" };
        notices.push(format!("it is in the group `{group}` of runs that are trusted as far as it: {how}"));
    }
    if planned.unless_built {
        notices.push("if nothing has changed since this schedule built last, it is left out".to_owned());
    }
    Ok(Answer(Explanation {
        starts: true,
        why: planned.why,
        trust: Some(trust),
        trusted_because: Some(because),
        plan: Some(planned.plan),
        plan_digest: Some(planned.digest),
        notices,
    }))
}

/// What is asked about, as if it had happened to what is there now.
fn supposed(
    project: &Project,
    asked: &ExplainAsked,
    own: Option<&OwnSchedule>,
    seen: &[Seen],
) -> Result<Happening, Problem> {
    let missing = |what: &str| {
        Problem::new(422, "bad-event", format!("an event of the kind `{}` needs {what}", asked.event))
    };
    let at = |kind: &str, name: &str| {
        let whole = format!("refs/{kind}/{name}");
        let found = seen.iter().find(|one| one.reference == whole).map(|one| one.commit.clone());
        found.ok_or_else(|| {
            let what = format!("the repository has no `{}`", whole.escape_debug());
            Problem::new(422, "no-such-reference", what)
                .with_remedy("name one that is there: what it holds is what is asked about")
        })
    };
    match asked.event.as_str() {
        "push" => {
            let branch = asked.branch.clone().ok_or_else(|| missing("a branch"))?;
            let after = at("heads", &branch)?;
            Ok(Happening::Push { branch, before: None, after })
        }
        "tag" => {
            let tag = asked.tag.clone().ok_or_else(|| missing("a tag"))?;
            let commit = at("tags", &tag)?;
            Ok(Happening::Tag { tag, commit })
        }
        "pull-request" => {
            let branch = asked.branch.clone().ok_or_else(|| missing("the branch that it comes from"))?;
            let target = asked.target.clone().ok_or_else(|| missing("the branch that it asks to go to"))?;
            let head = at("heads", &branch)?;
            at("heads", &target)?;
            let (number, author, fork) = (0, 0, asked.fork);
            Ok(Happening::PullRequest { number, branch, head, target, fork, author, reference: None })
        }
        "schedule" => {
            if let Some(own) = own {
                let (name, branch) = (schedules::OWN.to_owned(), own.branch.clone());
                return Ok(Happening::Schedule { name, branch, due: 0 });
            }
            let wanted = "the name of one of the project's schedules: its pipeline has no `[on.schedule]`";
            let name = asked.schedule.clone().ok_or_else(|| missing(wanted))?;
            let known = project.settings.schedules.iter().find(|one| one.name.as_str() == name);
            let known = known.ok_or_else(|| missing(wanted))?;
            at("heads", &known.branch)?;
            Ok(Happening::Schedule { name, branch: known.branch.clone(), due: 0 })
        }
        other => Err(Problem::new(422, "bad-event", format!("`{}` is no event", other.escape_debug()))
            .with_remedy("events are push, tag, pull-request and schedule")),
    }
}
