//! Nobody told: branches and tags are compared with what was seen of them. When the server starts, for all projects; afterwards as often
//! as a project wants it.

use std::{collections::BTreeMap, time::Duration};

use staith_model::{ArrivalId, Name, service::Project};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ids;
use crate::{
    site::Site,
    store::{Observed, StoreError},
};

/// How often is looked which projects are due.
const ROUND: Duration = Duration::from_secs(1);
/// Repositories that are compared at once: each may fetch.
const AT_ONCE: usize = 4;
/// A project that could not be compared when the server started is tried again after so long, whether it is polled or not.
const AGAIN: Duration = Duration::from_secs(60);

pub(super) async fn run(site: &Site, stop: &CancellationToken) {
    // When a project is due, by the steady clock. Who is not in it was never compared since the server started.
    let (mut due, mut tasks) = (BTreeMap::<Name, Option<Duration>>::new(), JoinSet::new());
    loop {
        match site.store.projects().await {
            Ok(projects) => {
                due.retain(|name, _| projects.iter().any(|project| project.name == *name));
                begin(site, projects, &mut due, &mut tasks);
            }
            Err(error) => tracing::error!(%error, "projects can't be read"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            Some(ended) = tasks.join_next() => match ended {
                Ok((project, next)) => drop(due.insert(project, next)),
                Err(error) => {
                    tracing::error!(%error, "comparing a repository ended");
                    // Which one is not known; they are compared again.
                    due.retain(|_, at| *at != Some(Duration::MAX));
                }
            },
            () = tokio::time::sleep(ROUND) => {}
        }
    }
}

fn begin(
    site: &Site,
    projects: Vec<Project>,
    due: &mut BTreeMap<Name, Option<Duration>>,
    tasks: &mut JoinSet<(Name, Option<Duration>)>,
) {
    let now = site.clock.steady();
    for project in projects {
        let is_due = match due.get(&project.name) {
            None => true,
            // Polling may have been switched on since.
            Some(None) => project.settings.poll_seconds.is_some(),
            Some(Some(at)) => *at <= now,
        };
        if !is_due || tasks.len() >= AT_ONCE {
            continue;
        }
        // Until it ends, it is not due again.
        due.insert(project.name.clone(), Some(Duration::MAX));
        let site = site.clone();
        tasks.spawn(async move {
            let went_well = poll(&site, &project).await.is_ok();
            let every = project.settings.poll_seconds.map(Duration::from_secs);
            let next = match (went_well, every) {
                (true, every) => every,
                (false, every) => Some(every.unwrap_or(AGAIN).max(AGAIN)),
            };
            (project.name, next.map(|after| site.clock.steady() + after))
        });
    }
}

/// Compares a project's repository with what was seen of it, and writes down what nobody told. Gives the new arrivals.
///
/// # Errors
/// In words; the server's log has them.
pub async fn poll(site: &Site, project: &Project) -> Result<Vec<ArrivalId>, String> {
    let began = site.clock.unix_millis();
    let now = site.triggers.planner.references(&project.origin).await.map_err(|error| {
        tracing::warn!(%error, project = %project.name, "the repository can't be compared with what was seen of it");
        error.to_string()
    })?;
    let observed = Observed { project: project.name.clone(), began, now, ids: ids::arrival };
    let new =
        site.store.observed(observed, site.clock.unix_millis()).await.map_err(|error: StoreError| {
            tracing::error!(%error, project = %project.name, "what the repository has can't be written down");
            error.to_string()
        })?;
    if !new.is_empty() {
        site.bells.arrivals.ring();
    }
    Ok(new)
}
