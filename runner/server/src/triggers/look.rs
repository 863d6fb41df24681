//! Arrivals are looked into: planned, and made runs of.
//!
//! A project's arrivals one after the other, several projects at once. Everything is done again after a crash: an arrival sets off one
//! run, whatever is asked of the store again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use staith_model::{
    Name,
    service::{Arrival, ArrivalState, Happening, Project, Trust},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    decide, ids,
    planner::{Outcome, Planned, Unplanned, Wanted},
    schedules,
};
use crate::{
    queue,
    site::Site,
    store::{Actor, Approval, Finding, Standing, StoreError, Told},
};

/// Projects that are looked into at once: each may fetch.
const AT_ONCE: usize = 4;
/// Arrivals of a project that are taken together.
const TOGETHER: u32 = 64;
/// How often is looked without anybody ringing: for those whose time comes, and after a failure of the store.
const ANYWAY: Duration = Duration::from_secs(2);
/// After so many tries an arrival that can't be looked into is refused: an hour and more.
const MOST_TRIES: u32 = 16;

pub(super) async fn run(site: &Site, stop: &CancellationToken) {
    let (mut bell, mut busy, mut tasks) =
        (site.bells.arrivals.listen(), BTreeSet::new(), JoinSet::<Name>::new());
    loop {
        match site.store.waiting(site.clock.unix_millis(), TOGETHER).await {
            Ok(waiting) => begin(site, waiting, &mut busy, &mut tasks),
            Err(error) => tracing::error!(%error, "arrivals can't be read; they are kept"),
        }
        tokio::select! {
            // Whatever is cut off is done again when the server starts.
            () = stop.cancelled() => return,
            () = bell.heard() => {}
            Some(ended) = tasks.join_next() => match ended {
                Ok(project) => drop(busy.remove(&project)),
                // A task that panicked can't say which project was its own; the others are found again at once.
                Err(error) => { tracing::error!(%error, "looking into arrivals ended"); busy.clear(); tasks.abort_all(); }
            },
            () = tokio::time::sleep(ANYWAY) => {}
        }
    }
}

fn begin(site: &Site, waiting: Vec<Arrival>, busy: &mut BTreeSet<Name>, tasks: &mut JoinSet<Name>) {
    let mut by_project: BTreeMap<Name, Vec<Arrival>> = BTreeMap::new();
    for arrival in waiting {
        by_project.entry(arrival.project.clone()).or_default().push(arrival);
    }
    for (project, arrivals) in by_project {
        if tasks.len() >= AT_ONCE || !busy.insert(project.clone()) {
            continue;
        }
        let site = site.clone();
        tasks.spawn(async move {
            look_into_all(&site, &project, &arrivals).await;
            project
        });
    }
}

/// Looks into all that waits and whose time has come, and ends when nothing does any more. Gives how many those were.
///
/// # Errors
/// The store failed.
pub async fn once(site: &Site) -> Result<usize, StoreError> {
    let mut many = 0;
    loop {
        let waiting = site.store.waiting(site.clock.unix_millis(), TOGETHER).await?;
        let Some(project) = waiting.first().map(|first| first.project.clone()) else { return Ok(many) };
        let its_own: Vec<Arrival> = waiting.into_iter().filter(|one| one.project == project).collect();
        many += its_own.len();
        look_into_all(site, &project, &its_own).await;
    }
}

