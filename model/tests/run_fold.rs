//! The fold over events holds for all plans and all orders in which things may happen.

// A test says what went wrong by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use staith_model::*;

fn name(index: usize) -> Name {
    format!("s{index}").parse().unwrap()
}

fn service(name: &str) -> Name {
    name.parse().unwrap()
}

/// What of a step's condition chance chooses.
fn condition(choice: u8, needs: &[Name]) -> Option<Condition> {
    let of_first = |is| needs.first().map(|step| Condition::Step { step: step.clone(), is });
    match choice % 10 {
        0 => Some(Condition::Needs(Ending::Failed)),
        1 => Some(Condition::Needs(Ending::Ended)),
        2 => Some(Condition::Needs(Ending::Succeeded)),
        3 => of_first(Ending::Skipped),
        4 => of_first(Ending::Failed).map(|failed| Condition::Not(Box::new(failed))),
        _ => None,
    }
}

/// A plan of up to seven steps; the bits of `steps[i].0` choose among the steps before step `i`, `steps[i].1` whether it has
/// a condition, and whether it may fail.
fn plan(steps: &[(u8, u8)]) -> Plan {
    let steps = steps.iter().enumerate().map(|(index, (bits, kind))| {
        let needs: Vec<Name> = (0..index).filter(|earlier| bits >> earlier & 1 == 1).map(name).collect();
        StepPlan {
            when: condition(*kind, &needs),
            may_fail: kind % 3 == 0,
            services: if kind % 4 == 0 { vec![service("a"), service("b")] } else { vec![] },
            needs,
            ..StepPlan::new(name(index), Command::Shell("true".into()), Digest::of(b""))
        }
    });
    Plan {
        project: "p".parse().unwrap(),
        version: "1".into(),
        source: Source { tree: "0".repeat(40), commit: None, dirty: false },
        trigger: Trigger::default(),
        tools: vec![],
        steps: steps.collect(),
        left_out: vec![],
        services: vec![],
        packages: vec![],
    }
}

struct Story {
    events: Vec<Event>,
    state: RunState,
}

impl Story {
    fn begin(plan: Plan) -> Self {
        let run = RunId::new(1, [0; 10]);
        let what = EventKind::RunStarted { run, plan_digest: plan.digest(), plan: Box::new(plan) };
        let first = Event { v: EVENT_VERSION, seq: 0, at: 0, what };
        Self { state: RunState::begin(&first).unwrap(), events: vec![first] }
    }

    fn tell(&mut self, what: EventKind) -> Result<(), ImpossibleEvent> {
        let event = Event { v: EVENT_VERSION, seq: self.state.next_seq, at: 0, what };
        self.state.apply(&event)?;
        self.events.push(event);
        Ok(())
    }

    /// Lets a run happen as a dispatcher would, with the outcomes and the order that chance chooses.
    fn unfold(plan: Plan, choices: &[(u8, u8)]) -> Self {
        let mut story = Self::begin(plan);
        for (which, what) in choices {
            loop {
                let stranded = story.state.stranded().next().map(|(step, _)| step.clone());
                let Some(step) = stranded else { break };
                story.tell(finished(step, StepOutcome::Skipped)).unwrap();
            }
            let open: Vec<(Name, StepState)> = story
                .state
                .steps
                .iter()
                .filter(|(_, state)| matches!(state, StepState::Ready | StepState::Running))
                .map(|(name, state)| (name.clone(), *state))
                .collect();
            let Some((step, state)) = open.get(usize::from(*which) % open.len().max(1)).cloned() else {
                break;
            };
            let event = match (state, what % 10) {
                (StepState::Ready, 0) => finished(step, StepOutcome::Cached),
                (StepState::Ready, _) => {
                    let attempt = story.state.attempts(&step) + 1;
                    EventKind::StepStarted { step, attempt }
                }
                (_, 3) => {
                    let (attempt, outcome) = (story.state.attempts(&step), StepOutcome::Failed);
                    EventKind::StepRetried { step, attempt, outcome, reason: None, pause_millis: 1 }
                }
                (_, 0) => EventKind::StepOutput { step, stream: Stream::Stdout, line: "x".into() },
                // Events about services come where they may, and are refused where they can't be true.
                (_, 8) => {
                    let service = service(if which % 2 == 0 { "a" } else { "b" });
                    let is_beside = story.state.plan.step(&step).unwrap().services.contains(&service);
                    let ready =
                        story.state.services_ready.get(&step).is_some_and(|ready| ready.contains(&service));
                    let told = story.tell(EventKind::ServiceReady { step, service, millis: 1 });
                    assert_eq!(told.is_ok(), is_beside && !ready);
                    continue;
                }
                (_, 9) => {
                    let (service, how) = (service("a"), "exit code 1".into());
                    let is_beside = story.state.plan.step(&step).unwrap().services.contains(&service);
                    let told = story.tell(EventKind::ServiceEnded { step, service, how });
                    assert_eq!(told.is_ok(), is_beside);
                    continue;
                }
                (_, 1) => finished(step, StepOutcome::Failed),
                (_, 2) => finished(step, StepOutcome::TimedOut),
                _ => finished(step, StepOutcome::Passed),
            };
            story.tell(event).unwrap();
        }
        story
    }
}

