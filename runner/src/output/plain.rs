//! A run as lines of text: for pipes, logs of other systems, and terminals that can't do more.
//!
//! Every line begins with the name of what it is about. `|` sets off what a step wrote, `>` what Staith says.

use std::io::{self, Write};

use staith_model::{
    DeploymentChange, Digest, Event, EventKind, Exit, Name, Package, Plan, Reason, RunId, RunOutcome,
    RunState, Severity, StepOutcome, StepResults,
};

use super::{
    Summary, Watch,
    clean::{clean, clean_lines, clean_word},
    human,
    look::{Look, Tone},
    sink::Sink,
    words,
};

/// A longer name than this pushes its own lines to the right, not everybody's.
const WIDEST_NAME: usize = 24;

/// Shows a run line by line. Nothing moves, nothing is taken back.
pub(crate) struct Plain<W> {
    out: Sink<W>,
    look: Look,
    name_width: usize,
    /// How the run ended, once that was said.
    run_ended: Option<RunOutcome>,
    deployment_began: bool,
    told_why: bool,
}

impl<W: Write> Plain<W> {
    /// Writes to `out`.
    pub(crate) fn new(out: W, look: Look) -> Self {
        Self {
            out: Sink::new(out),
            look,
            name_width: 0,
            run_ended: None,
            deployment_began: false,
            told_why: false,
        }
    }

    /// Staith's own words about `name`.
    fn say(&mut self, name: &str, tone: Tone, text: &str) {
        let line = format!("{name:width$} > {}", self.look.tint(tone, text), width = self.name_width);
        self.out.line(&line);
    }

    /// A text of several lines about `name`, the second and later ones indented.
    fn say_lines(&mut self, name: &str, tone: Tone, text: &str) {
        for (place, line) in clean_lines(text).enumerate() {
            let indent = if place == 0 { "" } else { "  " };
            self.say(name, tone, &format!("{indent}{line}"));
        }
    }

    fn run_started(&mut self, run: &RunId, plan_digest: &Digest, plan: &Plan) {
        let names = plan.steps.iter().map(|step| step.name.as_str().len()).chain(["package".len()]);
        self.name_width = names.filter(|width| *width <= WIDEST_NAME).max().unwrap_or_default();
        let subject = words::subject(plan).join(", ");
        self.say("run", Tone::Strong, &subject);
        let tree = clean_word(&plan.source.tree);
        self.say("run", Tone::Plain, &format!("source tree {}", human::short_id(&tree)));
        let steps = human::count(plan.steps.len(), "step");
        self.say("run", Tone::Plain, &format!("plan {}, {steps}, run {run}", plan_digest.short()));
    }

    fn step_started(&mut self, step: &Name, attempt: u32, plan: &Plan) {
        let attempt = if attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
        let services = plan.step(step).map(|step| words::services(&step.services)).unwrap_or_default();
        let services = if services.is_empty() { services } else { format!(", with {services}") };
        self.say(step.as_str(), Tone::Plain, &format!("started{attempt}{services}"));
    }

    /// A line that a step wrote, or something beside it.
    fn step_output(&mut self, step: &str, line: &str) {
        let (shown, more) = human::clip(line);
        let shown = clean(shown, self.look.colours);
        let more = self.look.tint(Tone::Quiet, &human::more_bytes(more));
        let bar = self.look.tint(Tone::Quiet, "|");
        let line = format!("{step:width$} {bar} {shown}{more}", width = self.name_width);
        // Empty lines would otherwise end in a space, which editors and diffs mark as a mistake.
        self.out.line(line.trim_end_matches(' '));
    }