/// Looks into arrivals of one project, in order.
pub(super) async fn look_into_all(site: &Site, project: &Name, arrivals: &[Arrival]) {
    let known = match site.store.project(project).await {
        Ok(known) => known,
        Err(error) => {
            return tracing::error!(%error, %project, "the project can't be read; its arrivals wait");
        }
    };
    for (place, arrival) in arrivals.iter().enumerate() {
        let finding = match &known {
            None => Ok(ignored("the project was removed")),
            Some(known) => match batched(known, arrival, arrivals.get(place + 1..).unwrap_or_default()) {
                Some(newer) => Ok(newer),
                None => look_into(site, known, arrival).await,
            },
        };
        let now = site.clock.unix_millis();
        let settled = match finding {
            Ok(finding) => site.store.settle(&arrival.id, finding, now).await,
            Err(error) => Err(error),
        };
        if let Err(error) = settled {
            tracing::error!(%error, arrival = %arrival.id, "the arrival waits, since the store failed");
        }
    }
    if arrivals
        .iter()
        .any(|arrival| matches!(arrival.happening, Happening::Push { .. } | Happening::Gone { .. }))
    {
        site.triggers.clocks.may_have_changed(project);
    }
    site.bells.jobs.ring();
    site.bells.outbox.ring();
}

fn ignored(why: impl Into<String>) -> Finding {
    Finding::Is(ArrivalState::Ignored, why.into(), None)
}

/// With several pushes to a branch waiting, only the newest is run where the project wants it so.
fn batched(project: &Project, arrival: &Arrival, later: &[Arrival]) -> Option<Finding> {
    let Happening::Push { branch, .. } = &arrival.happening else { return None };
    let is_newer = |later: &&Arrival| matches!(&later.happening, Happening::Push { branch: other, .. } if other == branch);
    let newer = later.iter().filter(|_| project.settings.batch_pushes).find(is_newer)?;
    Some(ignored(format!("a newer push to `{branch}` waits as well ({}): only the newest is run", newer.id)))
}

async fn look_into(site: &Site, project: &Project, arrival: &Arrival) -> Result<Finding, StoreError> {
    if let Some(run) = &arrival.run {
        return Ok(done(run.number));
    }
    match &arrival.happening {
        Happening::Gone { reference } => {
            return Ok(ignored(format!("`{reference}` is gone, which starts nothing")));
        }
        Happening::PullRequestClosed { number } => return closed(site, project, *number).await,
        Happening::Other { event } => return Ok(ignored(format!("`{event}` starts nothing"))),
        _ => {}
    }
    let wanted = Wanted {
        project: project.name.clone(),
        origin: project.origin.clone(),
        happening: arrival.happening.clone(),
        paths: None,
    };
    match site.triggers.planner.plan(&wanted).await {
        Ok(Outcome::Starts(planned)) => starts(site, project, arrival, *planned).await,
        Ok(Outcome::Not { why }) => Ok(ignored(why)),
        Err(unplanned) => not_planned(site, arrival, unplanned).await,
    }
}

/// Nobody waits for what a request that was closed would come to.
async fn closed(site: &Site, project: &Project, number: u64) -> Result<Finding, StoreError> {
    let why = format!("the request {number} was closed");
    for run in site.store.open_runs(&project.name, &decide::group_of_request(number)).await? {
        if let Err(problem) = queue::runs::cancel(site, &run, Actor::server(), why.clone()).await {
            tracing::warn!(?problem, %run, "the run of a request that was closed goes on");
        }
    }
    Ok(ignored(format!("{why}, which starts nothing and ends what was under way for it")))
}

fn done(number: u64) -> Finding {
    Finding::Is(ArrivalState::Done, format!("set off run {number}"), None)
}

async fn starts(
    site: &Site,
    project: &Project,
    arrival: &Arrival,
    planned: Planned,
) -> Result<Finding, StoreError> {
    if let Some(refused) = decide::refused_pool(project, &planned.jobs) {
        return not_planned(site, arrival, refused).await;
    }
    if let Some(held) = held(site, project, arrival, &planned).await? {
        return Ok(held);
    }
    let commit = planned.plan.source.commit.clone();
    let schedule = schedule_of(project, &arrival.happening, &planned);
    if let Some((name, true)) = &schedule
        && commit.is_some()
        && site.store.built(&project.name, name).await? == commit
    {
        return Ok(ignored(
            "nothing has changed since this schedule built last, and it builds only what has changed",
        ));
    }
    let now = site.clock.unix_millis();
    let run = decide::run(project, arrival, planned, ids::run(now));
    let number = site.store.add_run(run, now).await?;
    if let (Some((name, _)), Some(commit)) = (schedule, commit) {
        // Before it is settled: after a crash between, the run that is there settles it.
        site.store.builds(&project.name, &name, &commit).await?;
    }
    Ok(done(number))
}

