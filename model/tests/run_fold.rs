//! The fold over events holds for all plans and all orders in which things may happen.

// A test says what went wrong by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use staith_model::*;

/// A plan of up to seven steps; the bits of `needs[i]` choose among the steps before step `i`.
fn plan(needs: &[u8]) -> Plan {
    let name = |index: usize| format!("s{index}").parse::<Name>().unwrap();
    let steps = needs.iter().enumerate().map(|(index, bits)| StepPlan {
        needs: (0..index).filter(|earlier| bits >> earlier & 1 == 1).map(name).collect(),
        ..StepPlan::new(name(index), Command::Shell("true".into()), Digest::of(b""))
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
        package: None,
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
                let stranded = story.state.stranded().next().cloned();
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
            let event = match (state, what % 8) {
                (StepState::Ready, 0) => finished(step, StepOutcome::Cached),
                (StepState::Ready, _) => EventKind::StepStarted { step, attempt: 1 },
                (_, 0) => EventKind::StepOutput { step, stream: Stream::Stdout, line: "x".into() },
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
    let needs = prop::collection::vec(any::<u8>(), 1..8);
    let choices = prop::collection::vec(any::<(u8, u8)>(), 0..60);
    (needs, choices).prop_map(|(needs, choices)| Story::unfold(plan(&needs), &choices))
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
    fn nothing_starts_before_all_it_needs_has_succeeded(story in stories()) {
        let mut succeeded: Vec<&Name> = vec![];
        for event in &story.events {
            match &event.what {
                EventKind::StepStarted { step, .. } => {
                    let needs = &story.state.plan.step(step).unwrap().needs;
                    prop_assert!(needs.iter().all(|need| succeeded.contains(&need)), "{step} started too early");
                }
                EventKind::StepFinished { step, outcome, .. } if outcome.is_success() => succeeded.push(step),
                _ => {}
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
        let all_passed = story.state.steps.values().all(|s| s.outcome().is_some_and(StepOutcome::is_success));
        let proof = story.state.report().into_passed(&story.state.plan);
        prop_assert_eq!(proof.is_ok(), all_passed);
        let package = Package {
            name: "p".parse().unwrap(),
            version: "1".parse().unwrap(),
            digest: Digest::of(b"zip"),
            content: Digest::of(b"content"),
            size: 3,
        };
        let made = story.tell(EventKind::PackageMade { package, path: "p.zip".into(), cached: false, millis: 1 });
        prop_assert_eq!(made.is_ok(), all_passed);
    }
}

#[test]
fn events_of_a_newer_staith_are_refused_not_guessed() {
    let mut story = Story::begin(plan(&[0]));
    story.events[0].v = EVENT_VERSION + 1;
    assert!(matches!(RunState::replay(&story.events), Err(ImpossibleEvent::NewerVersion { .. })));
}

#[test]
fn a_report_of_another_plan_proves_nothing() {
    let mut story = Story::begin(plan(&[0]));
    story.tell(finished("s0".parse().unwrap(), StepOutcome::Cached)).unwrap();
    assert!(matches!(story.state.report().into_passed(&plan(&[0, 0])), Err(NotPassed::OtherPlan { .. })));
}
