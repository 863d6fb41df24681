//! What several nodes say together.

use std::collections::BTreeSet;

use staith_model::Name;

use super::{BalancerState, Member};

/// What all nodes say, each with its name; the error says what two of them were told differently.
pub(super) fn merged(states: Vec<(String, BalancerState)>) -> Result<BalancerState, String> {
    let mut states = states.into_iter();
    let Some((first, mut all)) = states.next() else { return Ok(BalancerState::default()) };
    for (node, other) in states {
        if let Some(why) = disagreement(&all, &other) {
            return Err(format!(
                "{first} and {node} disagree: {why}; the next deployment tells both the same"
            ));
        }
        all.epoch = all.epoch.max(other.epoch);
        for (name, member) in other.members {
            let Some(ours) = all.members.get_mut(&name) else { continue };
            ours.up = ours.up.zip(member.up).map(|(ours, theirs)| ours && theirs);
            ours.in_flight = ours.in_flight.zip(member.in_flight).map(|(ours, theirs)| ours + theirs);
        }
    }
    Ok(all)
}

/// What two nodes were told differently.
fn disagreement(one: &BalancerState, other: &BalancerState) -> Option<String> {
    let names: BTreeSet<&Name> = one.members.keys().chain(other.members.keys()).collect();
    names.into_iter().find_map(|name| match (one.members.get(name), other.members.get(name)) {
        (Some(one), Some(other)) if (one.weight, one.admitted) == (other.weight, other.admitted) => None,
        (Some(one), Some(other)) => {
            let said = |member: &Member| match member.admitted {
                true => format!("weight {}", member.weight),
                false => "no requests".to_owned(),
            };
            Some(format!("{name} has {} on the one and {} on the other", said(one), said(other)))
        }
        _ => Some(format!("only one of them knows {name}")),
    })
}
