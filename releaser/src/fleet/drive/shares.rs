//! Who gets requests now, and who should, for a decision.

use std::collections::BTreeMap;

use staith_model::{Lost, Name, PaceKind, Work};

use super::{
    super::balancer::BalancerState,
    lingering,
    reconcile::Goal,
    view::{Sight, View},
};

/// Who gets requests, by weight.
pub(super) type Shares = BTreeMap<Name, u32>;

impl<'a> View<'a> {
    pub(super) fn balancer(&self) -> Option<&'a BalancerState> {
        self.sights.balancer.as_ref().and_then(Sight::seen)
    }

    pub(super) fn has_traffic(&self) -> bool {
        self.record.plan.traffic.is_some()
    }

    /// Contact lost with whoever balances.
    pub(super) fn lost_traffic(&self) -> Option<&'a Lost> {
        let looking = self.sights.balancer.as_ref().and_then(Sight::lost);
        looking.or_else(|| self.record.serve.as_ref().and_then(|serve| serve.lost.as_ref()))
    }

    pub(super) fn is_traffic_given_up(&self) -> bool {
        self.lost_traffic().is_some_and(|lost| lost.since.saturating_add(self.limits.contact) <= self.now)
    }

    /// The look at whoever balances, if that is needed and not under way.
    pub(super) fn look_at_traffic(&self, oldest: u64) -> Option<Work> {
        if !self.has_traffic() || self.running.contains(&Work::Look) || self.is_serve_running() {
            return None;
        }
        let stale = match &self.sights.balancer {
            None => true,
            Some(Sight::Seen { at, .. }) => *at < oldest,
            Some(Sight::Lost(lost)) => self.limits.again(lost) <= self.now,
        };
        stale.then_some(Work::Look)
    }

    pub(super) fn is_serve_running(&self) -> bool {
        self.running.iter().any(|work| matches!(work, Work::Serve { .. }))
    }

    /// Who gets requests now, as the provider tells, but for those that it finds down.
    pub(super) fn shares(&self) -> Shares {
        let members = self.balancer().map(|state| &state.members).into_iter().flatten();
        let serving =
            members.filter(|(_, member)| member.admitted && member.weight > 0 && member.up != Some(false));
        serving.map(|(name, member)| (name.clone(), member.weight)).collect()
    }

    /// Whether what was asked last of whoever balances is not known to be so.
    pub(super) fn is_unsettled(&self) -> bool {
        self.record.serve.as_ref().is_some_and(|serve| serve.settled.is_none())
    }

    /// Whether a machine gets requests for certain.
    pub(super) fn is_serving(&self, name: &Name) -> bool {
        let asked = self.record.serve.as_ref().filter(|serve| serve.settled.is_none());
        let stays = asked.is_none_or(|serve| serve.to.contains_key(name));
        stays && self.shares().contains_key(name)
    }

    /// Whether a machine may get requests, or may still be answering some.
    pub(super) fn may_get_requests(&self, name: &Name) -> bool {
        let Some(state) = self.balancer() else { return self.has_traffic() };
        if state.serving().contains(name) || self.is_unsettled() || self.is_serve_running() {
            return true;
        }
        // Clients may believe for a while what they were told before.
        self.lingering_until().is_some()
    }

    /// When clients stop to believe what they were told before the last change, in this deployment or in one before it.
    pub(super) fn lingering_until(&self) -> Option<u64> {
        self.record.plan.traffic.as_ref()?;
        lingering::of(self.record).max(self.lingers).filter(|until| *until > self.now)
    }

    /// Who should get requests, when `leaving` are taken out. Empty means that nothing is to be changed: there is no
    /// saying that nobody serves.
    pub(super) fn wanted_shares(&self, goal: &Goal, leaving: &[Name]) -> Shares {
        let plan = &self.record.plan;
        let Some(traffic) = &plan.traffic else { return Shares::new() };
        let now = self.shares();
        if let (PaceKind::Pools { to, from }, false) = (&plan.pace.kind, goal.relinks_in_place(self.record)) {
            if self.record.back {
                return self.healthy_of(&traffic.serving);
            }
            if from.as_ref() != Some(to) {
                // That is the swap: what everything before it was for.
                if !goal.may_begin && self.record.serve.is_none() {
                    return now;
                }
                let mut members = goal.targets.iter().filter(|(name, _)| !self.target(name).skipped);
                let all = members.all(|(name, to)| self.is_ready(name, *to));
                let ready = goal.targets.iter().filter(|(name, to)| self.is_ready(name, *to));
                let shares: Shares = ready.map(|(name, _)| (name.clone(), traffic.full_weight)).collect();
                return if all { shares } else { now };
            }
        }
        let mut shares = Shares::new();
        for one in plan.targets.iter().map(|one| &one.target.name).filter(|name| !self.out.contains(*name)) {
            let served = now.contains_key(one) && !leaving.contains(one) && self.target(one).failed.is_none();
            let stays = match goal.of(one) {
                Some(to) if to.is_some() && self.is_ready(one, to) => true,
                Some(_) => served,
                None if self.record.back => {
                    served || self.was_left_alone(one, traffic.serving.contains_key(one))
                }
                None => served,
            };
            if stays {
                shares.insert(one.clone(), self.weight(goal, one, traffic.full_weight));
            }
        }
        shares
    }

    /// Whether a machine served before, was only taken out of traffic, and can serve again.
    fn was_left_alone(&self, name: &Name, served_before: bool) -> bool {
        let down =
            |state: &BalancerState| state.members.get(name).is_some_and(|member| member.up == Some(false));
        let stopped =
            self.machine(name).is_some_and(|seen| seen.serving == Some(super::super::machine::Serving::Down));
        served_before && !stopped && !self.balancer().is_some_and(down)
    }

    /// Those that served before and are not known to be down; all of them if that would be nobody.
    fn healthy_of(&self, before: &Shares) -> Shares {
        let well =
            before.iter().filter(|(name, _)| !self.out.contains(*name) && self.was_left_alone(name, true));
        let well: Shares = well.map(|(name, weight)| (name.clone(), *weight)).collect();
        if well.is_empty() { before.clone() } else { well }
    }

    fn weight(&self, goal: &Goal, name: &Name, full: u32) -> u32 {
        let Some(wave) = goal.wave.and_then(|wave| self.record.plan.wave(wave)) else { return full };
        let fresh = self.machine(name).is_some_and(|seen| seen.current == Some(self.record.plan.release));
        if fresh && goal.of(name).is_some() { wave.weight } else { full }
    }
}

/// Whether two ways to share requests are the same: only the ratios matter.
pub(super) fn is_same(one: &Shares, other: &Shares) -> bool {
    let Some((first, second)) = one.values().next().zip(other.values().next()) else {
        return one.is_empty() && other.is_empty();
    };
    let ratio = |(left, right): (&u32, &u32)| {
        u64::from(*left) * u64::from(*second) == u64::from(*right) * u64::from(*first)
    };
    one.keys().eq(other.keys()) && one.values().zip(other.values()).all(ratio)
}
