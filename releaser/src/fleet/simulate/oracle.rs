//! Asked at each change whether it may be. What it says ends up in [`World::violations`](super::World::violations).

use staith_model::{Digest, Name};

use super::world::Truth;

impl Truth {
    /// Whether a client that asks the balancer now gets a good answer.
    pub(super) fn is_served(&self) -> bool {
        let Some(admitted) = &self.admitted else { return true };
        admitted.keys().any(|name| self.machines.get(name).is_some_and(|machine| machine.answers()))
    }

    /// I2: nothing shows anywhere before everything is everywhere.
    pub(super) fn check_barrier(&mut self, what: &str) {
        let lacking = self.machines.iter().find(|(name, machine)| {
            !self.left_out.contains(*name) && !machine.releases.contains(&self.wanted)
        });
        if let Some((name, _)) = lacking {
            self.violations.push(format!("I2: {what} while {name} is not staged"));
        }
    }

    /// I3: what the driver was told counts, whatever the cause; taking out one more must stay within the bound. A machine
    /// that it was told is out of service anyway costs nothing.
    pub(super) fn check_budget(&mut self, taken: &[Name], what: &str) {
        let told_out = |name: &Name| {
            let out = self.admitted.as_ref().is_some_and(|admitted| !admitted.contains_key(name));
            out || self.machines.get(name).is_some_and(|machine| !machine.told_well)
        };
        if taken.iter().all(told_out) {
            return;
        }
        let out = self.machines.keys().filter(|name| taken.contains(name) || told_out(name)).count();
        if out > self.max_unavailable {
            let names: Vec<&str> = taken.iter().map(Name::as_str).collect();
            let max = self.max_unavailable;
            self.violations.push(format!("I3: {what} {} makes {out} unavailable of {max}", names.join(", ")));
        }
    }

    /// A machine that gets requests and answers them is not restarted, where it could have been drained.
    pub(super) fn check_drained(&mut self, name: &Name, to: Option<&Digest>) {
        let admitted = self.admitted.as_ref().is_some_and(|admitted| admitted.contains_key(name));
        let answers = self.machines.get(name).is_some_and(|machine| machine.answers());
        let changes = self.machines.get(name).is_some_and(|machine| machine.running.as_ref() != to);
        if self.drains && admitted && answers && changes && to.is_some() {
            self.violations.push(format!("{name} was restarted while it got requests"));
        }
        let believed = self.left.get(name).is_some_and(|left| left.elapsed() < self.lingers);
        if self.drains && believed && answers && changes && to.is_some() {
            self.violations.push(format!("{name} was restarted while clients believed that it serves"));
        }
    }

    /// Something is done, and a client that was served before is served after.
    pub(super) fn and_still_serve(&mut self, what: &str, change: impl FnOnce(&mut Self)) {
        let before = self.is_served();
        change(self);
        if before && !self.is_served() && self.drains {
            self.violations.push(format!("no endpoint is left after {what}"));
        }
    }
}