fn finished(step: Name, outcome: StepOutcome) -> EventKind {
    EventKind::StepFinished {
        step,
        outcome,
        millis: 1,
        reason: None,
        results: StepResults::default(),
        layer: None,
    }
}

fn stories() -> impl Strategy<Value = Story> {
    let steps = prop::collection::vec(any::<(u8, u8)>(), 1..8);
    let choices = prop::collection::vec(any::<(u8, u8)>(), 0..60);
    (steps, choices).prop_map(|(steps, choices)| Story::unfold(plan(&steps), &choices))
}

impl std::fmt::Debug for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.events).finish()
    }
}

proptest! {
    #[test]
    fn a_log_read_back_tells_the_same_story(story in stories()) {
        let lines: Vec<String> = story.events.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
        let events: Vec<Event> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        prop_assert_eq!(RunState::replay(&events), Ok(story.state));
    }

    #[test]
    fn nothing_starts_before_all_it_needs_has_ended_and_without_a_condition_only_after_success(story in stories()) {
        let (mut ended, mut went_on): (Vec<&Name>, Vec<&Name>) = (vec![], vec![]);
        for event in &story.events {
            match &event.what {
                EventKind::StepStarted { step, .. } => {
                    let plan = story.state.plan.step(step).unwrap();
                    let enough = if plan.when.is_some() { &ended } else { &went_on };
                    prop_assert!(plan.needs.iter().all(|need| enough.contains(&need)), "{step} started too early");
                }
                EventKind::StepFinished { step, outcome, .. } => {
                    ended.push(step);
                    let may_fail = story.state.plan.step(step).unwrap().may_fail;
                    if outcome.is_success() || (may_fail && *outcome != StepOutcome::Skipped) {
                        went_on.push(step);
                    }
                }
                _ => {}
            }
        }
    }

    #[test]
    fn attempts_are_counted_without_gaps(story in stories()) {
        for step in &story.state.plan.steps {
            let begun: Vec<u32> = story.events.iter().filter_map(|event| match &event.what {
                EventKind::StepStarted { step: started, attempt } if *started == step.name => Some(*attempt),
                _ => None,
            }).collect();
            prop_assert!(begun.iter().copied().eq(1..=begun.len() as u32), "{begun:?}");
            if let Some(report) = story.state.reports.get(&step.name) {
                prop_assert_eq!(report.attempts as usize, begun.len());
            }
        }
    }

    #[test]
    fn a_run_never_gets_stuck(story in stories()) {
        let running = story.state.steps.values().any(|state| *state == StepState::Running);
        let can_go_on = running || story.state.ready().next().is_some() || story.state.stranded().next().is_some();
        prop_assert_eq!(can_go_on, !story.state.all_finished());
    }

    #[test]
    fn a_damaged_log_is_refused(story in stories(), cut in any::<prop::sample::Index>()) {
        prop_assume!(story.events.len() > 2);
        let mut events = story.events.clone();
        events.remove(1 + cut.index(events.len() - 2));
        prop_assert!(RunState::replay(&events).is_err());
    }

    #[test]
    fn only_a_run_of_passed_steps_is_a_pass_and_has_a_package(mut story in stories()) {
        // Whatever was skipped here was skipped by the rules, so a failure that is not allowed is all that can be wrong.
        let all_passed = story.state.plan.steps.iter().all(|step| {
            let outcome = story.state.outcome_of(&step.name);
            outcome.is_some_and(|outcome| outcome.blame().is_none() || step.may_fail)
        });
        let proof = story.state.report().into_passed(&story.state.plan);
        prop_assert_eq!(proof.is_ok(), all_passed);
        let package = Package {
            name: "p".parse().unwrap(),
            version: "1".parse().unwrap(),
            digest: Digest::of(b"zip"),
            content: Digest::of(b"content"),
            size: 3,
        };
        let made = || EventKind::PackageMade {
            package: package.clone(),
            path: "p.zip".into(),
            cached: false,
            millis: 1,
            companions: vec![],
        };
        prop_assert_eq!(story.tell(made()).is_ok(), all_passed);
        prop_assert!(story.tell(made()).is_err(), "a package is made once");
    }
}

