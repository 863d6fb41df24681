//! What people say to a deployment that is under way: that it stands still and goes on, that what failed is tried again, done without, or
//! left as it is.

use std::collections::BTreeMap;

use staith_model::{Ask, DeploymentChange as Change, DeploymentId, FleetPlan, Name, Work};

use super::*;
use crate::fleet::{
    drive::{Deployer, Limits, Request, Stopped, WaitsFor},
    simulate::{BEGINNING, World},
};

/// Shorter than the time after which a deployment that stands still goes back.
const IN_TIME: u64 = 60_000;

/// Somebody has it stand still at some moment, and perhaps go on in time.
pub(super) fn any_paused() -> impl Strategy<Value = Scenario> {
    let resumed = prop::option::weighted(0.7, 0u64..IN_TIME);
    // Most of them while machines change.
    let at = prop_oneof![3 => 120u64..700, 1 => 0u64..4000];
    (any_quiet(), faults(network()), at, resumed).prop_map(|(mut scenario, faults, at, after)| {
        scenario.faults = faults;
        scenario.asks.push((at, Ask::Pause));
        scenario.asks.extend(after.map(|after| (at + after, Ask::Resume)));
        scenario
    })
}

/// What was begun on machines, as the log tells it.
#[derive(Default)]
struct Begun {
    machines: BTreeSet<Name>,
    shares: Option<BTreeMap<Name, u32>>,
}

impl Begun {
    fn taken_out(scenario: &Scenario, to: &BTreeMap<Name, u32>) -> BTreeSet<Name> {
        scenario.serving().into_iter().filter(|name| !to.contains_key(name)).collect()
    }

    /// Whether this is the beginning of something.
    fn is_new(&self, scenario: &Scenario, work: &Work) -> bool {
        match work {
            Work::Switch { target, .. } => !self.machines.contains(target),
            Work::Hook { target, at: HookPoint::BeforeRestart, .. } => !self.machines.contains(target),
            Work::Hook { at, .. } => *at != HookPoint::AfterRestart,
            Work::Serve { to } if scenario.has_pools() => self.shares.as_ref() != Some(to),
            Work::Serve { to } => !Self::taken_out(scenario, to).is_subset(&self.machines),
            _ => false,
        }
    }

    fn take(&mut self, scenario: &Scenario, work: &Work) {
        match work {
            Work::Switch { target, .. } | Work::Hook { target, at: HookPoint::BeforeRestart, .. } => {
                self.machines.insert(target.clone());
            }
            Work::Serve { to } => {
                self.machines.extend(Self::taken_out(scenario, to));
                self.shares = Some(to.clone());
            }
            _ => {}
        }
    }
}

