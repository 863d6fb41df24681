//! Who said yes, and whether that is enough.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use staith_model::{Approvals, AtDeadline, Digest};

use super::{GateState, Moment};

/// What somebody said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Who, as [`Approvals::people`] names them; told by the system or the server, never by the person alone.
    pub person: String,
    /// Of which plan.
    pub plan: Digest,
    /// When.
    pub at: u64,
    /// What.
    pub says: Say,
    /// In their own words.
    pub comment: String,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Say {
    /// To this plan, and no other.
    Approve,
    /// To the deployment, whatever its plan: whoever saw a reason against it is to be heard.
    Reject,
}

/// The first no of an approver. It ends the deployment, whatever else holds.
pub(super) fn rejection<'a>(approvals: Option<&Approvals>, at: &Moment<'a>) -> Option<&'a Vote> {
    let people = &approvals?.people;
    let votes = at.facts.votes.iter();
    let no = votes.filter(|vote| vote.says == Say::Reject && people.contains(&vote.person));
    no.filter(|vote| (at.facts.requested_at..=at.now).contains(&vote.at)).min_by_key(|vote| vote.at)
}

/// Those whose yes counts: to the plan as it is, in time, and since the hours of deployment last ended.
fn approvers<'a>(approvals: &Approvals, last_closing: Option<u64>, at: &Moment<'a>) -> BTreeSet<&'a str> {
    let facts = at.facts;
    let since = facts.requested_at.max(last_closing.unwrap_or_default());
    let yes = facts.votes.iter().filter(|vote| vote.says == Say::Approve && vote.plan == facts.plan);
    let in_time = yes.filter(|vote| vote.at >= since && vote.at <= at.now && vote.at < at.deadline);
    let may = |person: &str| {
        approvals.people.contains(person) && (approvals.requester_may || person != facts.requester)
    };
    // A person counts once, however often they say it.
    in_time.map(|vote| vote.person.as_str()).filter(|person| may(person)).collect()
}

/// How long approvers have, in milliseconds.
pub(super) const fn time_for(approvals: &Approvals) -> u64 {
    approvals.deadline_seconds.saturating_mul(1000)
}

/// When silence about the plan as it is becomes a yes, where it does.
fn silent_from(approvals: &Approvals, at: &Moment<'_>) -> Option<u64> {
    let since = at.facts.planned_at.max(at.facts.requested_at);
    (approvals.at_deadline == AtDeadline::Deploy).then(|| since.saturating_add(time_for(approvals)))
}

/// Whether nobody said anything in time, and that is a yes. It is one of the moment at which the time was up, and withdrawn as one is that a
/// person says: when the hours of deployment end.
fn is_let_through(silent_from: u64, last_closing: Option<u64>, at: &Moment<'_>) -> bool {
    silent_from <= at.now.min(at.facts.heard_until)
        && last_closing.is_none_or(|closing| silent_from >= closing)
}

pub(super) fn judge(approvals: &Approvals, last_closing: Option<u64>, at: &Moment<'_>) -> GateState {
    // Needing nobody is a mistake in the configuration, and must not open the door.
    let needed = usize::try_from(approvals.needed.max(1)).unwrap_or(usize::MAX);
    if let Some(no) = rejection(Some(approvals), at) {
        return GateState::Refused { why: format!("{} rejected it: {}", no.person, no.comment) };
    }
    let requester = at.facts.requester.as_str();
    let others = approvals.people.iter().filter(|person| approvals.requester_may || *person != requester);
    let others: Vec<&str> = others.map(String::as_str).collect();
    if others.len() < needed {
        let wanted = if needed == 1 { "1 approval is".to_owned() } else { format!("{needed} approvals are") };
        let may = match others.len() {
            0 => "nobody".to_owned(),
            there => format!("only {there}"),
        };
        let beside = match approvals.requester_may {
            true => String::new(),
            false => format!(" beside {requester}, who asked"),
        };
        let why = format!("{wanted} needed, and {may} may give one{beside}");
        return GateState::Refused { why };
    }
    let yes = approvers(approvals, last_closing, at);
    let names = |of: &[&str]| of.join(", ");
    if yes.len() >= needed {
        let people: Vec<&str> = yes.into_iter().collect();
        return GateState::Green { because: format!("approved by {}", names(&people)) };
    }
    let left: Vec<&str> = others.into_iter().filter(|person| !yes.contains(person)).collect();
    let lacking = needed - yes.len();
    let more = if yes.is_empty() { "" } else { " more" };
    let plural = if lacking == 1 { "" } else { "s" };
    let plan = at.facts.plan.short();
    let what = format!("{lacking}{more} approval{plural} of plan {plan}, from among {}", names(&left));
    let look = to_look_at(approvals);
    match silent_from(approvals, at) {
        None => at.waiting(what + &look, None),
        Some(from) if is_let_through(from, last_closing, at) => GateState::ByDefault { missing: what },
        Some(from) => {
            let what = format!("{what}; if nobody says no until the deadline, that is a yes{look}");
            at.waiting(what, Some(from).filter(|from| *from > at.now))
        }
    }
}

/// What people look at before they say yes, as it is told to them where they decide.
fn to_look_at(approvals: &Approvals) -> String {
    match approvals.instructions.trim() {
        "" => String::new(),
        look => format!("; what approvers look at: {look}"),
    }
}

pub(super) fn mistakes(approvals: &Approvals) -> Vec<String> {
    let mut found = Vec::new();
    if approvals.needed == 0 {
        found.push("`needed` in `approvals` is 0; without approvals, leave `approvals` out".to_owned());
    }
    if usize::try_from(approvals.needed).is_ok_and(|needed| needed > approvals.people.len()) {
        let people = approvals.people.len();
        found.push(format!("`approvals` needs {} people and names {people}", approvals.needed));
    }
    if approvals.deadline_seconds == 0 {
        found.push("`deadline-seconds` in `approvals` is 0: everything would expire at once".to_owned());
    }
    found
}
