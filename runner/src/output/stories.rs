//! Recorded runs, as the tests of every way of showing them need them. Each is checked by the fold before it is used.

mod services;

use staith_model::{
    Blame, Command, Condition, Coverage, DeploymentChange, DeploymentId, Digest, EVENT_VERSION, Ending,
    Event, EventKind, Finding, Findings, Name, Network, Package, PackagePlan, Plan, Reason, RunId,
    RunOutcome, Severity, Source, StepKind, StepOutcome, StepPlan, StepResults, Stream, TestFailure,
    TestSummary, Trigger,
};

pub(super) use self::services::{service_ended, services_start};

/// 2026-03-01 12:00 UTC.
const NOON: u64 = 1_772_366_400_000;

/// Builds a log: events are numbered, and happen when they are told.
pub(super) struct Story {
    pub(super) events: Vec<Event>,
    at: u64,
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn step(step: &str, needs: &[&str]) -> StepPlan {
    StepPlan {
        kind: StepKind::Build,
        needs: needs.iter().map(|need| name(need)).collect(),
        network: Network::None,
        ..StepPlan::new(name(step), Command::Shell("true".into()), Digest::of(b"source"))
    }
}

fn plan(steps: Vec<StepPlan>, dirty: bool) -> Plan {
    Plan {
        project: name("shop"),
        version: "1.4.0".into(),
        source: Source {
            tree: "5d1e0a2b44c1".repeat(4)[..40].into(),
            commit: Some("3f2a91c0d1e2".repeat(4)[..40].into()),
            dirty,
        },
        trigger: Trigger::default(),
        tools: Vec::new(),
        steps,
        left_out: Vec::new(),
        services: Vec::new(),
        packages: vec![PackagePlan {
            name: name("shop"),
            layers: vec![name("build")],
            root: None,
            include: Vec::new(),
            exclude: Vec::new(),
            source: Vec::new(),
            parameters: None,
        }],
    }
}

pub(super) fn shop() -> Plan {
    let steps = vec![
        step("lint", &[]),
        step("restore", &[]),
        step("build", &["restore"]),
        step("unit-test", &["build"]),
        step("integration-test", &["build"]),
    ];
    plan(steps, false)
}

fn package() -> Package {
    Package {
        name: name("shop"),
        version: "1.4.0+c.3f2a91c0d1e2".parse().unwrap(),
        digest: Digest::of(b"package"),
        content: Digest::of(b"content"),
        size: 4_404_019,
    }
}

fn reason(blame: Blame, what: &str, remedy: &str) -> Option<Reason> {
    Some(Reason {
        blame,
        what: what.into(),
        remedy: Some(remedy.into()).filter(|text: &String| !text.is_empty()),
    })
}

impl Story {
    pub(super) fn of(plan: Plan) -> Self {
        let mut story = Self { events: Vec::new(), at: NOON };
        let run = RunId::new(NOON, [7; 10]);
        story.then(0, EventKind::RunStarted { run, plan_digest: plan.digest(), plan: Box::new(plan) });
        story
    }

    fn then(&mut self, after_millis: u64, what: EventKind) {
        self.at += after_millis;
        self.events.push(Event { v: EVENT_VERSION, seq: self.events.len() as u64, at: self.at, what });
    }

    pub(super) fn start(&mut self, step: &str) {
        self.then(20, EventKind::StepStarted { step: name(step), attempt: 1 });
    }

    pub(super) fn write(&mut self, step: &str, lines: &[&str]) {
        for line in lines {
            let line = (*line).to_owned();
            self.then(300, EventKind::StepOutput { step: name(step), stream: Stream::Stdout, line });
        }
    }

    fn finish(&mut self, step: &str, outcome: StepOutcome, millis: u64) {
        self.finish_with(step, outcome, millis, None, None);
    }

    fn finish_with(
        &mut self,
        step: &str,
        outcome: StepOutcome,
        millis: u64,
        reason: Option<Reason>,
        tests: Option<TestSummary>,
    ) {
        self.finish_as(step, outcome, millis, reason, StepResults { tests, ..StepResults::default() });
    }

    fn finish_as(
        &mut self,
        step: &str,
        outcome: StepOutcome,
        millis: u64,
        reason: Option<Reason>,
        results: StepResults,
    ) {
        let layer = outcome.is_success().then(|| Digest::of(step.as_bytes()));
        self.then(10, EventKind::StepFinished { step: name(step), outcome, millis, reason, results, layer });
    }

    fn end(&mut self, outcome: RunOutcome, millis: u64) {
        self.then(5, EventKind::RunFinished { outcome, millis });
    }

