//! The services beside one attempt at a step: started before its program, reached by name while it runs, ended after it.
//!
//! Each is a sandbox of its own over the files that the step sees, and fresh for each attempt, so that no attempt finds what
//! another has left. All of them live inside the attempt's own task: whoever drops the attempt drops them with it.

mod kept;
mod ready;
mod relay;
mod service;
#[cfg(test)]
mod tests;
mod words;

use std::{collections::BTreeMap, future::Future, net::Ipv4Addr, path::PathBuf};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use staith_model::{Name, ServicePlan};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use self::ready::{Unready, until_ready};
pub(super) use self::{service::Ended, words::amend};
use super::{
    attempt::{Attempt, Message},
    verdict::Verdict,
};
use crate::engine::{Arrival, Gate, Neighbour, StepSpec, gate};

/// The services of one attempt.
pub(super) struct Services<'a> {
    attempt: &'a Attempt,
    /// By name; the place of each decides its address.
    all: Vec<Reachable<'a>>,
    began: Instant,
    alive: FuturesUnordered<BoxFuture<'a, Ended>>,
    /// Those that ended before they were asked to.
    gone: Vec<Ended>,
    end: CancellationToken,
    /// The caller's half of the step's own gate, and what comes through it.
    doors: Option<(Gate, mpsc::Receiver<Arrival>)>,
}

/// A service and the way into its sandbox.
struct Reachable<'a> {
    plan: &'a ServicePlan,
    gate: Gate,
}

impl<'a> Services<'a> {
    /// Starts all services of an attempt, side by side, over `lowers`. They run while the other methods do.
    ///
    /// # Errors
    /// There is no place for what they write.
    pub(super) fn begin(attempt: &'a Attempt, lowers: &[PathBuf]) -> Result<Self, Verdict> {
        let mut services = Self {
            attempt,
            all: Vec::new(),
            began: Instant::now(),
            alive: FuturesUnordered::new(),
            gone: Vec::new(),
            end: CancellationToken::new(),
            doors: None,
        };
        for plan in attempt.plan.services_of(&attempt.step) {
            let (gate, _, keeper) = gate();
            let run = service::run(attempt, plan, lowers, keeper, services.end.clone())?;
            services.alive.push(Box::pin(run));
            services.all.push(Reachable { plan, gate });
        }
        Ok(services)
    }

    /// Waits until each of them can be used. Cancel-safe.
    ///
    /// # Errors
    /// What that means for the attempt: one ended or was not ready in time, or the attempt was cancelled. Those that go on
    /// have to be [ended](Self::end).
    pub(super) async fn until_ready(&mut self) -> Result<(), Verdict> {
        let one = |beside: &Reachable<'a>| {
            let (plan, gate) = (beside.plan, beside.gate.clone());
            async move { (plan, until_ready(&gate, plan).await) }
        };
        let mut waiting: FuturesUnordered<_> = self.all.iter().map(one).collect();
        while !waiting.is_empty() {
            tokio::select! {
                // What ended says more than that nobody answers there.
                biased;
                () = self.attempt.stop.cancel.cancelled() => return Err(Verdict::cancelled()),
                Some(ended) = self.alive.next() => return Err(self.ended_early(ended).await),
                Some((plan, ready)) = waiting.next() => match ready {
                    Ok(()) => {
                        let ready = Message::ServiceReady(plan.name.clone(), self.began.elapsed());
                        self.attempt.say(ready).await;
                    }
                    Err(unready) => return Err(self.not_ready(plan, &unready)),
                },
            }
        }
        Ok(())
    }

    async fn ended_early(&mut self, ended: Ended) -> Verdict {
        let verdict = words::ended_early(&ended, &self.hint());
        say_ended(self.attempt, &ended).await;
        self.gone.push(ended);
        verdict
    }

    fn not_ready(&self, plan: &ServicePlan, unready: &Unready) -> Verdict {
        words::not_ready(plan, unready, &self.hint())
    }

    /// Where what they wrote is, in words.
    fn hint(&self) -> Option<String> {
        let attempt = self.attempt;
        let kept = attempt.bench.logs.is_some();
        kept.then(|| format!("`staith logs {} {}` shows all that it wrote", attempt.run, attempt.step.name))
    }

    /// Says in the step's sandbox how they are reached.
    pub(super) fn introduce_to(&mut self, spec: &mut StepSpec) {
        if self.all.is_empty() {
            return;
        }
        let (own, arrivals, keeper) = gate();
        self.doors = Some((own, arrivals));
        spec.gate = Some(keeper);
        let neighbour = |(place, beside): (usize, &Reachable<'_>)| Neighbour {
            name: beside.plan.name.clone(),
            address: address(place),
            ports: beside.plan.ports.clone(),
        };
        spec.neighbours = self.all.iter().enumerate().map(neighbour).collect();
    }

    /// Runs the step's program to its end, and joins each connection that it makes to the service that it is for. A service
    /// that ends meanwhile is remembered, and said. Cancel-safe.
    pub(super) async fn run_beside<T>(&mut self, program: impl Future<Output = T>) -> T {
        let gates: BTreeMap<Name, Gate> =
            self.all.iter().map(|beside| (beside.plan.name.clone(), beside.gate.clone())).collect();
        let (_own, arrivals) = match self.doors.take() {
            Some((own, arrivals)) => (Some(own), arrivals),
            None => return program.await,
        };
        let relay = relay::relay(arrivals, gates);
        tokio::pin!(program, relay);
        loop {
            tokio::select! {
                ran = &mut program => return ran,
                never = &mut relay => match never {},
                Some(ended) = self.alive.next() => {
                    say_ended(self.attempt, &ended).await;
                    self.gone.push(ended);
                }
            }
        }
    }

    /// Asks all of them to end and waits until they have. Gives those that had ended before, and of each service its last
    /// lines. Cancel-safe.
    pub(super) async fn end(mut self) -> (Vec<Ended>, Vec<LastLines>) {
        self.end.cancel();
        let mut last = Vec::new();
        while let Some(ended) = self.alive.next().await {
            last.push((ended.service, ended.last));
        }
        last.extend(
            self.gone.iter_mut().map(|ended| (ended.service.clone(), std::mem::take(&mut ended.last))),
        );
        last.sort();
        (self.gone, last)
    }
}

async fn say_ended(attempt: &Attempt, ended: &Ended) {
    let how = words::how(&ended.exit);
    let how = attempt.bench.secrets.masker().text(&how).into_owned();
    attempt.say(Message::ServiceEnded(ended.service.clone(), how)).await;
}

/// A service and the last lines that it wrote.
pub(super) type LastLines = (Name, Vec<String>);

/// Where a step finds the service of this place on its own loopback interface: apart from what it uses itself there, as a
/// rule `127.0.0.1`, so that a service and the step may have the same port.
fn address(place: usize) -> Ipv4Addr {
    // A list in a pipeline has a thousand items at most.
    let place = u32::try_from(place).unwrap_or(u32::MAX).min(u32::from(u16::MAX));
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 8, 1)) + place)
}