/// While it stands still, what is begun is finished and nothing is begun; it goes on when somebody says so, and goes back when nobody does.
pub(super) fn stands_still(scenario: &Scenario) -> Result<(), TestCaseError> {
    let ended = completes(scenario)?;
    let (mut begun, mut is_still, mut stood) = (Begun::default(), false, false);
    for entry in &ended.entries {
        match &entry.event {
            FleetEvent::Changed { change, .. } => {
                is_still = *change == Change::Paused;
                stood |= is_still;
            }
            FleetEvent::Intent { work, .. } => {
                let is_new = is_still && begun.is_new(scenario, work);
                prop_assert!(!is_new, "it began {work:?} while it stood still\n{}", story(&ended));
                begun.take(scenario, work);
            }
            _ => {}
        }
    }
    let goes_on = scenario.asks.iter().any(|(_, ask)| *ask == Ask::Resume);
    prop_assert!(
        !stood || goes_on || ended.state == State::RolledBack,
        "it went on by itself\n{}",
        story(&ended)
    );
    // Whoever says it too late stops nothing.
    if !goes_on && ended.state != State::Succeeded {
        same(ended.state, State::RolledBack, "nobody said to go on", &ended)?;
        let said = ended.fold().deployment(&ended.deployment).and_then(|record| record.trouble.clone());
        prop_assert!(said.is_some_and(|why| why.what.contains("nobody said to go on")), "{}", story(&ended));
        return check_restored(scenario, &ended);
    }
    same(ended.state, State::Succeeded, "it goes on", &ended)?;
    check_arrived(scenario, &ended)?;
    // On its way a machine is switched once, however often it stood still.
    for number in members(scenario) {
        let machine = ended.world.machine(&name(number)).unwrap();
        same(machine.flips.get(&Some(scenario.wanted())).copied(), Some(1), "once", &ended)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn whoever_stands_still_begins_nothing(scenario in any_paused()) {
        stands_still(&scenario)?;
    }
}

/// A canary is watched for all of its time, though somebody had it stand still meanwhile.
#[test]
fn a_wave_that_stood_still_is_watched_anew() {
    let steps = vec![CanaryStep { targets: Amount::Count(1), bake_seconds: 50 }];
    let rollout =
        Rollout::Canary { steps, max_unavailable: Amount::Count(1), analysis: None, bake_seconds: 0 };
    let mut scenario = Scenario::of(3, rollout);
    scenario.asks = vec![(10_000, Ask::Pause), (12_000, Ask::Resume)];
    let ended = run(&scenario).unwrap();
    assert_eq!(ended.state, State::Succeeded, "{}", story(&ended));
    let at = |wanted: Change| {
        let is_it =
            |event: &FleetEvent| matches!(event, FleetEvent::Changed { change, .. } if *change == wanted);
        ended.entries.iter().find(|entry| is_it(&entry.event)).unwrap().at
    };
    assert!(at(Change::NextWave) >= at(Change::Resumed) + 50_000, "{}", story(&ended));
}

/// A migration is the first thing that shows: it does not begin either.
#[test]
fn whoever_stands_still_migrates_nothing() {
    let mut scenario = Scenario::of(2, Rollout::AllAtOnce { watch: None });
    scenario.hooks = all_hooks();
    scenario.asks = vec![(0, Ask::Pause)];
    let ended = run(&scenario).unwrap();
    assert_eq!(ended.state, State::RolledBack, "{}", story(&ended));
    assert!(
        !ended.world.effects().iter().any(|done| done.starts_with("hook")),
        "{:?}",
        ended.world.effects()
    );
    scenario.asks.push((5000, Ask::Resume));
    let ended = run(&scenario).unwrap();
    assert_eq!(ended.state, State::Succeeded, "{}", story(&ended));
}

/// It was taken for one whose driver had died, and reversed, as soon as somebody looked whether another one may begin.
#[test]
fn nobody_takes_the_place_of_one_that_stands_still() {
    runtime().block_on(async {
        let scenario = Scenario::of(3, Rollout::Rolling { max_unavailable: Amount::Count(1), watch: None });
        let world = scenario.world();
        let deployer = Deployer { stay: false, ..scenario.deployer(&world) };
        let plan = deployer.plan(scenario.wanted(), &scenario.setting()).await.unwrap();
        world.is_about(&plan);
        let asked = FleetEvent::Requested {
            deployment: deployment(),
            plan: Box::new(plan.clone()),
            by: "anna".into(),
            reason: String::new(),
            by_itself: false,
        };
        deployer.fleet.log.append(asked).await.unwrap();
        deployer.ask(&deployment(), "anna", Ask::Pause).await.unwrap();
        let stopped = deployer.drive(&deployment(), &mut |_| {}).await.unwrap();
        assert!(
            matches!(&stopped, Stopped::Waits(waits) if matches!(waits.what, WaitsFor::Resume(_))),
            "{stopped:?}"
        );
        let another = DeploymentId::new(BEGINNING, [2; 10]);
        let refused =
            deployer.deploy(Request { deployment: another, ..request(plan) }, &mut |_| {}).await.unwrap_err();
        assert!(refused.to_string().ends_with("`staith release resume` or `abort` decides"), "{refused}");
        deployer.ask(&deployment(), "anna", Ask::Resume).await.unwrap();
        let stopped = deployer.drive(&deployment(), &mut |_| {}).await.unwrap();
        assert_eq!(stopped, Stopped::Over(State::Succeeded));
        assert_eq!(world.violations(), Vec::<String>::new());
    });
}

/// A deployment that waits for a person, because a machine does not answer any more.
struct Undecided {
    scenario: Scenario,
    world: World,
    deployer: Deployer,
    lost: Name,
    /// What was done before.
    done: usize,
}

fn deployment() -> DeploymentId {
    DeploymentId::new(BEGINNING, [1; 10])
}

fn request(plan: FleetPlan) -> Request {
    Request { deployment: deployment(), plan, by: "anna".into(), reason: String::new(), by_itself: false }
}

impl Undecided {
    /// One machine of three is gone from this call on. `None` where that is no reason to decide anything.
    async fn since(call: usize) -> Option<Self> {
        let mut scenario =
            Scenario::of(3, Rollout::Rolling { max_unavailable: Amount::Count(1), watch: None });
        scenario.hooks = all_hooks();
        scenario.faults = Faults::from([(call, Fault::Unreachable(10_000_000))]);
        let world = scenario.world();
        let mut deployer = Deployer { stay: false, ..scenario.deployer(&world) };
        deployer.fleet.limits = Limits { decision: 100_000_000, ..deployer.fleet.limits };
        let plan = deployer.plan(scenario.wanted(), &scenario.setting()).await.unwrap();
        world.is_about(&plan);
        let Stopped::Waits(waiting) = deployer.deploy(request(plan), &mut |_| {}).await.unwrap() else {
            return None;
        };
        assert!(matches!(waiting.what, WaitsFor::Decision(_)), "{waiting:?}");
        let dark = |name: &Name| world.machine(name).unwrap().dark_until > world.now();
        let lost = (0..3).map(name).find(dark).unwrap();
        let done = world.effects().len();
        Some(Self { scenario, world, deployer, lost, done })
    }

    async fn asks(&self, ask: Ask) -> Stopped {
        self.deployer.ask(&deployment(), "anna", ask).await.unwrap();
        self.deployer.drive(&deployment(), &mut |_| {}).await.unwrap()
    }

    fn flips(&self, of: &Name) -> u32 {
        let machine = self.world.machine(of).unwrap();
        machine.flips.get(&Some(self.scenario.wanted())).copied().unwrap_or_default()
    }

    fn others(&self) -> impl Iterator<Item = Name> {
        (0..3).map(name).filter(|name| *name != self.lost)
    }

    /// Since it was decided, nothing was done to those that had arrived before.
    fn left_alone(&self, arrived: &[Name]) {
        let since = self.world.effects().split_off(self.done);
        let touches = |name: &Name, done: &str| {
            let words: Vec<&str> = done.split(' ').collect();
            matches!(words[0], "stage" | "switch") && words.contains(&name.as_str())
        };
        for name in arrived {
            let again = since.iter().find(|done| touches(name, done));
            assert_eq!(again, None, "{name} had arrived");
        }
    }

    fn no_violations(&self) {
        assert_eq!(self.world.violations(), Vec::<String>::new());
    }
}

/// Runs this from each call on at which a machine may be lost; how often somebody had to decide.
fn decided(decide: impl AsyncFn(&Undecided)) -> usize {
    let decides = |call: &usize| {
        runtime().block_on(async {
            let Some(waits) = Undecided::since(*call).await else { return false };
            decide(&waits).await;
            true
        })
    };
    (12..80).filter(decides).count()
}

#[test]
fn only_what_failed_is_tried_again() {
    let times = decided(async |waits: &Undecided| {
        let arrived: Vec<Name> = waits.others().filter(|name| waits.flips(name) == 1).collect();
        // Too early, it is the same question again.
        assert!(matches!(waits.asks(Ask::Retry).await, Stopped::Waits(_)));
        waits.world.heal();
        assert_eq!(waits.asks(Ask::Retry).await, Stopped::Over(State::Succeeded));
        waits.left_alone(&arrived);
        assert!((0..3).all(|number| waits.flips(&name(number)) == 1));
        assert_eq!(waits.world.admitted().unwrap().len(), 3);
        waits.no_violations();
    });
    assert!(times > 5, "only {times} got to where somebody has to decide");
}

#[test]
fn what_is_skipped_is_left_as_it_is() {
    let times = decided(async |waits: &Undecided| {
        let before = waits.world.machine(&waits.lost).unwrap();
        let served = waits.world.admitted().unwrap().contains_key(&waits.lost);
        let ask = Ask::Skip { target: waits.lost.clone() };
        assert_eq!(waits.asks(ask).await, Stopped::Over(State::Succeeded));
        let after = waits.world.machine(&waits.lost).unwrap();
        assert_eq!((before.current, before.hook_runs), (after.current, after.hook_runs));
        assert!(waits.others().all(|name| waits.flips(&name) == 1));
        let admitted = waits.world.admitted().unwrap();
        assert!(waits.others().all(|name| admitted.contains_key(&name)), "{admitted:?}");
        // Whoever balances sees it, though it can't be reached from here, and nobody took it away.
        assert_eq!(admitted.contains_key(&waits.lost), served);
    });
    assert!(times > 5, "only {times} got to where somebody has to decide");
}

#[test]
fn what_is_accepted_is_the_end() {
    let times = decided(async |waits: &Undecided| {
        let flips = |waits: &Undecided| (0..3).map(|number| waits.flips(&name(number))).collect::<Vec<_>>();
        let before = flips(waits);
        assert_eq!(waits.asks(Ask::Accept).await, Stopped::Over(State::Succeeded));
        assert_eq!(flips(waits), before);
        waits.no_violations();
    });
    assert!(times > 5, "only {times} got to where somebody has to decide");
}
