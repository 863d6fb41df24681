//! What the machines of an environment say, beside what its ledger says of them. Changes nothing, here or there.

use std::{collections::BTreeMap, slice, sync::Arc, time::Duration};

use staith_model::{Digest, FleetState, Name, Target};
use staith_releaser::{
    fleet::{
        balancer::BalancerState,
        drive::FleetDriveError,
        machine::{Machine, Question},
        record::{
            drift::{Drift, changed_files, drift},
            whereabouts::due,
        },
        remote::Memory,
        survey::{Roll, Sighting, Survey, call},
    },
    health::{Health, Verdict},
};
use tokio_util::sync::CancellationToken;

use super::{Site, facts_of_all, reach, secrets_of, traffic};
use crate::output::Problem;

/// An environment that was looked at.
#[derive(Debug)]
pub(crate) struct EnvironmentLook {
    /// Which.
    pub(crate) environment: Name,
    /// Whether its machines are there, as far as Staith makes them.
    pub(crate) has_machines: bool,
    /// What its ledger says.
    pub(crate) state: FleetState,
    /// Its machines, in the order in which they are served.
    pub(crate) targets: Vec<TargetLook>,
    /// Who gets requests, or why that can't be told; `None` where nobody balances.
    pub(crate) traffic: Option<Result<BalancerState, String>>,
}

/// A machine that was looked at.
#[derive(Debug)]
pub(crate) struct TargetLook {
    /// The machine.
    pub(crate) target: Target,
    /// What it should serve; `None` if nothing, or if the ledger does not know it.
    pub(crate) should: Option<Digest>,
    /// What was seen.
    pub(crate) seen: Sighting,
    /// How it is not as the ledger has it.
    pub(crate) drift: Vec<Drift>,
    /// Why it is out of deployments, if it is.
    pub(crate) quarantined: Option<String>,
    /// Requests of ten thousand that it gets; `None` where nobody balances, or that can't be told.
    pub(crate) share: Option<u32>,
}

impl TargetLook {
    /// Whether something of it can't be told: it did not answer, could not be asked, or said neither yes nor no.
    pub(crate) fn is_unknown(&self) -> bool {
        let health = self.seen.health.as_ref();
        let is_untold = |health: &Result<Health, String>| {
            health.as_ref().map_or(true, |health| health.verdict == Verdict::Inconclusive)
        };
        self.seen.state.is_err()
            || self.seen.files.as_ref().is_some_and(Result::is_err)
            || health.is_some_and(is_untold)
    }

    /// Whether it is not as it should be: it drifted, or what it should serve does not work.
    pub(crate) fn is_wrong(&self) -> bool {
        let health = self.seen.health.as_ref().and_then(|health| health.as_ref().ok());
        let ill = health.is_some_and(|health| health.verdict == Verdict::Unhealthy);
        ill || self.drift.iter().any(|drift| !drift.how.is_unknown())
    }
}

impl Site {
    /// Each machine, not contacted yet; `None` for those that nobody can reach from here.
    fn ways(&self, targets: &[Target]) -> BTreeMap<Name, Option<Arc<dyn Machine>>> {
        let memory = Memory::new(self.home.manifests());
        let mut machines = reach::machines(&self.environment, targets, &memory, self.pulls.as_ref());
        targets.iter().map(|target| (target.name.clone(), machines.remove(&target.name))).collect()
    }

    /// Asks all these machines at once what they are. Cancel-safe.
    pub(crate) async fn call(&self, targets: &[Target], patience: Duration) -> Roll {
        call(&self.ways(targets), patience).await
    }

    /// Looks at the environment's machines, at whoever balances, and at the ledger. Cancel-safe.
    ///
    /// # Errors
    /// The inventory, the ledger or a release can't be read. A machine that does not answer is no error.
    pub(crate) async fn look(
        &self,
        survey: &Survey,
        cancel: &CancellationToken,
    ) -> Result<EnvironmentLook, Problem> {
        let targets = self.targets_there(cancel).await?;
        let shelf = self.shelf();
        let question = |name: &Name, release: &Digest| {
            let known = shelf.get(release).ok().flatten()?;
            let setting = known.settings.get(&self.environment.name)?;
            let target = targets.iter().find(|target| target.name == *name)?;
            let (port, check) = (setting.port_on(target), setting.health.clone());
            Some(Question { release: *release, port, check, min_healthy_seconds: 0 })
        };
        let ways = self.ways(&targets);
        let (mut seen, traffic) =
            tokio::join!(survey.look(&ways, question), self.traffic(&targets, survey.patience));
        // Read last: a deployment that ended meanwhile has changed both.
        let entries = self.log().since(0).map_err(FleetDriveError::from)?;
        let state = FleetState::of(entries.iter().map(|entry| (entry.at, &entry.event)));
        let facts = facts_of_all(&self.home, slice::from_ref(self))?;
        let mut should = due(&facts);
        let mut of = |name: &Name| should.remove(&(self.environment.name.clone(), name.clone()));
        let looks = targets.into_iter().filter_map(|target| {
            let seen = seen.remove(&target.name)?;
            // What was stopped because its time was over is to serve nothing.
            let is_stopped = state.warm.as_ref().is_some_and(|warm| warm.is_stopped(&target.name));
            let should = of(&target.name).map(|should| should.filter(|_| !is_stopped));
            let share = traffic.as_ref().and_then(|seen| Some(share(seen.as_ref().ok()?, &target.name)));
            let quarantined = state.quarantined.get(&target.name).cloned();
            let drift = drift_of(&target.name, should, state.epoch, &seen);
            Some(TargetLook { target, should: should.flatten(), seen, drift, quarantined, share })
        });
        let targets = looks.collect();
        let environment = self.environment.name.clone();
        Ok(EnvironmentLook { environment, has_machines: self.has_machines, state, targets, traffic })
    }

