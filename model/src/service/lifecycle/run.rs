//! What a run is: a fold over its jobs, never a state of its own that could disagree with them.

use serde::{Deserialize, Serialize};

use super::JobState;

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStanding {
    /// None of its jobs is with a runner or has ended.
    Waiting,
    /// Some are, or have, and not all have ended.
    Running,
    /// All of them passed.
    Passed,
    /// One failed.
    Failed,
    /// None failed, and not all passed.
    Cancelled,
}

super::words!(RunStanding, "a run",
    Waiting => "waiting", Running => "running", Passed => "passed", Failed => "failed", Cancelled => "cancelled");

impl RunStanding {
    /// How a run with these jobs stands.
    pub fn of(jobs: impl IntoIterator<Item = JobState>) -> Self {
        let (mut open, mut begun, mut failed, mut all_passed) = (false, false, false, true);
        for job in jobs {
            open |= !job.is_over();
            begun |= job.is_over() || job == JobState::Leased;
            failed |= job == JobState::Failed;
            all_passed &= job == JobState::Passed;
        }
        match (open, begun) {
            (true, false) => Self::Waiting,
            (true, true) => Self::Running,
            (false, _) if failed => Self::Failed,
            (false, _) if all_passed => Self::Passed,
            (false, _) => Self::Cancelled,
        }
    }

    /// Whether all its jobs have ended.
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_run_is_over_when_its_jobs_are(jobs in prop::collection::vec(prop::sample::select(JobState::ALL), 1..8)) {
            let run = RunStanding::of(jobs.iter().copied());
            prop_assert_eq!(run.is_over(), jobs.iter().all(|job| job.is_over()));
            prop_assert_eq!(run == RunStanding::Passed, jobs.iter().all(|job| *job == JobState::Passed));
            let mut turned = jobs.clone();
            turned.reverse();
            prop_assert_eq!(run, RunStanding::of(turned), "the order of jobs means nothing");
        }
    }
}
