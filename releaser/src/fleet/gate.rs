//! What has to hold before a deployment to an environment may begin. A map, in reading order:
//!
//! 1. here: the facts, and the verdict on all gates, in pure code.
//! 2. `votes`: who said yes to which plan. `hours`: windows of the week. `freeze`: spans of time in which nothing is deployed.
//! 3. `checks`: what was asked of others, compared with what is wanted. [`ask`] asks.
//! 4. [`queue`]: what becomes of deployments that wait for one another.
//! 5. [`analysis`]: whether a canary's step held.
//! 6. [`configured`]: which environment is protected by what, from the home's `config.toml`.
//!
//! Two rules hold everywhere: what can't be told does not hold, and what waits has a deadline, after which it expires. Only of approvals may
//! a protection say that silence is a yes.

pub mod analysis;
pub mod ask;
mod checks;
pub mod configured;
mod freeze;
mod hours;
pub mod queue;
#[cfg(test)]
mod tests;
mod votes;

use std::collections::{BTreeMap, BTreeSet};

use globset::GlobBuilder;
use serde::{Deserialize, Serialize};
use staith_model::{AtDeadline, Digest, Name, Protection, service::Trust};

pub use checks::{Answer, Sample};
pub use votes::{Say, Vote};

/// All gates have to be green within so many milliseconds: an older answer of a check is none.
pub const SAMPLING_MILLIS: u64 = 30_000;
/// A deployment waits so long for its gates where approvals set no deadline.
pub const PATIENCE_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// What is known of a deployment that waits for its gates. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Who asked for it.
    pub requester: String,
    /// When.
    pub requested_at: u64,
    /// The plan as it is now.
    pub plan: Digest,
    /// Since when that is the plan: nobody is silent about a plan that they could not see.
    pub planned_at: u64,
    /// Until when all is known that people said. What they said after it may be on its way.
    pub heard_until: u64,
    /// The release's branch, where it is known.
    pub branch: Option<String>,
    /// Whether the release was made from a tree with changes that no commit has.
    pub dirty: bool,
    /// Whose code its package was made of, where that is known.
    pub trust: Option<Trust>,
    /// Environments in which this very release has succeeded
    /// ([`succeeded_in`](crate::fleet::record::succeeded_in)).
    pub succeeded_in: BTreeSet<Name>,
    /// What people said, of any plan of this deployment, in any order.
    pub votes: Vec<Vote>,
    /// The newest answer of each check, by its place in [`Protection::checks`].
    pub checks: BTreeMap<usize, Sample>,
    /// Somebody deploys in spite of a freeze.
    pub freeze_override: Option<Override>,
    /// Somebody deploys in spite of everything but a rejection.
    pub break_glass: Option<Override>,
}

/// Somebody takes it upon themselves, for one plan, and says why. To be recorded as an event of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Who.
    pub by: String,
    /// Why. One without words is none.
    pub reason: String,
    /// For which plan.
    pub plan: Digest,
    /// When.
    pub at: u64,
}

/// Nobody goes past a gate without a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("going past a gate needs a reason, which is recorded; say why, in words")]
pub struct NoReason;

impl Override {
    /// One with a reason.
    ///
    /// # Errors
    /// The reason has no words.
    pub fn new(by: &str, reason: &str, plan: Digest, at: u64) -> Result<Self, NoReason> {
        let made = Self { by: by.to_owned(), reason: reason.trim().to_owned(), plan, at };
        if made.has_words() { Ok(made) } else { Err(NoReason) }
    }

    fn has_words(&self) -> bool {
        self.reason.chars().any(char::is_alphanumeric)
    }

    fn counts(&self, facts: &Facts, now: u64) -> bool {
        self.has_words() && self.plan == facts.plan && (facts.requested_at..=now).contains(&self.at)
    }
}

/// One thing that has to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gate {
    /// What people call it: `approvals`, `hours`, `freeze`, `branch`, `after qa`, `check 1 (https://...)`.
    pub name: String,
    /// Where it stands.
    #[serde(flatten)]
    pub state: GateState,
}

