//! In which order machines change.

use serde::{Deserialize, Serialize};

use crate::Name;

/// A number of machines, or a share of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Amount {
    /// So many.
    Count(u32),
    /// So many of a hundred, 1 to 100.
    Percent(u8),
}

impl Amount {
    /// How many of `all` that is, rounded down, and at least one: a share that is no whole machine would never end.
    pub fn of(self, all: usize) -> usize {
        let amount = match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(percent) => all.saturating_mul(usize::from(percent)) / 100,
        };
        amount.clamp(1, all.max(1))
    }
}

/// In which order machines change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "strategy")]
pub enum Rollout {
    /// All machines at once, after all are staged.
    AllAtOnce {
        /// How they are watched then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        watch: Option<Watch>,
    },
    /// Some at a time, each taken out of traffic first where there is a traffic provider.
    Rolling {
        /// Machines that may be out of service at once, whatever the cause: drained, failed, unreachable or broken before.
        max_unavailable: Amount,
        /// How they are watched when all have changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        watch: Option<Watch>,
    },
    /// A few first, watched, then more.
    Canary {
        /// The steps before the last, which is always all.
        steps: Vec<CanaryStep>,
        /// Machines that may be out of service at once within a step.
        max_unavailable: Amount,
        /// What decides whether a step held; without it, health alone does.
        analysis: Option<Analysis>,
        /// Seconds that all machines are watched after the last step.
        #[serde(default, skip_serializing_if = "is_zero")]
        bake_seconds: u64,
    },
    /// Two pools of machines: the one without traffic gets the release, then the traffic.
    BlueGreen {
        /// The pools, in no order.
        pools: [Name; 2],
        /// Seconds that the pool which served is kept as it is, for going back; until the next deployment if `None`.
        keep_warm_seconds: Option<u64>,
        /// How the pool is watched that got the requests.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        watch: Option<Watch>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Rollout {
    /// What is measured while machines are watched, where something is.
    pub const fn analysis(&self) -> Option<&Analysis> {
        match self {
            Self::Canary { analysis, .. } => analysis.as_ref(),
            Self::AllAtOnce { watch } | Self::Rolling { watch, .. } | Self::BlueGreen { watch, .. } => {
                match watch {
                    Some(watch) => watch.analysis.as_ref(),
                    None => None,
                }
            }
        }
    }

    /// Seconds that machines are watched when all have changed.
    pub const fn bake_seconds(&self) -> u64 {
        match self {
            Self::Canary { bake_seconds, .. } => *bake_seconds,
            Self::AllAtOnce { watch } | Self::Rolling { watch, .. } | Self::BlueGreen { watch, .. } => {
                match watch {
                    Some(watch) => watch.bake_seconds,
                    None => 0,
                }
            }
        }
    }
}

/// How machines are watched when all of them have changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// For how many seconds.
    pub bake_seconds: u64,
    /// What decides whether the release held; without it, health alone does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
}

/// A step of a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryStep {
    /// Machines that run the new release from this step on.
    pub targets: Amount,
    /// Seconds that they are watched before the next step.
    pub bake_seconds: u64,
}

/// What decides whether a wave held that is watched. No data is not success: it is inconclusive, and pauses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Analysis {
    /// What is measured.
    pub metrics: Vec<Metric>,
    /// Seconds between two samples.
    pub interval_seconds: u64,
    /// Samples that may be bad before the wave is. One more than that have to be numbers, so that none being bad shows something.
    pub failure_limit: u32,
}

/// Something that is measured while machines are watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// What people call it.
    pub name: Name,
    /// Where it is asked: the address of a Prometheus server.
    pub prometheus: String,
    /// The query; `{{release}}` is the release's short digest. Its answer must be one number.
    pub query: String,
    /// How the number compares with the limit when all is well.
    pub holds: Comparison,
    /// The limit, as text, so that equal plans have equal digests.
    pub limit: String,
    /// Whether it only reports.
    #[serde(default, alias = "dry-run")]
    pub dry_run: bool,
}

/// How a number compares with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// It is lower.
    Below,
    /// It is higher.
    Above,
}

#[cfg(test)]
mod tests {
    use super::Amount;

    #[test]
    fn a_share_is_at_least_one_machine_and_never_more_than_all() {
        assert_eq!(Amount::Percent(10).of(5), 1);
        assert_eq!(Amount::Percent(50).of(5), 2);
        assert_eq!(Amount::Percent(100).of(5), 5);
        assert_eq!(Amount::Count(9).of(5), 5);
        assert_eq!(Amount::Count(0).of(5), 1);
    }
}
