//! Which of the steps that may start do start now, so that what runs at once fits into the machine. Pure.

use staith_model::{Limits, Name};

use super::Budget;

/// How often a step that does not fit may be overtaken by later ones that do. Some overtaking keeps the machine busy; beyond
/// this, nothing starts before the step does, so that a large step among many small ones has its turn.
const MOST_OVERTAKEN: usize = 8;

/// What a step may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Demand {
    /// Thousandths of a processor.
    pub(super) cpu_milli: u64,
    /// Bytes.
    pub(super) memory: u64,
}

impl Budget {
    /// What a step with these limits is taken to use. Where it names none, its share among as many steps as may run at once;
    /// a step that may use more than there is, is taken to use all there is, and so runs alone. What its services may use is
    /// added, as far as they say: one that says nothing waits for requests most of the time, and the step waits meanwhile.
    pub(super) fn demand<'l>(
        &self,
        limits: &Limits,
        services: impl IntoIterator<Item = &'l Limits>,
    ) -> Demand {
        let jobs = self.jobs.max(1) as u64;
        let own = Demand {
            cpu_milli: limits.cpu_milli.unwrap_or(self.cpu_milli / jobs),
            memory: limits.memory.unwrap_or(self.memory / jobs),
        };
        let all = services.into_iter().fold(own, |sum, service| Demand {
            cpu_milli: sum.cpu_milli.saturating_add(service.cpu_milli.unwrap_or_default()),
            memory: sum.memory.saturating_add(service.memory.unwrap_or_default()),
        });
        Demand { cpu_milli: all.cpu_milli.min(self.cpu_milli), memory: all.memory.min(self.memory) }
    }
}

/// The steps that may start, the one that has waited longest first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    name: Name,
    demand: Demand,
    overtaken: usize,
}

impl Queue {
    /// Takes what may start now: whoever waits already keeps its place, who is not among them any more loses it.
    pub(super) fn update<'n>(&mut self, ready: impl Iterator<Item = (&'n Name, Demand)>) {
        let ready: Vec<(&Name, Demand)> = ready.collect();
        self.waiting.retain(|waiting| ready.iter().any(|(name, _)| **name == waiting.name));
        for (name, demand) in ready {
            if !self.waiting.iter().any(|waiting| waiting.name == *name) {
                self.waiting.push(Waiting { name: name.clone(), demand, overtaken: 0 });
            }
        }
    }

    /// Takes out what starts now, beside what is running.
    pub(super) fn start(&mut self, running: &[Demand], budget: &Budget) -> Vec<(Name, Demand)> {
        let mut room = Room::beside(running, budget);
        let (mut started, mut staying) = (Vec::new(), Vec::new());
        let mut is_closed = false;
        for waiting in self.waiting.drain(..) {
            if !is_closed && room.take(waiting.demand) {
                staying.iter_mut().for_each(|earlier: &mut Waiting| earlier.overtaken += 1);
                started.push((waiting.name, waiting.demand));
            } else {
                is_closed |= waiting.overtaken >= MOST_OVERTAKEN;
                staying.push(waiting);
            }
            // Also those that come within one call count.
            is_closed |= staying.iter().any(|earlier| earlier.overtaken >= MOST_OVERTAKEN);
        }
        self.waiting = staying;
        started
    }
}

struct Room {
    jobs: usize,
    cpu_milli: u64,
    memory: u64,
}

impl Room {
    fn beside(running: &[Demand], budget: &Budget) -> Self {
        let used = |part: fn(&Demand) -> u64| running.iter().map(part).fold(0, u64::saturating_add);
        Self {
            jobs: budget.jobs.max(1).saturating_sub(running.len()),
            cpu_milli: budget.cpu_milli.saturating_sub(used(|demand| demand.cpu_milli)),
            memory: budget.memory.saturating_sub(used(|demand| demand.memory)),
        }
    }

