//! Which of two pools gets the release.

use staith_model::{Name, PaceKind};

use super::{FleetPlanError, Situation};

/// The pool without traffic; the one with traffic if all of it runs the release already.
pub(super) fn choose(situation: &Situation<'_>, pools: &[Name; 2]) -> Result<PaceKind, FleetPlanError> {
    let [first, second] = pools;
    let Some(traffic) = situation.traffic else {
        return Err(FleetPlanError::NoTraffic { environment: situation.environment.name.clone() });
    };
    for target in situation.targets {
        if !target.pool.as_ref().is_some_and(|pool| pools.contains(pool)) {
            let (first, second) = (first.clone(), second.clone());
            return Err(FleetPlanError::WithoutPool { target: target.name.clone(), first, second });
        }
    }
    let members = |pool: &Name| -> Vec<&Name> {
        let of_pool = situation.targets.iter().filter(|target| target.pool.as_ref() == Some(pool));
        of_pool.map(|target| &target.name).collect()
    };
    if let Some(pool) = pools.iter().find(|pool| members(pool).is_empty()) {
        return Err(FleetPlanError::EmptyPool { pool: pool.clone() });
    }
    let serving = traffic.state.serving();
    let serve = |pool: &Name| -> Vec<&str> {
        members(pool).into_iter().filter(|name| serving.contains(name)).map(Name::as_str).collect()
    };
    let runs = |pool: &Name| {
        let in_use: Vec<&Name> =
            members(pool).into_iter().filter(|name| !situation.out.contains(name)).collect();
        let runs_it = |name: &&Name| {
            let seen = situation.machines.get(*name).and_then(|seen| seen.as_ref().ok());
            let has_it = seen.is_some_and(|seen| seen.current == Some(situation.release));
            // What serves is not repaired under its clients: the other pool gets the release, then the requests.
            has_it && !situation.damaged.contains_key(*name)
        };
        // Of a pool that is quarantined altogether nothing is left that could stay.
        !in_use.is_empty() && in_use.iter().all(runs_it)
    };
    let (of_first, of_second) = (serve(first), serve(second));
    let (from, to) = match (of_first.is_empty(), of_second.is_empty()) {
        (true, true) => (None, first),
        (false, true) => (Some(first), second),
        (true, false) => (Some(second), first),
        (false, false) => {
            return Err(FleetPlanError::BothServe {
                first: first.clone(),
                of_first: of_first.join(", "),
                second: second.clone(),
                of_second: of_second.join(", "),
            });
        }
    };
    Ok(match from {
        // It serves already: nothing to swap.
        Some(active) if runs(active) => PaceKind::Pools { to: active.clone(), from: Some(active.clone()) },
        from => PaceKind::Pools { to: to.clone(), from: from.cloned() },
    })
}