    fn pack(&mut self, cached: bool) {
        let path = format!("/srv/packages/{}", package().file_name());
        let millis = if cached { 3 } else { 312 };
        self.then(
            millis,
            EventKind::PackageMade { package: package(), path, cached, millis, companions: vec![] },
        );
    }
}

fn tests(passed: u32, failures: Vec<TestFailure>) -> Option<TestSummary> {
    Some(TestSummary { passed, failed: failures.len() as u32, skipped: 0, failures })
}

/// The steps up to the build, which passes.
fn built() -> Story {
    let mut story = Story::of(shop());
    story.start("lint");
    story.start("restore");
    story.write("restore", &["Locking 42 packages", "Downloaded 42 packages"]);
    story.finish("restore", StepOutcome::Passed, 840);
    story.start("build");
    story.write("lint", &["checked 14 files"]);
    story.finish("lint", StepOutcome::Passed, 1_234);
    story.write(
        "build",
        &["   Compiling \x1b[1m\x1b[32mcart\x1b[0m v0.3.1", "", "   Compiling shop v1.4.0 (/workspace/shop)"],
    );
    story.finish("build", StepOutcome::Passed, 12_400);
    story
}

/// Everything passes, and a package is made.
pub(super) fn passing() -> Story {
    let mut story = built();
    story.start("unit-test");
    story.start("integration-test");
    story.write("unit-test", &["running 12 tests"]);
    story.finish_with("unit-test", StepOutcome::Passed, 3_400, None, tests(12, Vec::new()));
    story.finish_with("integration-test", StepOutcome::Passed, 61_000, None, tests(1_203, Vec::new()));
    story.pack(false);
    story.end(RunOutcome::Passed, 185_000);
    story
}

/// Everything is known already.
pub(super) fn cached() -> Story {
    let mut story = Story::of(shop());
    for step in ["lint", "restore", "build"] {
        story.finish(step, StepOutcome::Cached, 0);
    }
    for step in ["unit-test", "integration-test"] {
        story.finish_with(step, StepOutcome::Cached, 0, None, tests(12, Vec::new()));
    }
    story.pack(true);
    story.end(RunOutcome::Passed, 41);
    story
}

/// A test fails; what needs nothing of it goes on.
pub(super) fn failing_test() -> Story {
    let mut story = built();
    story.start("unit-test");
    story.start("integration-test");
    story.write(
        "unit-test",
        &[
            "running 12 tests",
            "test cart::adds_twice ... \x1b[31mFAILED\x1b[m",
            "\x1b]0;owned\x07\x1b[2Jerror: test failed",
        ],
    );
    let failure = TestFailure {
        file: Some("tests/cart.rs".into()),
        line: Some(12),
        suite: "shop::cart".into(),
        name: "adds_twice".into(),
        message: "assertion `left == right` failed\n  left: 3\n right: 4".into(),
    };
    let why = reason(Blame::Project, "exit code 101", "run `staith run unit-test` to run this step alone");
    story.finish_with("unit-test", StepOutcome::Failed, 3_400, why, tests(11, vec![failure]));
    story.finish_with("integration-test", StepOutcome::Passed, 4_100, None, tests(3, Vec::new()));
    story.end(RunOutcome::Failed, 18_300);
    story
}

/// A linter finds something though its program ends well, and tests say how much they cover.
pub(super) fn findings() -> Story {
    let mut story = Story::of(shop());
    let finding = |severity, path: &str, line, column, rule: Option<&str>, message: &str| Finding {
        severity,
        path: path.into(),
        line,
        column,
        rule: rule.map(str::to_owned),
        message: message.into(),
    };
    let mut found = Findings { warnings: 21, ..Findings::default() };
    let unused = "`total` is never used";
    found.add(finding(Severity::Warning, "src/cart.rs", Some(31), None, Some("dead_code"), unused));
    found.add(finding(
        Severity::Error,
        "src/cart.rs",
        Some(12),
        Some(5),
        Some("E0425"),
        "no `x` \x1b[2Jhere\nat all",
    ));
    found.add(finding(Severity::Error, "", None, None, None, "linking failed"));
    let warned = Findings { errors: 0, shown: Vec::new(), ..found.clone() };
    story.start("restore");
    story.finish("restore", StepOutcome::Passed, 840);
    story.start("build");
    let results = StepResults { findings: Some(warned), ..StepResults::default() };
    story.finish_as("build", StepOutcome::Passed, 12_400, None, results);
    story.start("unit-test");
    let coverage = Some(Coverage { lines: 879, of_lines: 1_000, branches: 7, of_branches: 10 });
    let results = StepResults { tests: tests(12, Vec::new()), coverage, findings: None };
    story.finish_as("unit-test", StepOutcome::Passed, 3_400, None, results);
    story.finish("integration-test", StepOutcome::Cached, 0);
    story.start("lint");
    story.write("lint", &["checked 14 files"]);
    let results = StepResults { findings: Some(found), ..StepResults::default() };
    let why = reason(Blame::Project, "2 errors and 22 warnings found", "");
    story.finish_as("lint", StepOutcome::Failed, 1_100, why, results);
    story.end(RunOutcome::Failed, 18_300);
    story
}

/// Everything that a run may pass in spite of: a lint that may fail, tests that pass at the second attempt, a report that is
/// for failures only.
pub(super) fn mishaps() -> Story {
    let mut steps = shop().steps;
    steps[0].may_fail = true;
    let when = Some(Condition::Needs(Ending::Failed));
    steps.push(StepPlan { when, ..step("report", &["unit-test"]) });
    let mut story = Story::of(plan(steps, false));
    story.finish("restore", StepOutcome::Cached, 0);
    story.finish("build", StepOutcome::Cached, 0);
    story.start("lint");
    story.finish_with("lint", StepOutcome::Failed, 700, reason(Blame::Project, "exit code 1", ""), None);
    story.start("unit-test");
    story.then(
        900,
        EventKind::StepRetried {
            step: name("unit-test"),
            attempt: 1,
            outcome: StepOutcome::Lost,
            reason: reason(Blame::Environment, "the sandbox was lost: its socket failed", ""),
            pause_millis: 1_000,
        },
    );
    story.then(1_000, EventKind::StepStarted { step: name("unit-test"), attempt: 2 });
    story.finish_with("unit-test", StepOutcome::Passed, 2_100, None, tests(12, Vec::new()));
    let why = reason(Blame::Project, "its condition does not hold", "");
    story.finish_with("report", StepOutcome::Skipped, 0, why, None);
    story.finish("integration-test", StepOutcome::Cached, 0);
    story.pack(false);
    story.end(RunOutcome::Passed, 5_400);
    story
}

/// A build fails with much to say, and what needs it is skipped.
pub(super) fn skipped_after_failure() -> Story {
    let mut story = Story::of(plan(shop().steps, true));
    story.finish("lint", StepOutcome::Cached, 0);
    story.finish("restore", StepOutcome::Cached, 0);
    story.start("build");
    let lines: Vec<String> = (1..=250).map(|line| format!("error[E{line:04}]: mismatched types")).collect();
    story.write("build", &lines.iter().map(String::as_str).collect::<Vec<_>>());
    story.write("build", &[&format!("{}end", "x".repeat(4096 + 12_342))]);
    story.finish_with("build", StepOutcome::Failed, 950, reason(Blame::Project, "exit code 1", ""), None);
    story.finish("unit-test", StepOutcome::Skipped, 0);
    story.finish("integration-test", StepOutcome::Skipped, 0);
    story.end(RunOutcome::Failed, 1_020);
    story
}

/// A step hangs.
pub(super) fn timed_out() -> Story {
    let mut story = Story::of(shop());
    story.start("lint");
    story.start("restore");
    story.write("restore", &["waiting for registry.example.org ..."]);
    story.finish("lint", StepOutcome::Passed, 1_100);
    let why = reason(
        Blame::Project,
        "it ran longer than its 600 seconds",
        "raise `timeout`, or see what it waits for",
    );
    story.finish_with("restore", StepOutcome::TimedOut, 600_020, why, None);
    for step in ["build", "unit-test", "integration-test"] {
        story.finish(step, StepOutcome::Skipped, 0);
    }
    story.end(RunOutcome::Failed, 600_100);
    story
}

/// A step fails, and somebody presses Ctrl-C while another is under way.
pub(super) fn cancelled_after_failure() -> Story {
    let mut story = Story::of(shop());
    story.start("lint");
    story.start("restore");
    story.finish_with("lint", StepOutcome::Failed, 500, reason(Blame::Project, "exit code 1", ""), None);
    for step in ["restore", "build", "unit-test", "integration-test"] {
        story.finish(step, StepOutcome::Cancelled, 0);
    }
    story.end(RunOutcome::Cancelled, 1_000);
    story
}

/// Somebody presses Ctrl-C.
pub(super) fn cancelled() -> Story {
    let mut story = Story::of(shop());
    story.finish("lint", StepOutcome::Cached, 0);
    story.start("restore");
    story.finish("restore", StepOutcome::Cancelled, 2_100);
    for step in ["build", "unit-test", "integration-test"] {
        story.finish(step, StepOutcome::Cancelled, 0);
    }
    story.end(RunOutcome::Cancelled, 2_150);
    story
}

/// A run under way, up to a line of a build's output.
pub(super) fn under_way() -> Story {
    let mut story = built();
    let finished = |event: &Event| matches!(&event.what, EventKind::StepFinished { step, .. } if step.as_str() == "build");
    story.events.retain(|event| !finished(event));
    story
}

const OPERATIONS: [&str; 4] = [
    "put 214 files in place beside green",
    "start shop on green",
    "move the traffic to green",
    "drain and stop blue",
];

fn planned() -> (Story, DeploymentId) {
    let mut story = cached();
    let deployment = DeploymentId::new(NOON + 60_000, [9; 10]);
    story.then(
        30,
        EventKind::DeploymentPlanned {
            deployment: deployment.clone(),
            environment: name("production"),
            release: Digest::of(b"release"),
            previous: Some(Digest::of(b"previous")),
            plan: Digest::of(b"deployment plan"),
            operations: OPERATIONS.iter().map(|words| (*words).to_owned()).collect(),
        },
    );
    (story, deployment)
}

impl Story {
    fn change(&mut self, deployment: &DeploymentId, change: DeploymentChange, reason: Option<Reason>) {
        self.then(10, EventKind::DeploymentChanged { deployment: deployment.clone(), change, reason });
    }

