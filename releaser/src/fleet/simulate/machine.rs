//! The seam to a simulated machine.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use staith_model::{Blame, Digest, Hook, Name};
use tokio_util::sync::CancellationToken;

use super::{
    faults::Fault,
    world::{SimulatedMachine, Truth, Way, World},
};
use crate::{
    fleet::machine::{
        Facts, HookOutcome, Load, Machine, MachineError, MachineState, Order, Question, Serving,
    },
    health::{Answer, Health, Observation, Verdict},
    host::{Done, PackageFiles, Patience, Progress, Staged},
};

/// How long a service takes to start.
const START: Duration = Duration::from_millis(20);

/// The seam to one machine of the world.
pub(super) struct Seam {
    pub(super) world: World,
    pub(super) name: Name,
}

impl Seam {
    fn lost(&self, what: &'static str) -> MachineError {
        MachineError::Lost { target: self.name.to_string(), what, why: "no answer".into() }
    }

    fn refused(&self, what: &'static str, why: &str) -> MachineError {
        MachineError::Refused {
            target: self.name.to_string(),
            what,
            why: why.into(),
            remedy: "none is known".into(),
            blame: Blame::Environment,
        }
    }

    fn fence(&self, machine: &mut SimulatedMachine, order: &Order) -> Result<(), MachineError> {
        if order.epoch < machine.epoch {
            let (target, seen) = (self.name.to_string(), machine.epoch);
            return Err(MachineError::Fenced { target, seen, asked: order.epoch });
        }
        machine.epoch = order.epoch;
        Ok(())
    }

    async fn call<T>(
        &self,
        what: &'static str,
        act: impl AsyncFnOnce(Option<Fault>) -> Result<T, MachineError>,
    ) -> Result<T, MachineError> {
        let (way, fault) = self.world.before(Some(&self.name)).await;
        if let Way::Lost = way {
            return Err(self.lost(what));
        }
        let done = act(fault).await;
        match self.world.after(Some(&self.name), fault).await {
            Way::Lost => Err(self.lost(what)),
            Way::Through => done,
        }
    }

    fn edit<T>(&self, with: impl FnOnce(&mut SimulatedMachine) -> T) -> Result<T, MachineError> {
        let mut truth = self.world.truth();
        truth.machines.get_mut(&self.name).map(with).ok_or_else(|| self.lost("be there"))
    }

    fn tell(&self, what: String) {
        self.world.truth().effects.push(what);
    }
}

#[async_trait]
impl Machine for Seam {
    async fn reach(&self) -> Result<Facts, MachineError> {
        self.call("say what it is", async |_| {
            Ok(Facts {
                machine_id: self.name.to_string(),
                boot_id: "1".into(),
                architecture: "x86_64".into(),
                system: "simulated".into(),
                superuser: true,
                free_bytes: 1 << 40,
                systemd: true,
            })
        })
        .await
    }

    async fn observe(&self) -> Result<MachineState, MachineError> {
        let seen = self
            .call("say what is there", async |_| {
                self.edit(|machine| {
                    machine.told_well = machine.running.is_some();
                    MachineState {
                        epoch: machine.epoch,
                        releases: machine.releases.clone(),
                        current: machine.current,
                        previous: machine.previous,
                        serving: Some(match machine.running {
                            None => Serving::Down,
                            Some(release) => Serving::Up(Some(release)),
                        }),
                        unfinished: machine.unfinished,
                    }
                })
            })
            .await;
        if seen.is_err() {
            self.edit(|machine| machine.told_well = false)?;
        }
        seen
    }

    async fn stage(
        &self,
        order: &Order,
        load: &Load,
        _files: Arc<dyn PackageFiles>,
        _progress: Progress,
        _cancel: CancellationToken,
    ) -> Result<Staged, MachineError> {
        self.tell(format!("stage {}", self.name));
        self.call("take files", async |_| {
            self.edit(|machine| self.fence(machine, order))??;
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.edit(|machine| {
                machine.staged += 1;
                let already = !machine.releases.insert(load.release);
                Staged { already, files: 1, bytes: 1 }
            })
        })
        .await
    }

    async fn switch(&self, order: &Order, to: Option<&Digest>) -> Result<Done, MachineError> {
        let release = to.map_or_else(|| "nothing".into(), |to| to.short());
        self.tell(format!("switch {} to {release}", self.name));
        self.call("switch", async |_| {
            self.edit(|machine| self.fence(machine, order))??;
            let there = |machine: &mut SimulatedMachine| to.is_none_or(|to| machine.releases.contains(to));
            if !self.edit(there)? {
                return Err(self.refused("switch", "the release is not there"));
            }
            let as_it_is = |machine: &mut SimulatedMachine| {
                machine.current.as_ref() == to
                    && machine.running.as_ref() == to
                    && machine.unfinished.is_none()
            };
            if self.edit(as_it_is)? {
                return Ok(Done::ALREADY);
            }
            self.flip(order, to);
            tokio::time::sleep(START).await;
            let failed = self.edit(|machine| {
                // A machine that started anew in between has started what it found.
                if machine.unfinished == Some(order.operation) {
                    machine.unfinished = None;
                    machine.running = to.copied().filter(|_| !machine.stubborn);
                }
                machine.stubborn && to.is_some()
            })?;
            if failed {
                return Err(self.refused("restart the service", "it ended at once"));
            }
            Ok(Done::NOW)
        })
        .await
    }