#[test]
fn events_of_a_newer_staith_are_refused_not_guessed() {
    let mut story = Story::begin(plan(&[(0, 5)]));
    story.events[0].v = EVENT_VERSION + 1;
    assert!(matches!(RunState::replay(&story.events), Err(ImpossibleEvent::NewerVersion { .. })));
}

#[test]
fn an_attempt_out_of_turn_is_refused() {
    let step = || name(0);
    let retried = |attempt, outcome| EventKind::StepRetried {
        step: step(),
        attempt,
        outcome,
        reason: None,
        pause_millis: 1,
    };
    let mut story = Story::begin(plan(&[(0, 5)]));
    assert!(story.tell(EventKind::StepStarted { step: step(), attempt: 2 }).is_err());
    assert!(story.tell(retried(1, StepOutcome::Failed)).is_err());
    story.tell(EventKind::StepStarted { step: step(), attempt: 1 }).unwrap();
    assert!(story.tell(retried(2, StepOutcome::Failed)).is_err());
    assert!(story.tell(retried(1, StepOutcome::Passed)).is_err());
    story.tell(retried(1, StepOutcome::Failed)).unwrap();
    assert!(story.tell(finished(step(), StepOutcome::Skipped)).is_err(), "it was tried");
    story.tell(EventKind::StepStarted { step: step(), attempt: 2 }).unwrap();
}

#[test]
fn services_are_ready_once_in_each_attempt_and_only_beside_a_running_step_that_names_them() {
    let ready = |which| EventKind::ServiceReady { step: name(0), service: service(which), millis: 7 };
    let mut story = Story::begin(plan(&[(0, 8)]));
    assert!(story.tell(ready("a")).is_err(), "the step does not run");
    story.tell(EventKind::StepStarted { step: name(0), attempt: 1 }).unwrap();
    story.tell(ready("a")).unwrap();
    assert!(story.tell(ready("a")).is_err(), "it was ready");
    assert!(story.tell(ready("c")).is_err(), "the step names no such service");
    let retried = EventKind::StepRetried {
        step: name(0),
        attempt: 1,
        outcome: StepOutcome::Failed,
        reason: None,
        pause_millis: 1,
    };
    story.tell(retried).unwrap();
    assert!(story.tell(ready("b")).is_err(), "the attempt is over");
    story.tell(EventKind::StepStarted { step: name(0), attempt: 2 }).unwrap();
    story.tell(ready("a")).unwrap();
}

#[test]
fn a_report_of_another_plan_proves_nothing() {
    let mut story = Story::begin(plan(&[(0, 5)]));
    story.tell(finished("s0".parse().unwrap(), StepOutcome::Cached)).unwrap();
    assert!(matches!(
        story.state.report().into_passed(&plan(&[(0, 5), (0, 5)])),
        Err(NotPassed::OtherPlan { .. })
    ));
}
