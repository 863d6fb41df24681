//! The seam to the simulated balancer: the same promises as a real one, and no more.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use staith_model::Name;
use tokio::time::Instant;

use super::world::{Way, World};
use crate::{
    fleet::{
        balancer::{Balancer, BalancerState, Member, Shift, Shifted},
        machine::Order,
    },
    traffic::TrafficError,
};

pub(super) struct Front {
    pub(super) world: World,
    pub(super) lingers: Duration,
}

fn lost(what: &'static str) -> TrafficError {
    TrafficError::Lost { what, why: "no answer".into() }
}

fn fence(seen: u64, order: &Order) -> Result<(), TrafficError> {
    if order.epoch < seen {
        return Err(TrafficError::Fenced { why: format!("epoch {} after {seen}", order.epoch) });
    }
    Ok(())
}

#[async_trait]
impl Balancer for Front {
    async fn observe(&self) -> Result<BalancerState, TrafficError> {
        let (way, fault) = self.world.before(None).await;
        let state = {
            let truth = self.world.truth();
            let admitted = truth.admitted.clone().unwrap_or_default();
            let member = |(name, machine): (&Name, &super::SimulatedMachine)| {
                let weight = admitted.get(name).copied().unwrap_or_default();
                let member = Member {
                    weight,
                    admitted: weight > 0,
                    up: Some(machine.running.is_some()),
                    in_flight: Some(0),
                };
                (name.clone(), member)
            };
            BalancerState {
                epoch: Some(truth.balancer_epoch),
                members: truth.machines.iter().map(member).collect(),
            }
        };
        match (way, self.world.after(None, fault).await) {
            (Way::Through, Way::Through) => {
                // Who balances has told that it is down, whatever the machine said before; but for one that came up meanwhile.
                let down =
                    |name: &Name| state.members.get(name).is_some_and(|member| member.up == Some(false));
                let mut truth = self.world.truth();
                let machines = truth.machines.iter_mut();
                let told = machines.filter(|(name, machine)| machine.running.is_none() && down(name));
                told.for_each(|(_, machine)| machine.told_well = false);
                drop(truth);
                Ok(state)
            }
            _ => Err(lost("say who serves")),
        }
    }

    async fn serve(&self, order: &Order, shift: &Shift) -> Result<Shifted, TrafficError> {
        let names: Vec<&str> = shift.to.keys().map(Name::as_str).collect();
        self.world.truth().effects.push(format!("serve {}", names.join(" ")));
        let (way, fault) = self.world.before(None).await;
        if let Way::Lost = way {
            return Err(lost("move requests"));
        }
        let done = self.shift(order, shift).await;
        match self.world.after(None, fault).await {
            Way::Lost => Err(lost("move requests")),
            Way::Through => done,
        }
    }

    fn granularity(&self) -> u32 {
        256
    }

    fn lingers(&self) -> Duration {
        self.lingers
    }
}

impl Front {
    /// New ones in, once they are up; then those that go out; then what they are answering.
    async fn shift(&self, order: &Order, shift: &Shift) -> Result<Shifted, TrafficError> {
        let refuse = |why: String| TrafficError::Refused { what: "move requests", why };
        if shift.to.is_empty() {
            return Err(refuse("nobody is to serve".into()));
        }
        {
            let mut truth = self.world.truth();
            fence(truth.balancer_epoch, order)?;
            truth.balancer_epoch = order.epoch;
            let admitted = truth.admitted.clone().unwrap_or_default();
            if admitted == shift.to {
                return Ok(Shifted { already: true, ..Shifted::default() });
            }
            let mut new = shift.to.keys().filter(|name| !admitted.contains_key(*name));
            let up = |name: &Name| truth.machines.get(name).is_some_and(|machine| machine.running.is_some());
            if let Some(down) = new.find(|name| !up(name)) {
                return Err(refuse(format!("{down} does not come up")));
            }
            truth.admitted = Some(admitted.into_iter().chain(shift.to.clone()).collect());
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
        {
            let mut truth = self.world.truth();
            // Who slept since the first half may have been overtaken.
            fence(truth.balancer_epoch, order)?;
            let before: BTreeMap<Name, u32> = truth.admitted.clone().unwrap_or_default();
            let gone: Vec<Name> =
                before.keys().filter(|name| !shift.to.contains_key(*name)).cloned().collect();
            // Who goes back to those that served takes nobody away from clients who was there when it began.
            let takes_away = gone.iter().any(|name| truth.served_before.contains(name));
            if truth.drains && takes_away {
                truth.check_budget(&gone, "draining");
            }
            truth.and_still_serve("draining", |truth| truth.admitted = Some(shift.to.clone()));
            truth.left.extend(gone.into_iter().map(|name| (name, Instant::now())));
        }
        tokio::time::sleep(shift.drain.min(Duration::from_millis(40))).await;
        Ok(Shifted::default())
    }
}