    async fn hook(&self, order: &Order, _release: &Digest, hook: &Hook) -> Result<HookOutcome, MachineError> {
        self.tell(format!("hook {} on {}", hook.name, self.name));
        self.call("run a hook", async |fault| {
            let outcome =
                |code, already| HookOutcome { code: Some(code), timed_out: false, said: Vec::new(), already };
            let known = self.edit(|machine| {
                self.fence(machine, order)?;
                let known = machine.hooks.get(&order.operation).copied();
                if known.is_none() {
                    let is_first = machine.begun_hooks.insert(order.operation);
                    if !is_first && !hook.repeatable {
                        let (target, hook) = (self.name.to_string(), hook.name.to_string());
                        return Err(MachineError::Undecided { target, hook });
                    }
                    machine.hook_runs.push(hook.name.clone());
                }
                Ok(known)
            })??;
            if let Some(code) = known {
                return Ok(outcome(code, true));
            }
            if fault == Some(Fault::RebootDuring) {
                self.world.reboot(Some(&self.name));
                return Err(self.lost("run a hook"));
            }
            self.edit(|machine| {
                let code = i32::from(machine.failing_hooks.contains(&hook.name));
                machine.hooks.insert(order.operation, code);
                outcome(code, false)
            })
        })
        .await
    }

    async fn probe(&self, question: &Question, _patience: Patience) -> Result<Health, MachineError> {
        self.call("say how it is", async |fault| {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let well = self.edit(|machine| {
                let well = machine.running == Some(question.release) && machine.answers();
                machine.told_well = well;
                well
            })?;
            Ok(health(match fault {
                Some(Fault::Inconclusive) => Verdict::Inconclusive,
                _ if well => Verdict::Healthy,
                _ => Verdict::Unhealthy,
            }))
        })
        .await
    }

    async fn retain(&self, order: &Order, keep: &BTreeSet<Digest>) -> Result<BTreeSet<Digest>, MachineError> {
        self.tell(format!("retain on {}", self.name));
        self.call("remove old files", async |_| {
            self.edit(|machine| {
                self.fence(machine, order)?;
                let stays = |release: &Digest| {
                    keep.contains(release)
                        || machine.current == Some(*release)
                        || machine.previous == Some(*release)
                };
                let gone: BTreeSet<Digest> =
                    machine.releases.iter().filter(|release| !stays(release)).copied().collect();
                machine.releases.retain(|release| !gone.contains(release));
                Ok(gone)
            })?
        })
        .await
    }
}

impl Seam {
    /// The pointer moves at one instant, and the service is down until it has started again.
    fn flip(&self, order: &Order, to: Option<&Digest>) {
        let mut truth = self.world.truth();
        let what = format!("switching {}", self.name);
        if to == Some(&truth.wanted) {
            truth.check_barrier(&what);
        }
        // Going back from the first release ever leads to nothing: nobody is meant to be left in service.
        if to.is_some() && !truth.left_out.contains(&self.name) {
            truth.check_budget(std::slice::from_ref(&self.name), &what);
        }
        truth.check_drained(&self.name, to);
        let name = &self.name;
        let change = |truth: &mut Truth| {
            let Some(machine) = truth.machines.get_mut(name) else { return };
            if machine.current.as_ref() != to {
                machine.previous = machine.current;
                machine.current = to.copied();
                *machine.flips.entry(to.copied()).or_default() += 1;
            }
            machine.unfinished = Some(order.operation);
            machine.running = None;
            machine.told_well = false;
        };
        // Back to before the first release nobody is left, as nobody was there.
        if to.is_none() && truth.nobody_before {
            change(&mut truth);
        } else {
            truth.and_still_serve(&what, change);
        }
    }
}

fn health(verdict: Verdict) -> Health {
    let answer = match verdict {
        Verdict::Healthy => Answer::Good { status: 200 },
        Verdict::Unhealthy => Answer::Refused,
        Verdict::Inconclusive => Answer::Unproven("who listens can't be read".into()),
    };
    let (first, last) = (Duration::ZERO, Duration::from_millis(10));
    Health {
        verdict,
        url: "http://127.0.0.1/".into(),
        observations: vec![Observation { answer, times: 1, first, last }],
        needed: 1,
        took: last,
        log: None,
    }
}
