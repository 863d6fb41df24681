//! A run's package becomes a release.

use std::collections::BTreeMap;

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use staith_model::{
    Digest, Event, EventKind, Name, Package, RunId, SourceOfRelease, TriggerKind,
    service::{
        Project, ReleaseAsked, ReleaseMaterial, ReleasePage, ReleaseSeen, ReleaseStanding, RunStanding, Trust,
    },
};
use staith_packager::{registry::names::Tag, store::Store as PackageStore};
use tokio::task::spawn_blocking;

use super::{named, waiting};
use crate::{
    api::{Answer, Asked, Body, Caller, Part, Permission, Problem, Scope},
    site::Site,
    store::{Actor, KeptRelease, NewRelease, RunMade, page},
    streams::StreamName,
    triggers::unplanned,
};

/// The longest log of events that is read for the packages in it, in bytes.
const LONGEST_EVENTS: u64 = 256 << 20;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/projects/{project}/releases", get(list).post(ask))
        .route("/api/v1/projects/{project}/releases/{release}", get(show))
}

async fn list(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
    Asked(part): Asked<Part<u64>>,
) -> Result<Answer<ReleasePage>, Problem> {
    let project = named("project", &project)?;
    caller.must(Permission::See, Scope::Project(&project))?;
    let kept = site.store.releases(&project).await?;
    let rest = kept.into_iter().map(|one| one.seen);
    let rest = rest.filter(|release| part.after.is_none_or(|after| release.number < after));
    let (releases, next) = page::cut(rest, part.most(), |release| release.number);
    Ok(Answer(ReleasePage { releases, next }))
}

async fn show(
    State(site): State<Site>,
    caller: Caller,
    Path((project, release)): Path<(String, String)>,
) -> Result<Answer<ReleaseSeen>, Problem> {
    let project = named("project", &project)?;
    caller.must(Permission::See, Scope::Project(&project))?;
    let kept = site.store.releases(&project).await?;
    let found = kept.into_iter().find(|one| one.seen.is_called(&release));
    found.map(|one| Answer(one.seen)).ok_or_else(|| unknown(&release))
}

/// The release that is meant by this, once it is made, and its digest. Of several, the newest.
///
/// # Errors
/// There is none, or it is not made.
pub(super) async fn made(site: &Site, project: &Name, text: &str) -> Result<(KeptRelease, Digest), Problem> {
    let kept = site.store.releases(project).await?;
    let mut meant = kept.into_iter().filter(|one| match text {
        "latest" => one.seen.state == ReleaseStanding::Made,
        text => one.seen.is_called(text),
    });
    // The newest comes first.
    let release = meant.next().ok_or_else(|| unknown(text))?;
    let seen = &release.seen;
    let Some(digest) = seen.digest.filter(|_| seen.state == ReleaseStanding::Made) else {
        let problem = Problem::new(409, "not-made", format!("release {} is not made", seen.number));
        return Err(match &seen.why {
            Some(why) => problem.with_why(why.clone()),
            None => problem.with_why("the deployer has not made it yet"),
        });
    };
    Ok((release, digest))
}

fn unknown(release: &str) -> Problem {
    Problem::new(404, "unknown", format!("there is no release `{}`", release.escape_debug()))
        .with_remedy("`staith server release list` shows those that there are; `create` makes one of a run")
}

async fn ask(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
    Body(asked): Body<ReleaseAsked>,
) -> Result<(StatusCode, Answer<ReleaseSeen>), Problem> {
    let project = named("project", &project)?;
    caller.must(Permission::Release, Scope::Project(&project))?;
    let made = site.store.run_made(&asked.run).await?;
    if made.project != project {
        return Err(Problem::new(404, "unknown", format!("{project} has no run {}", asked.run)));
    }
    let (seen, order) = release_of(&site, &asked.run, made, asked.package.as_ref(), caller.actor()).await?;
    let Some(order) = order else { return Ok((StatusCode::OK, Answer(seen))) };
    let (status, _) = waiting::answered(&site, order).await?;
    let kept = site.store.releases(&project).await?;
    let now = kept.into_iter().find(|one| one.seen.number == seen.number).map_or(seen, |one| one.seen);
    Ok((if status == StatusCode::OK { StatusCode::CREATED } else { status }, Answer(now)))
}

/// Writes a release of a run down, and the order to make it.
///
/// # Errors
/// The run has not passed, or made no such package; or its pipeline file can't be had.
pub(super) async fn release_of(
    site: &Site,
    run: &RunId,
    made: RunMade,
    package: Option<&Name>,
    by: Actor,
) -> Result<(ReleaseSeen, Option<u64>), Problem> {
    if made.state != RunStanding::Passed {
        let what = format!("run {run} has not passed");
        return Err(Problem::new(409, "not-passed", what)
            .with_why(format!("it is {}", made.state.as_str()))
            .with_remedy("release a run that has passed"));
    }
    if made.trust == Trust::Fork {
        return Err(Problem::new(403, "not-trusted", "what a fork's code has made is not released"));
    }
    let project = site.store.project(&made.project).await?;
    let project = project.ok_or_else(|| Problem::new(404, "unknown", "the project was removed"))?;
    let package = chosen(packages(site, run).await?, package)?;
    let trust = trust(site, &project.name, &package).await?.min(made.trust);
    let (pipeline, inventories) = recipe(site, &project, &made).await?;
    let committed_at = committed_at(site, &project, &made).await;
    let material = ReleaseMaterial {
        number: 0,
        package: package.name.clone(),
        version: package.version.clone(),
        digest: package.digest,
        source: SourceOfRelease { committed_at, ..source(&made) },
        pipeline,
        inventories,
    };
    let new = NewRelease { project: project.name, run: run.clone(), package, trust, material };
    let added = site.store.add_release(new, by, site.clock.unix_millis()).await?;
    site.bells.orders.ring();
    Ok(added)
}