    fn step_finished(&mut self, step: &Name, end: &StepEnd<'_>) {
        let mut text = words::outcome(end.outcome).to_owned();
        match end.outcome {
            StepOutcome::Cached => {}
            StepOutcome::Skipped => {
                // The reason is all there is to say, and it is one line.
                let why = end.reason.map(|reason| format!(": {}", clean_word(&reason.what)));
                text.push_str(&why.unwrap_or_default());
                return self.say(step.as_str(), Tone::Quiet, &text);
            }
            // It was never started.
            StepOutcome::Cancelled if end.millis == 0 => {}
            StepOutcome::Passed => text.push_str(&format!(" in {}", human::millis(end.millis))),
            _ => text.push_str(&format!(" after {}", human::millis(end.millis))),
        }
        if let Some(attempt) = words::attempt(end.attempts) {
            text.push_str(&format!(" at {attempt}"));
        }
        if end.allowed {
            text.push_str(&format!(", {}", words::ALLOWED));
        }
        for part in words::results(end.results) {
            text.push_str(&format!(", {part}"));
        }
        let tone = match end.outcome {
            _ if end.allowed || (end.outcome.is_success() && end.attempts > 1) => Tone::Odd,
            outcome if words::needs_explaining(outcome) => Tone::Bad,
            outcome if outcome.is_success() => Tone::Good,
            _ => Tone::Quiet,
        };
        self.say(step.as_str(), tone, &text);
        for failure in end.results.tests.iter().flat_map(|tests| &tests.failures) {
            let suite = Some(clean_word(&failure.suite)).filter(|suite| !suite.is_empty());
            let suite = suite.map(|suite| format!("{suite}: ")).unwrap_or_default();
            let (name, place) = (clean_word(&failure.name), words::place(failure));
            self.say(step.as_str(), Tone::Plain, &format!("failed test: {suite}{name}{place}"));
            for line in clean_lines(&failure.message) {
                self.say(step.as_str(), Tone::Plain, &format!("  {line}"));
            }
        }
        if words::needs_explaining(end.outcome) {
            self.found(step, end.results);
        }
        self.explain(step.as_str(), end.reason);
    }

    fn found(&mut self, step: &Name, results: &StepResults) {
        let Some(findings) = &results.findings else { return };
        for (severity, finding) in words::finding(findings) {
            let tone = if severity == Severity::Error { Tone::Bad } else { Tone::Plain };
            self.say(step.as_str(), tone, &finding);
        }
        if let Some(more) = words::more_findings(findings) {
            self.say(step.as_str(), Tone::Plain, &more);
        }
    }

    fn step_retried(&mut self, step: &Name, attempt: u32, outcome: StepOutcome, pause_millis: u64) {
        let (outcome, pause) = (words::outcome(outcome), human::millis(pause_millis));
        self.say(
            step.as_str(),
            Tone::Odd,
            &format!("attempt {attempt}: {outcome}; the next begins in {pause}"),
        );
    }

    fn explain(&mut self, name: &str, reason: Option<&Reason>) {
        let Some(reason) = reason else { return };
        self.say_lines(name, Tone::Plain, &format!("why: {}", reason.what));
        if let Some(remedy) = &reason.remedy {
            self.say_lines(name, Tone::Plain, &format!("do: {remedy}"));
        }
    }

    fn package_made(&mut self, package: &Package, path: &str, cached: bool, millis: u64) {
        let how = if cached { "cached".to_owned() } else { format!("made in {}", human::millis(millis)) };
        let text = format!("{how}: {}", words::package(package).join(", "));
        self.say("package", Tone::Good, &text);
        if !path.is_empty() {
            self.say("package", Tone::Plain, &format!("file {}", clean_word(path)));
        }
    }

    fn run_finished(&mut self, outcome: RunOutcome, millis: u64, state: &RunState) {
        self.run_ended = Some(outcome);
        let took = human::millis(millis);
        let (tone, text) = match outcome {
            RunOutcome::Passed => (Tone::Good, format!("passed in {took}")),
            RunOutcome::Failed => (Tone::Bad, format!("failed after {took}{}", culprits(state))),
            RunOutcome::Cancelled => (Tone::Bad, format!("cancelled after {took}")),
        };
        self.say("run", tone, &text);
    }

    fn deployment_planned(&mut self, environment: &Name, release: &Digest, previous: Option<&Digest>) {
        self.deployment_began = true;
        let text = match previous {
            Some(previous) if previous == release => {
                format!("to {environment}: release {} serves already", release.short())
            }
            Some(previous) => format!(
                "to {environment}: release {}; release {} serves now",
                release.short(),
                previous.short()
            ),
            None => format!("to {environment}: release {}; nothing serves now", release.short()),
        };
        self.say("deploy", Tone::Strong, &text);
    }

    fn deployment_changed(&mut self, change: DeploymentChange, reason: Option<&Reason>) {
        if let Some(text) = words::deployment_change(change) {
            let tone = match change {
                DeploymentChange::Finalized => Tone::Good,
                DeploymentChange::Aborted
                | DeploymentChange::RestoreFailed
                | DeploymentChange::StagingFailed
                | DeploymentChange::Rejected
                | DeploymentChange::Undecidable => Tone::Bad,
                DeploymentChange::RollbackBegan
                | DeploymentChange::Restored
                | DeploymentChange::Paused
                | DeploymentChange::PlanOutdated => Tone::Odd,
                _ => Tone::Plain,
            };
            self.say("deploy", tone, text);
        }
        self.explain("deploy", reason);
    }
}

/// How a step ended, as its event says.
struct StepEnd<'a> {
    outcome: StepOutcome,
    millis: u64,
    reason: Option<&'a Reason>,
    results: &'a StepResults,
    attempts: u32,
    /// Whether the pipeline allows the failure.
    allowed: bool,
}