/// Where a gate stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum GateState {
    /// It holds.
    Green {
        /// What shows it.
        because: String,
    },
    /// It does not hold yet.
    Waiting {
        /// For what.
        what: String,
        /// When that is expected, where it can be told.
        until: Option<u64>,
        /// When the deployment expires if it has not come by then. That is the default of everything that waits.
        deadline: u64,
    },
    /// It can't hold any more for this release or plan.
    Refused {
        /// Why not.
        why: String,
    },
    /// Nobody decided in time, and the protection says that this is a yes.
    ByDefault {
        /// Who was waited for.
        missing: String,
    },
    /// It does not hold, and somebody took that upon themselves.
    Overridden {
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// What does not hold.
        instead_of: String,
    },
}

impl GateState {
    /// Whether it is in nobody's way.
    pub const fn lets_through(&self) -> bool {
        matches!(self, Self::Green { .. } | Self::ByDefault { .. } | Self::Overridden { .. })
    }
}

/// What the gates come to together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "ruling")]
pub enum Ruling {
    /// All are green now: the deployment may begin, within [`SAMPLING_MILLIS`].
    Go,
    /// Some are not green yet.
    Wait,
    /// An approver said no. Final.
    Rejected {
        /// Who.
        by: String,
        /// What they said.
        comment: String,
    },
    /// A gate can't be passed with this release or plan.
    Refused,
    /// The deadline has passed. Final.
    Expired,
}

/// The verdict on all gates at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GateVerdict {
    /// All of them come to this.
    pub ruling: Ruling,
    /// Each of them.
    pub gates: Vec<Gate>,
    /// When the deployment expires.
    pub deadline: u64,
}

/// Looks at each gate. Pure: the same facts at the same time give the same verdict.
pub fn judge(protection: &Protection, facts: &Facts, now: u64) -> GateVerdict {
    let deadline = deadline(protection, facts);
    let at = Moment { facts, now, deadline };
    let mut gates = Vec::new();
    let mut gate = |name: String, state: GateState| gates.push(Gate { name, state });
    if !protection.branches.is_empty() {
        gate("branch".to_owned(), branch(&protection.branches, facts));
    }
    for environment in &protection.after {
        gate(format!("after {environment}"), at.after(environment));
    }
    let windows = hours::Windows::around(&protection.hours, now);
    if !protection.hours.is_empty() {
        gate("hours".to_owned(), at.hours(&windows));
    }
    if !protection.freezes.is_empty() {
        gate("freeze".to_owned(), freeze::judge(&protection.freezes, &at));
    }
    if let Some(approvals) = &protection.approvals {
        let last_closing = windows.as_ref().ok().and_then(|windows| windows.last_closing(now));
        gate("approvals".to_owned(), votes::judge(approvals, last_closing, &at));
    }
    for (place, check) in protection.checks.iter().enumerate() {
        let (name, state) = checks::judge(place, check, &at);
        gate(name, state);
    }
    let glass = facts.break_glass.as_ref();
    let glass = glass.filter(|glass| glass.counts(facts, now) && glass.at < deadline);
    if let Some(glass) = glass {
        gates.iter_mut().for_each(|gate| gate.state = broken(&gate.state, glass));
    }
    // Nobody takes that upon themselves: it is not about when, but about whose code gets the keys.
    if let Some(least) = protection.trust {
        gates.push(Gate { name: "trust".to_owned(), state: trusted(least, facts.trust) });
    }
    let ruling = if let Some(no) = votes::rejection(protection.approvals.as_ref(), &at) {
        Ruling::Rejected { by: no.person.clone(), comment: no.comment.clone() }
    } else if now >= deadline && glass.is_none() {
        Ruling::Expired
    } else if gates.iter().any(|gate| matches!(gate.state, GateState::Refused { .. })) {
        Ruling::Refused
    } else if gates.iter().all(|gate| gate.state.lets_through()) {
        Ruling::Go
    } else {
        Ruling::Wait
    };
    GateVerdict { ruling, gates, deadline }
}

