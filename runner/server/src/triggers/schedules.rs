//! Clocks that start runs. After an hour or a year in which the server was down, a schedule is due once, not as often as it was missed.

use std::time::Duration;

use jiff::Timestamp;
use staith_model::service::{Happening, Project, Schedule};
use tokio_util::sync::CancellationToken;

use super::{cron::Cron, ids};
use crate::{
    site::Site,
    store::{NewArrival, StoreError},
};

/// How often clocks are looked at. Schedules are due at whole minutes.
const ROUND: Duration = Duration::from_secs(1);

pub(super) async fn run(site: &Site, stop: &CancellationToken) {
    loop {
        match site.store.projects().await {
            Ok(projects) => {
                for project in &projects {
                    if let Err(error) = look(site, project).await {
                        tracing::error!(%error, project = %project.name, "its schedules can't be looked at");
                    }
                }
            }
            Err(error) => tracing::error!(%error, "projects can't be read"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ROUND) => {}
        }
    }
}

/// Looks at the schedules of a project, and writes down those that came due.
///
/// # Errors
/// The store failed; it is looked at again.
pub async fn look(site: &Site, project: &Project) -> Result<(), StoreError> {
    for schedule in &project.settings.schedules {
        look_at(site, project, schedule).await?;
    }
    Ok(())
}

async fn look_at(site: &Site, project: &Project, schedule: &Schedule) -> Result<(), StoreError> {
    let now = site.clock.unix_millis();
    let Some(looked) = site.store.looked(&project.name, &schedule.name).await? else {
        // What was due before there was the schedule is not missed.
        return site.store.look(&project.name, &schedule.name, None, now).await;
    };
    // Nothing is due within the same minute twice, nor when the clock was put back.
    if now / MINUTE <= looked / MINUTE {
        return Ok(());
    }
    let due = due(schedule, now).filter(|due| *due > looked);
    let arrival = due.map(|due| {
        let (name, branch) = (schedule.name.to_string(), schedule.branch.clone());
        let delivery = format!("{name} {due}");
        let happening = Happening::Schedule { name, branch, due };
        NewArrival {
            id: ids::arrival(now),
            project: project.name.clone(),
            source: "schedule",
            delivery,
            happening,
        }
    });
    let rings = arrival.is_some();
    site.store.look(&project.name, &schedule.name, arrival, now).await?;
    if rings {
        site.bells.arrivals.ring();
    }
    Ok(())
}

const MINUTE: u64 = 60_000;

/// When it was due last. Settings that can't work are not kept; should some be there, they are never due.
fn due(schedule: &Schedule, now: u64) -> Option<u64> {
    let until = Timestamp::from_millisecond(i64::try_from(now).ok()?).ok()?;
    let cron = Cron::parse(&schedule.cron, &schedule.time_zone).ok()?;
    u64::try_from(cron.last_until(until)?.as_millisecond()).ok()
}
