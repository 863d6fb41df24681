//! Clocks that start runs: those of a project's settings, and the one of its pipeline. After an hour or a year in which the server was
//! down, a schedule is due once, not as often as it was missed.

use std::time::Duration;

use jiff::Timestamp;
use staith_model::{
    Name,
    service::{Happening, Project},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{cron::Cron, ids, planner::Unplanned};
use crate::{
    site::Site,
    store::{NewArrival, StoreError},
};

/// How often clocks are looked at. Schedules are due at whole minutes.
const ROUND: Duration = Duration::from_secs(1);
/// Pipelines that are read at once: each may fetch.
const AT_ONCE: usize = 4;
/// What the schedule of a pipeline itself is called, among those of the project's settings.
pub const OWN: &str = "runner.toml";

/// [`OWN`] as a name.
pub(super) fn own() -> Name {
    #[expect(clippy::expect_used, reason = "the literal is a name")]
    OWN.parse().expect("a name")
}

pub(super) async fn run(site: &Site, stop: &CancellationToken) {
    let mut reading = JoinSet::new();
    loop {
        match site.store.projects().await {
            Ok(projects) => {
                site.triggers.clocks.keep(&projects);
                for project in &projects {
                    if reading.len() < AT_ONCE && site.triggers.clocks.begins(project, site.clock.steady()) {
                        let (site, project) = (site.clone(), project.clone());
                        reading.spawn(async move { read_begun(&site, &project).await });
                    }
                    if let Err(error) = look(site, project).await {
                        tracing::error!(%error, project = %project.name, "its schedules can't be looked at");
                    }
                }
            }
            Err(error) => tracing::error!(%error, "projects can't be read"),
        }
        while reading.try_join_next().is_some() {}
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ROUND) => {}
        }
    }
}

/// Reads what a project's pipeline says of clocks, if that may be otherwise than it was read last.
pub async fn read(site: &Site, project: &Project) {
    if site.triggers.clocks.begins(project, site.clock.steady()) {
        read_begun(site, project).await;
    }
}

async fn read_begun(site: &Site, project: &Project) {
    let name = &project.name;
    let found = site.triggers.planner.own_schedule(&project.origin).await;
    let found = found.and_then(|schedule| match &schedule {
        Some(own) => times(&own.cron, &own.time_zone).map(|_| schedule).map_err(bad_schedule),
        None => Ok(None),
    });
    match &found {
        Ok(Some(_)) => {}
        Ok(None) | Err(Unplanned::Refused { .. }) => {
            if let Err(error) = forget(site, name).await {
                tracing::error!(%error, project = %name, "that it has no schedule any more can't be written down");
            }
        }
        Err(Unplanned::NotNow { .. }) => {}
    }
    if let Err(error) = &found {
        tracing::warn!(%error, project = %name, "the pipeline's own schedule can't be read");
    }
    site.triggers.clocks.ends(project, found, site.clock.steady());
}

fn bad_schedule(why: String) -> Unplanned {
    let what = "`[on.schedule]` of the pipeline can't work".to_owned();
    Unplanned::Refused { what, why: Some(why), remedy: None }
}

/// A pipeline without a schedule: what would have come due meanwhile is not missed, should it have one again.
async fn forget(site: &Site, project: &Name) -> Result<(), StoreError> {
    if site.store.looked(project, &own()).await?.is_none() {
        return Ok(());
    }
    site.store.forget(project, &own()).await
}

/// Looks at the schedules of a project, and writes down those that came due.
///
/// # Errors
/// The store failed; it is looked at again.
pub async fn look(site: &Site, project: &Project) -> Result<(), StoreError> {
    for schedule in &project.settings.schedules {
        let cron = std::slice::from_ref(&schedule.cron);
        let clock = Clock::new(&schedule.name, &schedule.branch, cron, &schedule.time_zone);
        look_at(site, &project.name, clock).await?;
    }
    let Some(found) = site.triggers.clocks.of(&project.name).filter(|found| found.not.is_none()) else {
        return Ok(());
    };
    look_at(site, &project.name, Clock::new(&own(), &found.branch, &found.cron, &found.time_zone)).await
}

/// One clock, wherever it was set.
struct Clock<'a> {
    name: &'a Name,
    branch: &'a str,
    times: Vec<Cron>,
}

impl<'a> Clock<'a> {
    /// What can't work is not kept; should some be there, it is never due.
    fn new(name: &'a Name, branch: &'a str, cron: &[String], zone: &str) -> Self {
        Self { name, branch, times: times(cron, zone).unwrap_or_default() }
    }

    /// When it was due last.
    fn due(&self, now: u64) -> Option<u64> {
        let until = Timestamp::from_millisecond(i64::try_from(now).ok()?).ok()?;
        let last = self.times.iter().filter_map(|cron| cron.last_until(until)).max()?;
        u64::try_from(last.as_millisecond()).ok()
    }
}

fn times(cron: &[String], zone: &str) -> Result<Vec<Cron>, String> {
    cron.iter().map(|cron| Cron::parse(cron, zone)).collect()
}

async fn look_at(site: &Site, project: &Name, clock: Clock<'_>) -> Result<(), StoreError> {
    let now = site.clock.unix_millis();
    let Some(looked) = site.store.looked(project, clock.name).await? else {
        // What was due before there was the schedule is not missed.
        return site.store.look(project, clock.name, None, now).await;
    };
    // Nothing is due within the same minute twice, nor when the clock was put back.
    if now / MINUTE <= looked / MINUTE {
        return Ok(());
    }
    let due = clock.due(now).filter(|due| *due > looked);
    let arrival = due.map(|due| {
        let (name, branch) = (clock.name.to_string(), clock.branch.to_owned());
        let delivery = format!("{name} {due}");
        let happening = Happening::Schedule { name, branch, due };
        NewArrival {
            id: ids::arrival(now),
            project: project.clone(),
            source: "schedule",
            delivery,
            happening,
        }
    });
    let rings = arrival.is_some();
    site.store.look(project, clock.name, arrival, now).await?;
    if rings {
        site.bells.arrivals.ring();
    }
    Ok(())
}

const MINUTE: u64 = 60_000;