/// How a command ends that did no more than such a run.
const fn exit_of(outcome: RunOutcome) -> Exit {
    match outcome {
        RunOutcome::Passed => Exit::Passed,
        RunOutcome::Failed => Exit::StepFailed,
        RunOutcome::Cancelled => Exit::Interrupted,
    }
}

/// Which steps a run failed by.
fn culprits(state: &RunState) -> String {
    let explained = |name: &&Name| {
        state.outcome_of(name).is_some_and(|outcome| {
            words::needs_explaining(outcome) && !words::is_allowed(&state.plan, name, outcome)
        })
    };
    let names: Vec<&str> =
        state.plan.steps.iter().map(|step| &step.name).filter(explained).map(Name::as_str).collect();
    if names.is_empty() { String::new() } else { format!(" by {}", names.join(", ")) }
}

impl<W: Write + Send> Watch for Plain<W> {
    fn event(&mut self, event: &Event, state: &RunState) {
        self.told_why |= super::says_why_a_deployment_failed(event);
        match &event.what {
            EventKind::RunStarted { run, plan_digest, plan } => self.run_started(run, plan_digest, plan),
            EventKind::StepStarted { step, attempt } => self.step_started(step, *attempt, &state.plan),
            EventKind::SecretUsed { step, service, secret } => {
                let whose = service.as_ref().map(|service| format!("its service {service} "));
                let whose = whose.unwrap_or_default();
                let secret = clean_word(secret);
                self.say(step.as_str(), Tone::Plain, &format!("{whose}is given the secret {secret}"));
            }
            EventKind::ServiceReady { step, service, millis } => {
                let text = format!("its service {service} is ready after {}", human::millis(*millis));
                self.say(step.as_str(), Tone::Plain, &text);
            }
            EventKind::ServiceEnded { step, service, how } => {
                let text = format!("its service {service} has ended: {}", clean_word(how));
                self.say(step.as_str(), Tone::Odd, &text);
            }
            EventKind::ServiceOutput { step, service, line } => {
                self.step_output(&format!("{step}/{service}"), line);
            }
            EventKind::StepOutput { step, line, .. } => self.step_output(step.as_str(), line),
            EventKind::StepFinished { step, outcome, millis, reason, results, .. } => {
                let reason = reason.as_ref();
                let (attempts, allowed) =
                    (state.attempts(step), words::is_allowed(&state.plan, step, *outcome));
                let (outcome, millis) = (*outcome, *millis);
                self.step_finished(step, &StepEnd { outcome, millis, reason, results, attempts, allowed });
            }
            EventKind::StepRetried { step, attempt, outcome, reason, pause_millis } => {
                self.step_retried(step, *attempt, *outcome, *pause_millis);
                self.explain(step.as_str(), reason.as_ref());
            }
            EventKind::PackageMade { package, path, cached, millis, .. } => {
                self.package_made(package, path, *cached, *millis);
            }
            EventKind::RunFinished { outcome, millis } => self.run_finished(*outcome, *millis, state),
            EventKind::DeploymentPlanned { environment, release, previous, .. } => {
                self.deployment_planned(environment, release, previous.as_ref());
            }
            EventKind::DeploymentOperation { operation, already: true, .. } => {
                self.say("deploy", Tone::Plain, &format!("already done: {}", clean_word(operation)));
            }
            EventKind::DeploymentOperation { operation, millis, .. } => {
                let text = format!("done in {}: {}", human::millis(*millis), clean_word(operation));
                self.say("deploy", Tone::Plain, &text);
            }
            EventKind::DeploymentChanged { change, reason, .. } => {
                self.deployment_changed(*change, reason.as_ref());
            }
        }
    }

    fn finish(&mut self, summary: &Summary) {
        if let Some(url) = &summary.url {
            self.say("serving", Tone::Good, &clean_word(url));
        }
        if let Some(log) = &summary.log {
            self.say("log", Tone::Plain, &clean_word(log));
        }
        // Where nothing followed the run, its end has been told.
        if self.deployment_began || self.run_ended.map(exit_of) != Some(summary.exit) {
            let tone = if summary.exit == Exit::Passed { Tone::Good } else { Tone::Bad };
            self.say("staith", tone, &words::verdict(summary.exit, summary.millis).join(", "));
        }
    }

    fn is_gone(&self) -> bool {
        self.out.is_gone()
    }

    fn failure(&self) -> Option<io::Error> {
        self.out.failure()
    }

    fn has_told_why(&self) -> bool {
        self.told_why && !self.is_gone()
    }
}
