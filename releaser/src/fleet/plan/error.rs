//! Why an environment of machines can't be deployed to as it is.

use staith_model::{Exit, Name};

/// Why no plan can be made. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FleetPlanError {
    /// It has no machines.
    #[error(
        "the environment has no targets; name some under `targets` in runner.toml, or let its inventory name them"
    )]
    NoTargets,
    /// Two machines have one name.
    #[error(
        "two targets are named `{target}`; a name is what the log and the traffic provider tell machines by, so give each its own"
    )]
    NamedTwice {
        /// The name.
        target: Name,
    },
    /// Every machine was taken out that the release would come to: all, or all of the pool that is to serve.
    #[error(
        "every target of `{environment}` that would get the release is quarantined; put one back first with `staith targets reinstate`"
    )]
    AllOut {
        /// The environment.
        environment: Name,
    },
    /// Somebody gets requests who is no target.
    #[error(
        "the traffic provider sends requests to `{member}`, which is no target of this environment; a deployment would leave an old release serving there or cut it off: name it as a target, or take it out of the provider"
    )]
    Stranger {
        /// The member.
        member: Name,
    },
    /// Pools, and nobody who could swap them.
    #[error(
        "`{environment}` is blue-green and has no traffic provider, so nothing could move requests from one pool to the other; name one under `traffic`, or choose another strategy"
    )]
    NoTraffic {
        /// The environment.
        environment: Name,
    },
    /// A pool without machines.
    #[error("pool `{pool}` has no targets; give some targets `pool = \"{pool}\"`")]
    EmptyPool {
        /// The pool.
        pool: Name,
    },
    /// A machine in neither pool.
    #[error("target `{target}` is in neither pool; give it `pool = \"{first}\"` or `pool = \"{second}\"`")]
    WithoutPool {
        /// The machine.
        target: Name,
        /// A pool.
        first: Name,
        /// The other one.
        second: Name,
    },
    /// It can't be told which pool is idle.
    #[error(
        "machines of both pools get requests ({first}: {of_first}; {second}: {of_second}), so neither is idle; take one pool out of traffic first"
    )]
    BothServe {
        /// A pool.
        first: Name,
        /// Its machines that get requests.
        of_first: String,
        /// The other one.
        second: Name,
        /// Its machines that get requests.
        of_second: String,
    },
}

impl FleetPlanError {
    /// What the shell is told.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::BothServe { .. } | Self::AllOut { .. } | Self::Stranger { .. } => Exit::Environment,
            _ => Exit::Configuration,
        }
    }
}
