//! What a decision is made from.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use staith_model::{DeploymentRecord, Lost, Name, Work};

use super::super::{balancer::BalancerState, machine::MachineState};

/// Everything that a decision is made from. Times are in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The deployment, as its log tells it.
    pub record: &'a DeploymentRecord,
    /// Machines that a person took out of deployments.
    pub out: &'a BTreeSet<Name>,
    /// What was seen of machines and of whoever balances.
    pub sights: &'a Sights,
    /// What is being done now by this process.
    pub running: &'a BTreeSet<Work>,
    /// Whether the deployment may begin.
    pub gates: &'a Gates,
    /// Why nothing is deployed by itself, if so.
    pub held: Option<&'a str>,
    /// Until when clients believe what they were told in earlier deployments.
    pub lingers: Option<u64>,
    /// How long things may take.
    pub limits: &'a Limits,
    /// Now.
    pub now: u64,
}

/// Whether a deployment may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gates {
    /// All that has to hold holds now.
    Open,
    /// All holds but that nobody decided in time, which the protection takes for a yes.
    OpenByDefault {
        /// Who was waited for.
        missing: String,
    },
    /// Something does not hold yet.
    Waiting {
        /// What is waited for, one line each.
        what: Vec<String>,
        /// When it is decided without, in milliseconds since 1970.
        until: u64,
    },
    /// Somebody, or something, said no.
    Refused {
        /// Why.
        why: String,
    },
    /// A newer deployment takes its place.
    Superseded {
        /// By which.
        by: String,
    },
}

/// What was seen, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sights {
    /// Of machines.
    pub machines: BTreeMap<Name, Sight<MachineState>>,
    /// Of whoever balances.
    pub balancer: Option<Sight<BalancerState>>,
}

/// What was seen of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight<T> {
    /// It was seen.
    Seen {
        /// When it was asked.
        at: u64,
        /// What it said.
        what: T,
    },
    /// It did not answer.
    Lost(Lost),
}

impl<T> Sight<T> {
    /// What it said, however long ago.
    pub const fn seen(&self) -> Option<&T> {
        match self {
            Self::Seen { what, .. } => Some(what),
            Self::Lost(_) => None,
        }
    }

    /// How contact was lost.
    pub const fn lost(&self) -> Option<&Lost> {
        match self {
            Self::Seen { .. } => None,
            Self::Lost(lost) => Some(lost),
        }
    }
}

/// How long things may take, in milliseconds, and how many at once. Every wait has an end, and at it something happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Gates that name no deadline: then it expires.
    pub gates: u64,
    /// How old open gates may be when the environment is had: then they are judged again.
    pub gates_fresh: u64,
    /// Bringing files to all machines: then it fails, before anything shows.
    pub staging: u64,
    /// One wave, or what is done once before it: then a person decides.
    pub wave: u64,
    /// A machine that does not answer: then it counts as lost, and a person decides.
    pub contact: u64,
    /// Standing still: then it goes back.
    pub pause: u64,
    /// A person's decision: then it goes back, or ends as it is where going back was what failed.
    pub decision: u64,
    /// What is in flight when it is stopped: then it is not waited for.
    pub halting: u64,
    /// Going back: then a person decides.
    pub back: u64,
    /// Removing old files: then they stay.
    pub finalizing: u64,
    /// How old a look may be on which somebody is taken out of service.
    pub fresh: u64,
    /// How often machines with the new release are looked at while it is watched.
    pub watch: u64,
    /// The first pause before asking again after contact was lost; each is twice the one before.
    pub backoff: u64,
    /// The longest such pause.
    pub backoff_most: u64,
    /// Things done at once.
    pub at_once: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const SECOND: u64 = 1000;
        const MINUTE: u64 = 60 * SECOND;
        const HOUR: u64 = 60 * MINUTE;
        Self {
            gates: 7 * 24 * HOUR,
            gates_fresh: 5 * MINUTE,
            staging: 2 * HOUR,
            wave: 2 * HOUR,
            contact: 5 * MINUTE,
            pause: 24 * HOUR,
            decision: 24 * HOUR,
            halting: 30 * SECOND,
            back: HOUR,
            finalizing: 10 * MINUTE,
            fresh: 2 * SECOND,
            watch: 10 * SECOND,
            backoff: 250,
            backoff_most: 15 * SECOND,
            at_once: 32,
        }
    }
}

impl Limits {
    /// When to ask again after contact was lost.
    pub fn again(&self, lost: &Lost) -> u64 {
        let doubled = self.backoff.saturating_mul(1u64 << lost.tries.saturating_sub(1).min(16));
        lost.last.saturating_add(doubled.min(self.backoff_most))
    }
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// These are done now, at once with what runs already.
    Do(Vec<Work>),
    /// The deployment goes on.
    Change(staith_model::DeploymentChange, Option<staith_model::Reason>),
    /// The environment is to be had for itself: lock and epoch.
    Acquire,
    /// The plan has to be made anew.
    Replan,
    /// Nothing for now.
    Wait(Waiting),
    /// Nothing any more.
    Over,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// For what.
    pub what: WaitsFor,
    /// When it is looked at again at the latest, in milliseconds since 1970. Then something happens by default.
    pub until: u64,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitsFor {
    /// Gates: one line each.
    Gates(Vec<String>),
    /// Somebody to say go on.
    Resume(String),
    /// Somebody to decide, and why.
    Decision(String),
    /// Work in flight, or time.
    Progress,
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gates(what) => write!(f, "it waits for {}", what.join("; ")),
            Self::Resume(why) => write!(f, "it stands still: {why}"),
            Self::Decision(why) => f.write_str(why),
            Self::Progress => f.write_str("it is at work"),
        }
    }
}

impl WaitsFor {
    /// Whether a person, or the world outside, has to do something.
    pub const fn is_outside(&self) -> bool {
        !matches!(self, Self::Progress)
    }
}