/// What a pull request's branch is called was chosen by whoever asks for the merge.
fn source(made: &RunMade) -> SourceOfRelease {
    let trigger = &made.plan.trigger;
    SourceOfRelease {
        commit: made.commit.clone(),
        branch: trigger.branch.clone().filter(|_| trigger.kind != TriggerKind::PullRequest),
        dirty: made.plan.source.dirty,
        committed_at: None,
        trust: None,
    }
}

/// When the run's commit was made; nothing where nobody can tell, which keeps nothing from being released.
async fn committed_at(site: &Site, project: &Project, made: &RunMade) -> Option<u64> {
    let commit = made.commit.clone()?;
    let known = site.triggers.planner.committed_at(&project.origin, std::slice::from_ref(&commit)).await;
    known.ok()?.remove(&commit)
}

/// The pipeline file of the run's commit, and the files beside it that name machines: both as the commit has them, whatever becomes of
/// its branch.
async fn recipe(
    site: &Site,
    project: &Project,
    made: &RunMade,
) -> Result<(String, BTreeMap<String, String>), Problem> {
    let commit = made.commit.as_deref().ok_or_else(|| {
        Problem::new(409, "no-commit", "the run was of no commit, so nobody can say what it is released by")
    })?;
    let planner = &site.triggers.planner;
    let pipeline = planner.pipeline(&project.origin, commit).await.map_err(unplanned)?;
    Ok((pipeline, planner.inventories(&project.origin, commit).await.map_err(unplanned)?))
}

/// What the run's attempts that passed say that they made.
async fn packages(site: &Site, run: &RunId) -> Result<Vec<Package>, Problem> {
    let (_, streams) = site.store.streams_of(run).await?;
    let mut found: Vec<Package> = Vec::new();
    for stream in streams.iter().filter(|stream| stream.name == StreamName::Events) {
        // A try that was given up was followed by another.
        if streams.iter().any(|other| other.job == stream.job && other.number > stream.number) {
            continue;
        }
        let bytes = site.streams.whole(&stream.attempt, &stream.name, LONGEST_EVENTS).await?;
        for line in bytes.split(|byte| *byte == b'\n') {
            if let Ok(Event { what: EventKind::PackageMade { package, .. }, .. }) =
                serde_json::from_slice(line)
            {
                found.retain(|one| one.name != package.name);
                found.push(package);
            }
        }
    }
    Ok(found)
}

fn chosen(made: Vec<Package>, wanted: Option<&Name>) -> Result<Package, Problem> {
    let names: Vec<&str> = made.iter().map(|package| package.name.as_str()).collect();
    let told = names.join(", ");
    let several = made.len() > 1;
    let mut fitting = made.into_iter().filter(|package| wanted.is_none_or(|wanted| package.name == *wanted));
    match (fitting.next(), wanted) {
        (Some(_), None) if several => {
            Err(Problem::new(422, "several-packages", "the run made several packages")
                .with_why(format!("they are {told}"))
                .with_remedy("say which: --package NAME"))
        }
        (Some(package), _) => Ok(package),
        (None, _) => {
            let why = if told.is_empty() { "it made none".to_owned() } else { format!("it made {told}") };
            Err(Problem::new(409, "no-package", "the run made no such package").with_why(why))
        }
    }
}

/// How far the package may be believed that the project's store has under this name, which must be the one that the run made.
async fn trust(site: &Site, project: &Name, package: &Package) -> Result<Trust, Problem> {
    let (place, wanted) = (site.packages.place(project), package.clone());
    let looking = spawn_blocking(move || {
        let store = PackageStore::open(&place).map_err(|bad| bad.to_string())?;
        let published = store.find(&wanted.name, &wanted.version).map_err(|bad| bad.to_string())?;
        let tag = Tag::of_version(&wanted.version);
        let manifest = store.tagged(&wanted.name, tag.as_str()).map_err(|bad| bad.to_string())?;
        let is_it = published.is_some_and(|published| published.package.digest == wanted.digest);
        Ok::<_, String>(manifest.filter(|_| is_it))
    });
    let found = looking.await.unwrap_or_else(|panicked| Err(panicked.to_string())).map_err(|why| {
        tracing::error!(%project, why, "the packages of a project can't be read");
        Problem::new(503, "no-packages", "the packages of the project can't be read")
    })?;
    let Some(manifest) = found else {
        let what =
            format!("{} {} is not in the project's store as the run made it", package.name, package.version);
        return Err(Problem::new(409, "no-package", what)
            .with_remedy("it may have been removed; run the commit again"));
    };
    Ok(site.store.trust_of(project, &package.name, &manifest).await?)
}