    /// Whether a step fits; it is taken off then.
    fn take(&mut self, demand: Demand) -> bool {
        let fits = self.jobs > 0 && demand.cpu_milli <= self.cpu_milli && demand.memory <= self.memory;
        if fits {
            self.jobs -= 1;
            self.cpu_milli -= demand.cpu_milli;
            self.memory -= demand.memory;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BUDGET: Budget = Budget { jobs: 4, cpu_milli: 4000, memory: 1000 };

    fn name(number: usize) -> Name {
        format!("s{number}").parse().unwrap()
    }

    fn limits() -> impl Strategy<Value = Limits> {
        let some = |most| prop::option::of(0..most);
        (some(6000u64), some(1500u64)).prop_map(|(cpu_milli, memory)| Limits {
            cpu_milli,
            memory,
            ..Limits::default()
        })
    }

    /// Lets steps come and go: each number ends one of the running steps; one more step comes each time.
    fn live(
        steps: &[Limits],
        ends: &[prop::sample::Index],
        mut see: impl FnMut(&[(Name, Demand)], &Queue),
    ) -> Vec<Name> {
        let (mut queue, mut running, mut order) = (Queue::default(), Vec::<(Name, Demand)>::new(), vec![]);
        let mut ends = ends.iter().cycle();
        let mut come = 0;
        while order.len() < steps.len() {
            come = (come + 2).min(steps.len());
            let new: Vec<(Name, Demand)> = (0..come)
                .map(|number| (name(number), BUDGET.demand(&steps[number], [])))
                .filter(|(name, _)| !order.contains(name))
                .collect();
            queue.update(new.iter().map(|(name, demand)| (name, *demand)));
            let demands: Vec<Demand> = running.iter().map(|(_, demand)| *demand).collect();
            let started = queue.start(&demands, &BUDGET);
            order.extend(started.iter().map(|(name, _)| name.clone()));
            running.extend(started);
            see(&running, &queue);
            if let Some(end) = ends.next().filter(|_| !running.is_empty()) {
                running.remove(end.index(running.len()));
            }
        }
        order
    }

    fn lives() -> impl Strategy<Value = (Vec<Limits>, Vec<prop::sample::Index>)> {
        (prop::collection::vec(limits(), 1..40), prop::collection::vec(any::<prop::sample::Index>(), 1..40))
    }

    proptest! {
        #[test]
        fn what_runs_fits_into_the_machine((steps, ends) in lives()) {
            live(&steps, &ends, |running, _| {
                assert!(running.len() <= BUDGET.jobs);
                assert!(running.iter().map(|(_, demand)| demand.cpu_milli).sum::<u64>() <= BUDGET.cpu_milli);
                assert!(running.iter().map(|(_, demand)| demand.memory).sum::<u64>() <= BUDGET.memory);
            });
        }

        #[test]
        fn a_machine_with_nothing_to_do_takes_the_first((steps, ends) in lives()) {
            live(&steps, &ends, |running, queue| {
                assert!(!running.is_empty() || queue.waiting.is_empty());
            });
        }

        #[test]
        fn nobody_is_overtaken_for_ever((steps, ends) in lives()) {
            let order = live(&steps, &ends, |_, queue| {
                assert!(queue.waiting.iter().all(|waiting| waiting.overtaken <= MOST_OVERTAKEN));
            });
            for (number, _) in steps.iter().enumerate() {
                let place = order.iter().position(|step| *step == name(number)).unwrap();
                let later = order[..place].iter().filter(|step| (number + 1..steps.len()).any(|later| **step == name(later)));
                // Both of two that come at once count as earlier and later.
                prop_assert!(later.count() <= MOST_OVERTAKEN);
            }
        }
    }

    #[test]
    fn a_step_larger_than_the_machine_runs_alone() {
        let large = Limits { memory: Some(u64::MAX), cpu_milli: Some(u64::MAX), ..Limits::default() };
        let (large, small) = (BUDGET.demand(&large, []), BUDGET.demand(&Limits::default(), []));
        let mut queue = Queue::default();
        queue.update([(&name(0), large), (&name(1), small)].into_iter());
        assert_eq!(queue.start(&[], &BUDGET), [(name(0), large)]);
        assert_eq!(queue.start(&[large], &BUDGET), []);
        assert_eq!(queue.start(&[], &BUDGET), [(name(1), small)]);
    }

    #[test]
    fn what_services_may_use_is_added() {
        let limits = |cpu_milli, memory| Limits { cpu_milli, memory, ..Limits::default() };
        let demand = |services: &[Limits]| BUDGET.demand(&limits(Some(500), Some(100)), services);
        assert_eq!(demand(&[limits(None, None)]), Demand { cpu_milli: 500, memory: 100 });
        let two = [limits(Some(1000), Some(200)), limits(None, Some(300))];
        assert_eq!(demand(&two), Demand { cpu_milli: 1500, memory: 600 });
        let vast = [limits(Some(u64::MAX), Some(u64::MAX))];
        assert_eq!(demand(&vast), Demand { cpu_milli: BUDGET.cpu_milli, memory: BUDGET.memory });
    }

    #[test]
    fn steps_without_limits_run_as_many_at_once_as_there_are_jobs() {
        let budget = Budget { jobs: 7, cpu_milli: 2000, memory: 1 << 30 };
        let names: Vec<Name> = (0..9).map(name).collect();
        let mut queue = Queue::default();
        queue.update(names.iter().map(|name| (name, budget.demand(&Limits::default(), []))));
        assert_eq!(queue.start(&[], &budget).len(), 7);
    }
}