    async fn traffic(&self, targets: &[Target], patience: Duration) -> Option<Result<BalancerState, String>> {
        self.environment.traffic.as_ref().filter(|_| self.has_machines)?;
        let found = async {
            let secrets = secrets_of(&self.home, [&self.environment]).await?;
            traffic::balancer(&self.environment, targets, &secrets).await
        };
        let balancer = match found.await {
            Ok(balancer) => balancer?,
            Err(problem) => return Some(Err(problem.what)),
        };
        Some(match tokio::time::timeout(patience, balancer.observe()).await {
            Ok(seen) => seen.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", patience.as_secs())),
        })
    }
}

/// How one machine is not as the ledger has it. `should` is `None` where no deployment of the ledger was for it.
fn drift_of(target: &Name, should: Option<Option<Digest>>, epoch: u64, seen: &Sighting) -> Vec<Drift> {
    let expected = should.map(|should| (target.clone(), should)).into_iter().collect();
    let is = BTreeMap::from([(target.clone(), seen.state.clone())]);
    let mut found = drift(&expected, epoch, &is);
    // Of what it should not serve, the files do not matter.
    let current = seen.state.as_ref().ok().and_then(|state| state.current);
    if let (Some(current), Some(Ok(files))) = (current, &seen.files)
        && should.flatten() == Some(current)
    {
        found.extend(changed_files(target, &current, files));
    }
    found
}

/// Requests of ten thousand that a machine gets.
fn share(traffic: &BalancerState, target: &Name) -> u32 {
    let serving = traffic.serving();
    let weight = |name: &Name| traffic.members.get(name).map_or(0, |member| u64::from(member.weight));
    let all: u64 = serving.iter().map(|name| weight(name)).sum();
    let own = if serving.contains(target) { weight(target) } else { 0 };
    // At most ten thousand, which is a number of 32 bits.
    (own * 10_000).checked_div(all).and_then(|share| u32::try_from(share).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use staith_model::Access;
    use staith_releaser::{
        fleet::{balancer::Member, machine::MachineState, record::drift::How},
        host::Files,
    };

    use std::collections::BTreeSet;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn sighting(current: &Digest, files: Files) -> Sighting {
        let state = MachineState { current: Some(*current), ..MachineState::default() };
        Sighting { state: Ok(state), files: Some(Ok(files)), health: None }
    }

    #[test]
    fn files_count_where_the_release_is_the_right_one() {
        let (new, old) = (Digest::of(b"new"), Digest::of(b"old"));
        let damaged = || Files::Damaged("`a`: its content differs".into());
        let of = |should, seen| -> Vec<How> {
            drift_of(&name("web1"), should, 0, &seen).into_iter().map(|drift| drift.how).collect()
        };
        assert_eq!(of(Some(Some(new)), sighting(&new, Files::Complete)), []);
        assert!(matches!(of(Some(Some(new)), sighting(&new, damaged()))[..], [How::OtherFiles { .. }]));
        assert!(matches!(of(Some(Some(new)), sighting(&old, damaged()))[..], [How::OtherRelease { .. }]));
        assert!(matches!(of(None, sighting(&old, damaged()))[..], [How::NotOfRecord]));
        let silent = Sighting { state: Err("no route".into()), files: None, health: None };
        assert_eq!(of(None, silent), [], "nothing should be there, and nothing is known");
    }

    #[test]
    fn health_that_can_not_be_told_is_unknown() {
        let of = |health: Option<Result<Health, String>>| {
            let release = Digest::of(b"new");
            let seen = Sighting { health, ..sighting(&release, Files::Complete) };
            let target = Target {
                name: name("web1"),
                access: Access::Local,
                pool: None,
                tags: BTreeSet::new(),
                roles: BTreeSet::new(),
                variables: BTreeMap::new(),
                serves_at: None,
            };
            let look = TargetLook {
                target,
                should: Some(release),
                seen,
                drift: Vec::new(),
                quarantined: None,
                share: None,
            };
            (look.is_wrong(), look.is_unknown())
        };
        let health = |verdict| {
            let (url, observations, took) = (String::new(), Vec::new(), Duration::ZERO);
            Some(Ok(Health { verdict, url, observations, needed: 1, took, log: None }))
        };
        assert_eq!(of(None), (false, false));
        assert_eq!(of(health(Verdict::Healthy)), (false, false));
        assert_eq!(of(health(Verdict::Unhealthy)), (true, false));
        assert_eq!(of(health(Verdict::Inconclusive)), (false, true));
        assert_eq!(of(Some(Err("no answer within 10 s".into()))), (false, true));
    }

    #[test]
    fn shares_are_of_those_that_serve() {
        let member = |weight, admitted, up| Member { weight, admitted, up, in_flight: None };
        let members = [
            (name("a"), member(192, true, Some(true))),
            (name("b"), member(64, true, None)),
            (name("c"), member(256, false, Some(true))),
            (name("d"), member(256, true, Some(false))),
        ];
        let traffic = BalancerState { epoch: None, members: members.into() };
        let of = |text: &str| share(&traffic, &name(text));
        assert_eq!([of("a"), of("b"), of("c"), of("d"), of("e")], [7500, 2500, 0, 0, 0]);
        assert_eq!(share(&BalancerState::default(), &name("a")), 0);
    }
}