    fn operate(&mut self, deployment: &DeploymentId, operation: &str, already: bool, millis: u64) {
        let (deployment, operation) = (deployment.clone(), operation.to_owned());
        self.then(millis, EventKind::DeploymentOperation { deployment, operation, already, millis });
    }
}

/// A deployment that goes well.
pub(super) fn deployed() -> Story {
    let (mut story, id) = planned();
    for change in [DeploymentChange::Submitted, DeploymentChange::GatesPassed, DeploymentChange::Acquired] {
        story.change(&id, change, None);
    }
    story.operate(&id, OPERATIONS[0], true, 4);
    story.operate(&id, OPERATIONS[1], false, 640);
    story.change(&id, DeploymentChange::StagedEverywhere, None);
    story.change(&id, DeploymentChange::SwitchBegan, None);
    story.operate(&id, OPERATIONS[2], false, 2);
    story.change(&id, DeploymentChange::WaveSwitched, None);
    story.change(&id, DeploymentChange::AllWavesHeld, None);
    story.operate(&id, OPERATIONS[3], false, 1_200);
    story.change(&id, DeploymentChange::Finalized, None);
    story
}

/// A deployment whose new release turns out to be ill once it has the traffic.
pub(super) fn rolled_back() -> Story {
    let (mut story, id) = planned();
    for change in [DeploymentChange::Submitted, DeploymentChange::GatesPassed, DeploymentChange::Acquired] {
        story.change(&id, change, None);
    }
    story.operate(&id, OPERATIONS[0], false, 412);
    story.operate(&id, OPERATIONS[1], false, 640);
    story.change(&id, DeploymentChange::StagedEverywhere, None);
    story.change(&id, DeploymentChange::SwitchBegan, None);
    story.operate(&id, OPERATIONS[2], false, 2);
    story.change(&id, DeploymentChange::WaveSwitched, None);
    let why = reason(
        Blame::Project,
        "GET /healthz answered 500 three times in a row",
        "see `staith log` of the release",
    );
    story.change(&id, DeploymentChange::Aborted, why);
    story.change(&id, DeploymentChange::RollbackBegan, None);
    story.operate(&id, "move the traffic to blue", false, 3);
    story.operate(&id, "stop green", false, 1_100);
    story.change(&id, DeploymentChange::Restored, None);
    story
}

/// A deployment whose new release does not start: nothing of it was visible, so nothing is taken back.
pub(super) fn stopped() -> Story {
    let (mut story, id) = planned();
    for change in [DeploymentChange::Submitted, DeploymentChange::GatesPassed, DeploymentChange::Acquired] {
        story.change(&id, change, None);
    }
    story.operate(&id, OPERATIONS[0], false, 412);
    let why = reason(Blame::Project, "shop ended with exit code 1 before it listened", "see its log");
    story.change(&id, DeploymentChange::Aborted, why);
    story.change(&id, DeploymentChange::Restored, None);
    story
}