/// When it is over with waiting. Where silence is a yes, all else has a day after it.
fn deadline(protection: &Protection, facts: &Facts) -> u64 {
    let patience = match &protection.approvals {
        None => PATIENCE_MILLIS,
        Some(approvals) => match approvals.at_deadline {
            AtDeadline::Expire => votes::time_for(approvals),
            AtDeadline::Deploy => votes::time_for(approvals).saturating_add(PATIENCE_MILLIS),
        },
    };
    facts.requested_at.saturating_add(patience)
}

fn broken(state: &GateState, glass: &Override) -> GateState {
    let instead_of = match state {
        GateState::Waiting { what, .. } => what.clone(),
        GateState::Refused { why } => why.clone(),
        there => return there.clone(),
    };
    GateState::Overridden { by: glass.by.clone(), reason: glass.reason.clone(), instead_of }
}

/// What every gate looks at.
#[derive(Clone, Copy)]
struct Moment<'a> {
    facts: &'a Facts,
    now: u64,
    deadline: u64,
}

impl Moment<'_> {
    fn waiting(&self, what: impl Into<String>, until: Option<u64>) -> GateState {
        GateState::Waiting { what: what.into(), until, deadline: self.deadline }
    }

    fn after(&self, environment: &Name) -> GateState {
        if self.facts.succeeded_in.contains(environment) {
            let because = format!("this release has succeeded in {environment}");
            return GateState::Green { because };
        }
        self.waiting(format!("this release to succeed in {environment}"), None)
    }

    fn hours(&self, windows: &Result<hours::Windows, String>) -> GateState {
        let windows = match windows {
            Ok(windows) => windows,
            Err(why) => return GateState::Refused { why: why.clone() },
        };
        match windows.open_until(self.now) {
            Some(_) => GateState::Green { because: "it is within the hours of deployment".to_owned() },
            None => self.waiting("the hours of deployment", windows.next_opening(self.now)),
        }
    }
}

fn trusted(least: Trust, trust: Option<Trust>) -> GateState {
    let least_is = least.as_str();
    match trust {
        Some(trust) if trust >= least => {
            GateState::Green { because: format!("its package was made of {} code", trust.as_str()) }
        }
        Some(trust) => GateState::Refused {
            why: format!(
                "its package was made of {} code, and only {least_is} code may be released here",
                trust.as_str()
            ),
        },
        None => GateState::Refused {
            why: format!(
                "nobody who is trusted has signed whose code its package was made of, and only {least_is} code may be released here; pull it \
                 from the server with --all, and trust the key of the runner that made it: `staith key trust`"
            ),
        },
    }
}

fn branch(patterns: &[String], facts: &Facts) -> GateState {
    let Some(branch) = &facts.branch else {
        let why = "it is not known from which branch this release is, and only some may be released here";
        return GateState::Refused { why: why.to_owned() };
    };
    if facts.dirty {
        let why = "this release was made from changes that are in no commit, so it is of no branch";
        return GateState::Refused { why: why.to_owned() };
    }
    // A pattern that can't be understood lets nothing through.
    match patterns.iter().find(|pattern| glob(pattern).is_ok_and(|glob| glob.is_match(branch))) {
        Some(pattern) => GateState::Green { because: format!("branch `{branch}` is one of `{pattern}`") },
        None => {
            let why = format!("branch `{branch}` is none of `{}`", patterns.join("`, `"));
            GateState::Refused { why }
        }
    }
}

fn glob(pattern: &str) -> Result<globset::GlobMatcher, globset::Error> {
    Ok(GlobBuilder::new(pattern).literal_separator(true).build()?.compile_matcher())
}

/// What of a protection can't be meant so, each in a sentence. For whoever reads it from a file: [`judge`] lets nothing through
/// where it matters.
pub fn mistakes(protection: &Protection) -> Vec<String> {
    let mut found = Vec::new();
    for pattern in &protection.branches {
        found
            .extend(glob(pattern).err().map(|why| format!("`{pattern}` in `branches` is no pattern: {why}")));
    }
    if let Some(approvals) = &protection.approvals {
        found.extend(votes::mistakes(approvals));
    }
    found.extend(protection.hours.iter().filter_map(|hours| hours::mistake(hours).err()));
    found.extend(protection.freezes.iter().filter_map(|freeze| freeze::span(freeze).err()));
    found.extend(protection.checks.iter().filter_map(checks::mistake));
    found
}