/// The schedule that came due, and whether it is left out when nothing has changed.
fn schedule_of(project: &Project, happening: &Happening, planned: &Planned) -> Option<(Name, bool)> {
    let Happening::Schedule { name, .. } = happening else { return None };
    if name == schedules::OWN {
        return Some((schedules::own(), planned.unless_built));
    }
    let known = project.settings.schedules.iter().find(|schedule| schedule.name.as_str() == name)?;
    Some((known.name.clone(), known.only_if_changed))
}

/// A fork's request is run with the pipeline of the branch that it asks to go to. One that brings another waits until an
/// administrator has agreed to exactly this commit with exactly this file.
async fn held(
    site: &Site,
    project: &Project,
    arrival: &Arrival,
    planned: &Planned,
) -> Result<Option<Finding>, StoreError> {
    let Happening::PullRequest { number, head, target, .. } = &arrival.happening else { return Ok(None) };
    let (trust, _) = decide::trust(project, &arrival.happening, &planned.lineage);
    if trust != Trust::Fork || planned.target_pipeline == Some(planned.pipeline) {
        return Ok(None);
    }
    let (number, head, pipeline) = (*number, head.clone(), planned.pipeline);
    let approval = Approval { project: project.name.clone(), number, head: head.clone(), pipeline };
    if site.store.is_approved(&approval).await? {
        return Ok(None);
    }
    let why = format!("the request {number} comes from a fork and changes the pipeline of `{target}`");
    let remedy = format!(
        "look at its pipeline file, and agree to it: `staith project approve {} --pull-request {number} --head {head} \
         --pipeline {pipeline}`",
        project.name
    );
    Ok(Some(Finding::Is(ArrivalState::Held, why, Some(remedy))))
}

async fn not_planned(site: &Site, arrival: &Arrival, unplanned: Unplanned) -> Result<Finding, StoreError> {
    let now = site.clock.unix_millis();
    let (what, why, remedy) = match unplanned {
        Unplanned::NotNow { what, .. } if arrival.tries + 1 < MOST_TRIES => {
            tracing::warn!(arrival = %arrival.id, what, "it is looked into again later");
            return Ok(Finding::Again(now + patience_millis(arrival.tries), what));
        }
        Unplanned::NotNow { what, remedy } => (what, None, remedy),
        Unplanned::Refused { what, why, remedy } => (what, why, remedy),
    };
    let whole = match why {
        Some(why) => format!("{what}: {why}"),
        None => what.clone(),
    };
    if let Some(commit) = arrival.happening.commit() {
        let event = event_of(&arrival.happening).to_owned();
        let told = Told {
            commit: commit.to_owned(),
            state: Standing::Refused,
            description: what,
            event,
            number: None,
        };
        site.store.post(&arrival.project, &format!("arrival {}", arrival.id), &told, now).await?;
    }
    Ok(Finding::Is(ArrivalState::Refused, whole, remedy))
}

/// One second, then twice as long each time, five minutes at most.
fn patience_millis(tries: u32) -> u64 {
    const FIRST: u64 = 1000;
    const LONGEST: u64 = 5 * 60 * 1000;
    FIRST.saturating_mul(1 << tries.min(20)).min(LONGEST)
}

/// As plans call the event.
fn event_of(happening: &Happening) -> &'static str {
    match happening {
        Happening::Push { .. } => "push",
        Happening::Tag { .. } => "tag",
        Happening::PullRequest { .. } => "pull-request",
        Happening::Schedule { .. } => "schedule",
        _ => "local",
    }
}
