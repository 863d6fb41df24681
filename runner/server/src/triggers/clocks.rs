//! What the projects' own pipelines say of clocks, as the default branches had it when they were read. It is read when the server starts,
//! and again whenever something happened to a branch of the project: then the file may be another one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use staith_model::{Name, service::Project};

use super::planner::{OwnSchedule, Unplanned};

/// What could not be read is read again after so long.
const AGAIN: Duration = Duration::from_secs(60);

/// The own schedules of all projects. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Clocks(Arc<Mutex<BTreeMap<Name, Known>>>);

/// What is known of one project's.
#[derive(Debug, Clone, Default)]
struct Known {
    origin: String,
    schedule: Option<OwnSchedule>,
    is_being_read: bool,
    /// Whether something happened since the reading began.
    is_stale: bool,
    /// Since when it can't be read, by the steady clock.
    failed: Option<Duration>,
}

impl Known {
    fn is_due(&self, now: Duration) -> bool {
        let is_due_again = self.failed.is_some_and(|failed| now >= failed + AGAIN);
        !self.is_being_read && (self.is_stale || is_due_again)
    }
}

impl Clocks {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<Name, Known>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Something happened to a branch of the project.
    pub(super) fn may_have_changed(&self, project: &Name) {
        self.with(|all| {
            if let Some(known) = all.get_mut(project) {
                known.is_stale = true;
            }
        });
    }

    /// Forgets projects that are gone, or are others than before.
    pub(super) fn keep(&self, projects: &[Project]) {
        self.with(|all| {
            all.retain(|name, known| {
                projects.iter().any(|project| project.name == *name && project.origin == known.origin)
            });
        });
    }

    /// Whether a project's is to be read now; from here on it is being read.
    pub(super) fn begins(&self, project: &Project, now: Duration) -> bool {
        self.with(|all| {
            let known = all.entry(project.name.clone()).or_insert_with(|| Known {
                origin: project.origin.clone(),
                is_stale: true,
                ..Known::default()
            });
            let is_due = known.is_due(now);
            if is_due {
                (known.is_being_read, known.is_stale) = (true, false);
            }
            is_due
        })
    }

    /// It was read. A repository that is away keeps the schedule that it had; a file that makes no sense has none.
    pub(super) fn ends(
        &self,
        project: &Project,
        read: Result<Option<OwnSchedule>, Unplanned>,
        now: Duration,
    ) {
        self.with(|all| {
            let Some(known) = all.get_mut(&project.name) else { return };
            known.is_being_read = false;
            known.failed = None;
            match read {
                Ok(schedule) => known.schedule = schedule,
                Err(Unplanned::Refused { .. }) => known.schedule = None,
                Err(Unplanned::NotNow { .. }) => known.failed = Some(now),
            }
        });
    }

    /// What holds now, as far as it was read.
    pub(super) fn of(&self, project: &Name) -> Option<OwnSchedule> {
        self.with(|all| all.get(project)?.schedule.clone())
    }
}

#[cfg(test)]
mod tests {
    use staith_model::service::ProjectSettings;

    use super::*;

    fn project(origin: &str) -> Project {
        let settings = ProjectSettings::default();
        Project { name: "shop".parse().unwrap(), origin: origin.to_owned(), settings, created: 0 }
    }

    fn schedule() -> Option<OwnSchedule> {
        let (branch, cron) = ("main".to_owned(), vec!["0 3 * * *".to_owned()]);
        Some(OwnSchedule { branch, cron, time_zone: "UTC".to_owned(), not: None })
    }

    #[test]
    fn it_is_read_at_first_and_whenever_something_happened() {
        let (clocks, shop, now) = (Clocks::default(), project("/a"), Duration::from_secs(1000));
        assert!(clocks.begins(&shop, now) && !clocks.begins(&shop, now));
        // A push that comes while it is read may not be in what is read.
        clocks.may_have_changed(&shop.name);
        assert!(!clocks.begins(&shop, now));
        clocks.ends(&shop, Ok(schedule()), now);
        assert_eq!(clocks.of(&shop.name), schedule());
        assert!(clocks.begins(&shop, now));
        clocks.ends(&shop, Ok(schedule()), now);
        assert!(!clocks.begins(&shop, now + Duration::from_secs(86_400)), "nothing happened");
        let other = project("/b");
        clocks.keep(std::slice::from_ref(&other));
        assert_eq!(clocks.of(&shop.name), None, "it is another one now");
        assert!(clocks.begins(&other, now));
    }

    #[test]
    fn a_repository_that_is_away_keeps_its_schedule_and_a_broken_file_has_none() {
        let (clocks, shop, now) = (Clocks::default(), project("/a"), Duration::from_secs(1000));
        clocks.begins(&shop, now);
        clocks.ends(&shop, Ok(schedule()), now);
        clocks.may_have_changed(&shop.name);
        assert!(clocks.begins(&shop, now));
        clocks.ends(&shop, Err(Unplanned::NotNow { what: "away".to_owned(), remedy: None }), now);
        assert_eq!(clocks.of(&shop.name), schedule());
        assert!(!clocks.begins(&shop, now + AGAIN / 2) && clocks.begins(&shop, now + AGAIN));
        let refused = Unplanned::Refused { what: "no sense".to_owned(), why: None, remedy: None };
        clocks.ends(&shop, Err(refused), now);
        assert_eq!(clocks.of(&shop.name), None);
    }
}
