//! Nobody told: branches and tags are compared with what was seen of them. When the server starts, for all projects; afterwards now and
//! then, since a hook may not have reached the server. References are compared and nothing else, which costs little.

use std::{collections::BTreeMap, time::Duration};

use staith_model::{
    ArrivalId, Name,
    service::{Project, ProjectSettings},
};
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
/// A project that could not be compared is tried again after so long, whether it is polled or not.
const AGAIN: Duration = Duration::from_secs(60);
/// How often is compared if a project's settings say nothing.
const USUALLY: Duration = Duration::from_secs(5 * 60);
/// The same where the forge's webhooks tell: polling finds only what they did not reach the server with.
const WITH_WEBHOOKS: Duration = Duration::from_secs(30 * 60);

/// The comparing of a project, since the server started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    /// It has begun.
    Begun,
    /// It ended at this moment of the steady clock.
    Ended { at: Duration, went_well: bool, chance: u8 },
}

/// Whether a project is to be compared now. Pure.
fn is_due(settings: &ProjectSettings, last: Option<Compared>, now: Duration) -> bool {
    match last {
        None => true,
        Some(Compared::Begun) => false,
        Some(Compared::Ended { at, went_well: false, .. }) => now >= at + AGAIN,
        Some(Compared::Ended { at, went_well: true, chance }) => {
            every(settings).is_some_and(|every| now >= at + about(every, chance))
        }
    }
}

/// How often a project is compared; never, if an administrator wants it so.
fn every(settings: &ProjectSettings) -> Option<Duration> {
    let has_webhooks = settings.forge.as_ref().is_some_and(|forge| forge.webhook_secret.is_some());
    match settings.poll_seconds {
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None if has_webhooks => Some(WITH_WEBHOOKS),
        None => Some(USUALLY),
    }
}

/// A tenth more or less, so that many projects are not compared at the same moment for ever.
fn about(every: Duration, chance: u8) -> Duration {
    every * 9 / 10 + every * u32::from(chance) / (5 * u32::from(u8::MAX))
}

fn chance() -> u8 {
    let mut byte = [u8::MAX / 2];
    // Without chance all are compared in the same rhythm, which does no harm.
    let _ = getrandom::fill(&mut byte);
    byte[0]
}

pub(super) async fn run(site: &Site, stop: &CancellationToken) {
    let (mut known, mut tasks) = (BTreeMap::<Name, Compared>::new(), JoinSet::new());
    loop {
        match site.store.projects().await {
            Ok(projects) => {
                known.retain(|name, _| projects.iter().any(|project| project.name == *name));
                begin(site, projects, &mut known, &mut tasks);
            }
            Err(error) => tracing::error!(%error, "projects can't be read"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            Some(ended) = tasks.join_next() => match ended {
                Ok((project, compared)) => drop(known.insert(project, compared)),
                Err(error) => {
                    tracing::error!(%error, "comparing a repository ended");
                    // Which one is not known; they are compared again.
                    known.retain(|_, last| *last != Compared::Begun);
                }
            },
            () = tokio::time::sleep(ROUND) => {}
        }
    }
}

fn begin(
    site: &Site,
    projects: Vec<Project>,
    known: &mut BTreeMap<Name, Compared>,
    tasks: &mut JoinSet<(Name, Compared)>,
) {
    let now = site.clock.steady();
    for project in projects {
        if !is_due(&project.settings, known.get(&project.name).copied(), now) || tasks.len() >= AT_ONCE {
            continue;
        }
        known.insert(project.name.clone(), Compared::Begun);
        let site = site.clone();
        tasks.spawn(async move {
            let went_well = poll(&site, &project).await.is_ok();
            (project.name, Compared::Ended { at: site.clock.steady(), went_well, chance: chance() })
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

#[cfg(test)]
mod tests {
    use staith_model::service::{ForgeKind, ForgeSettings};

    use super::*;

    fn polled(poll_seconds: Option<u64>) -> ProjectSettings {
        ProjectSettings { poll_seconds, ..ProjectSettings::default() }
    }

    /// After how many seconds a project that was compared well is due again, within a day.
    fn due_after(settings: &ProjectSettings, chance: u8) -> Option<u64> {
        let at = Duration::from_secs(1000);
        let last = Some(Compared::Ended { at, went_well: true, chance });
        (0..86_400).find(|after| is_due(settings, last, at + Duration::from_secs(*after)))
    }

    #[test]
    fn a_project_is_compared_now_and_then_unless_nobody_wants_it() {
        let forge = |webhook_secret| ForgeSettings {
            kind: ForgeKind::Github,
            url: None,
            repository: None,
            webhook_secret,
            status_secret: None,
        };
        let told = ProjectSettings { forge: Some(forge(Some("hook".to_owned()))), ..polled(None) };
        let not_told = ProjectSettings { forge: Some(forge(None)), ..polled(None) };
        for (settings, about) in
            [(polled(None), 300), (not_told, 300), (told.clone(), 1800), (polled(Some(60)), 60)]
        {
            let (first, last) = (due_after(&settings, 0).unwrap(), due_after(&settings, 255).unwrap());
            assert_eq!((first, last), (about * 9 / 10, about * 11 / 10), "{settings:?}");
        }
        assert_eq!(due_after(&polled(Some(0)), 0), None);
        assert_eq!(due_after(&ProjectSettings { poll_seconds: Some(10), ..told }, 0), Some(9));
    }

    #[test]
    fn at_the_start_all_are_compared_and_what_could_not_be_is_tried_again() {
        let (never, at) = (polled(Some(0)), Duration::from_secs(1000));
        assert!(is_due(&never, None, Duration::ZERO));
        assert!(!is_due(&polled(Some(5)), Some(Compared::Begun), Duration::MAX));
        let failed = Some(Compared::Ended { at, went_well: false, chance: 0 });
        assert!(!is_due(&polled(Some(5)), failed, at + AGAIN / 2), "who is away is not asked all the time");
        assert!(is_due(&never, failed, at + AGAIN));
    }
}
