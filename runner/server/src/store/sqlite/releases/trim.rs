//! What of the copy of a ledger is let go. The ledger itself is the deployer's, whole and chained by hashes; of the copy, people are shown
//! the newest deployments, what serves, and who holds the environment.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};
use staith_model::{DeploymentChange, DeploymentId, FleetEvent, FleetState, Name, service::LedgerEntry};

use super::ledgers::all;
use crate::store::StoreError;

/// So many deployments stay at least: more are never shown at once.
const SHOWN: usize = 50;

/// Lets the oldest deployments of a copy go, as far as it has more than `most` bytes.
pub(super) fn trim(
    connection: &Connection,
    project: &Name,
    environment: &Name,
    most: u64,
) -> Result<(), StoreError> {
    let sizes = sizes(connection, project, environment)?;
    if sizes.values().sum::<u64>() <= most {
        return Ok(());
    }
    let entries = all(connection, project, environment)?;
    let mut delete = connection.prepare_cached(
        "DELETE FROM ledger_entries WHERE project = ?1 AND environment = ?2 AND position = ?3",
    )?;
    for position in dispensable(&entries, &sizes, most) {
        delete.execute(params![project.as_str(), environment.as_str(), position])?;
    }
    Ok(())
}

/// How many bytes each entry takes, by its place.
fn sizes(
    connection: &Connection,
    project: &Name,
    environment: &Name,
) -> Result<BTreeMap<u64, u64>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT position, octet_length(event_json) FROM ledger_entries WHERE project = ?1 AND environment = ?2",
    )?;
    let rows =
        select.query_map([project.as_str(), environment.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The places that can go: of whole deployments, the oldest first, and only until `most` bytes are left. Pure.
fn dispensable(entries: &[LedgerEntry], sizes: &BTreeMap<u64, u64>, most: u64) -> Vec<u64> {
    let (state, serving) = folded(entries);
    let needed = needed(&state, serving);
    // What comes next is told from here.
    let last = entries.last().map(|entry| entry.position);
    let mut of: BTreeMap<&DeploymentId, Vec<u64>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| Some(entry.position) != last) {
        if let Some(deployment) = entry.event.deployment() {
            of.entry(deployment).or_default().push(entry.position);
        }
    }
    let mut left: u64 = sizes.values().sum();
    let mut gone = Vec::new();
    let whole = state.order.iter().filter(|one| !needed.contains(*one));
    let parts = whole.filter_map(|one| of.remove(one)).chain([overtaken(entries)]);
    for positions in parts {
        if left <= most {
            break;
        }
        left -= positions.iter().filter_map(|position| sizes.get(position)).sum::<u64>().min(left);
        gone.extend(positions);
    }
    gone
}

/// What the copy says, and which deployment brought what serves.
fn folded(entries: &[LedgerEntry]) -> (FleetState, Option<&DeploymentId>) {
    let (mut state, mut serving) = (FleetState::default(), None);
    for entry in entries {
        let ignored = state.ignored;
        state.apply(entry.at, &entry.event);
        if let FleetEvent::Changed { deployment, change: DeploymentChange::Finalized, .. } = &entry.event
            && state.ignored == ignored
        {
            serving = Some(deployment);
        }
    }
    (state, serving)
}

/// Deployments that say how the environment stands: the newest, those that are not over, and the one that brought what serves.
fn needed<'a>(state: &'a FleetState, serving: Option<&'a DeploymentId>) -> BTreeSet<&'a DeploymentId> {
    let newest = state.order.iter().rev().take(SHOWN);
    let open = state.in_order().filter(|record| !record.state.is_terminal());
    newest.chain(open.map(|record| &record.deployment)).chain(serving).collect()
}

/// Places of what a later entry has made to nothing: who held the environment before, which machines were out.
fn overtaken(entries: &[LedgerEntry]) -> Vec<u64> {
    let mut last: BTreeMap<Option<&Name>, u64> = BTreeMap::new();
    let mut gone = Vec::new();
    for entry in entries {
        let about = match &entry.event {
            FleetEvent::Held { .. } | FleetEvent::HoldLifted { .. } => None,
            FleetEvent::Quarantine { target, .. } => Some(target),
            _ => continue,
        };
        gone.extend(last.insert(about, entry.position));
    }
    gone
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use staith_model::{Digest, Direction, FleetPlan, Pace, PaceKind, ReleaseSetting, Service};

    use super::*;

    fn plan(release: u8) -> FleetPlan {
        FleetPlan {
            environment: "production".parse().unwrap(),
            release: Digest::of(&[release]),
            previous: None,
            direction: Direction::Forward,
            setting: ReleaseSetting {
                folder: "/srv/shop".to_owned(),
                service: Service::Files,
                health: None,
                port: None,
                min_healthy_seconds: 0,
                variables: BTreeMap::new(),
                role_variables: BTreeMap::new(),
                secrets: BTreeMap::new(),
                rendered: Vec::new(),
                hooks: Vec::new(),
                schema: None,
            },
            pace: Pace {
                kind: PaceKind::InPlace,
                max_unavailable: 1,
                drains: false,
                keep_warm_seconds: None,
            },
            targets: Vec::new(),
            waves: Vec::new(),
            analysis: None,
            traffic: None,
            hooks: Vec::new(),
            keep: BTreeSet::new(),
            undo_moves_bytes: BTreeSet::new(),
            floor: None,
            epoch_seen: 0,
            warnings: Vec::new(),
        }
    }

    /// What happens in an environment.
    #[derive(Debug, Clone, Copy)]
    enum Happens {
        /// A deployment is asked for, of this release.
        Asked(u8),
        /// One of them ends, well or not.
        Ends(usize, bool),
        Held(bool),
        Out(bool),
    }

    fn happens() -> impl Strategy<Value = Happens> {
        prop_oneof![
            4 => (0_u8..9).prop_map(Happens::Asked),
            4 => (0_usize..150, any::<bool>()).prop_map(|(which, well)| Happens::Ends(which, well)),
            1 => any::<bool>().prop_map(Happens::Held),
            1 => any::<bool>().prop_map(Happens::Out),
        ]
    }

    const WELL: [DeploymentChange; 8] = [
        DeploymentChange::Submitted,
        DeploymentChange::GatesPassed,
        DeploymentChange::Acquired,
        DeploymentChange::StagedEverywhere,
        DeploymentChange::SwitchBegan,
        DeploymentChange::WaveSwitched,
        DeploymentChange::AllWavesHeld,
        DeploymentChange::Finalized,
    ];

    fn events_of(what: Happens, asked: &mut Vec<DeploymentId>, place: u64) -> Vec<FleetEvent> {
        let (by, reason) = ("ann".to_owned(), place.to_string());
        match what {
            Happens::Asked(release) => {
                let deployment = DeploymentId::new(place, [1; 10]);
                asked.push(deployment.clone());
                let plan = Box::new(plan(release));
                vec![FleetEvent::Requested { deployment, plan, by, reason, by_itself: false }]
            }
            Happens::Ends(which, well) => {
                let Some(deployment) = asked.get(which) else { return Vec::new() };
                let changes: &[DeploymentChange] = if well { &WELL } else { &[DeploymentChange::Cancelled] };
                changes.iter().map(|change| changed(deployment, *change)).collect()
            }
            Happens::Held(true) => vec![FleetEvent::Held { by, reason }],
            Happens::Held(false) => vec![FleetEvent::HoldLifted { by, reason }],
            Happens::Out(out) => {
                vec![FleetEvent::Quarantine { target: "web1".parse().unwrap(), out, by, reason }]
            }
        }
    }

    fn changed(deployment: &DeploymentId, change: DeploymentChange) -> FleetEvent {
        FleetEvent::Changed { deployment: deployment.clone(), epoch: 0, change, reason: None }
    }

    fn shown(entries: &[LedgerEntry]) -> impl PartialEq + std::fmt::Debug + use<> {
        let state = FleetState::of(entries.iter().map(|entry| (entry.at, &entry.event)));
        let newest: Vec<_> = state.in_order().rev().take(SHOWN).cloned().collect();
        let open: Vec<_> = state.in_order().filter(|one| !one.state.is_terminal()).cloned().collect();
        let serves = state.history.first().copied();
        (newest, open, serves, state.held.clone(), state.quarantined.clone(), entries.last().cloned())
    }

    proptest! {
        /// Whatever goes, people are shown the same, and what comes next is told from the same place.
        #[test]
        fn what_is_let_go_changes_nothing_that_is_shown(
            all in prop::collection::vec(happens(), 0..400), most in 0_u64..20_000,
        ) {
            let mut asked = Vec::new();
            let events = all.into_iter().enumerate();
            let events: Vec<FleetEvent> =
                events.flat_map(|(place, what)| events_of(what, &mut asked, place as u64 + 1)).collect();
            let entry = |(place, event): (usize, FleetEvent)| {
                let position = place as u64 + 1;
                LedgerEntry { position, at: position, event }
            };
            let entries: Vec<LedgerEntry> = events.into_iter().enumerate().map(entry).collect();
            let sizes: BTreeMap<u64, u64> = entries.iter().map(|entry| (entry.position, 100)).collect();
            let gone: BTreeSet<u64> = dispensable(&entries, &sizes, most).into_iter().collect();
            let kept = entries.iter().filter(|entry| !gone.contains(&entry.position));
            let kept: Vec<LedgerEntry> = kept.cloned().collect();
            prop_assert_eq!(shown(&kept), shown(&entries));
            if entries.len() as u64 * 100 <= most {
                prop_assert!(gone.is_empty());
            }
        }
    }

    #[test]
    fn of_many_deployments_the_newest_stay() {
        let mut entries = Vec::new();
        for number in 1..=200_u64 {
            let deployment = DeploymentId::new(number, [1; 10]);
            let (by, reason) = ("ann".to_owned(), String::new());
            let plan = Box::new(plan(1));
            let asked =
                FleetEvent::Requested { deployment: deployment.clone(), plan, by, reason, by_itself: false };
            let over = changed(&deployment, DeploymentChange::Cancelled);
            for event in [asked, over] {
                entries.push(LedgerEntry { position: entries.len() as u64 + 1, at: number, event });
            }
        }
        let sizes: BTreeMap<u64, u64> = entries.iter().map(|entry| (entry.position, 100)).collect();
        // Down to what is asked for, and no further than what is shown.
        assert_eq!(dispensable(&entries, &sizes, 20_000), (1..=200).collect::<Vec<u64>>());
        assert_eq!(dispensable(&entries, &sizes, 0), (1..=300).collect::<Vec<u64>>());
    }
}
