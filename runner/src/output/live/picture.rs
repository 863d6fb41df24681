//! The picture of a run: rows of text from a scene, a size and a time. Pure.

use staith_model::{DeploymentState, Name, RunOutcome, StepOutcome, StepState};

use super::{
    super::{
        clean::{clean, clean_word},
        human,
        look::{Look, Mark, Tone},
        words,
    },
    row::{Row, cut, fit_parts, name_width},
    scene::{DeploymentView, OperationState, Scene, StepView, ended_badly, turns_back},
};

/// Milliseconds for which the spinner keeps still.
const SPIN_MILLIS: u64 = 100;

/// How a picture is seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) look: Look,
    /// Columns that may be used.
    pub(super) width: usize,
    /// Rows that may be used; none where the picture may be as long as it needs to be.
    pub(super) height: Option<usize>,
    /// Milliseconds on the viewer's clock.
    pub(super) now: u64,
}

impl View {
    fn since(&self, at: u64) -> u64 {
        self.now.saturating_sub(at)
    }

    fn spinning(&self) -> Mark {
        Mark::Running(self.now / SPIN_MILLIS)
    }
}

/// The whole picture, one string for each row, none wider than the view.
pub(super) fn picture(scene: &Scene, view: View) -> Vec<String> {
    let mut head = header(scene, view);
    head.push(String::new());
    let mut foot = package_rows(scene, view);
    if let Some(deployment) = &scene.deployment {
        foot.push(String::new());
        foot.extend(deployment_rows(deployment, view));
    }
    let steps: Vec<(Weight, String)> = step_rows(scene, view);
    let room = view.height.map(|height| height.saturating_sub(head.len() + foot.len()));
    let mut rows = head;
    rows.extend(fold(steps, room, view));
    rows.extend(foot);
    if let Some(height) = view.height {
        // What is at the bottom is what is going on.
        rows.drain(..rows.len().saturating_sub(height));
    }
    rows
}

fn header(scene: &Scene, view: View) -> Vec<String> {
    let mut subject = words::subject(&scene.plan).into_iter();
    let mut parts: Vec<(Tone, String)> =
        subject.next().map(|first| (Tone::Strong, first)).into_iter().collect();
    parts
        .extend(subject.map(|part| (if part == words::UNCOMMITTED { Tone::Odd } else { Tone::Plain }, part)));
    let tree = clean_word(&scene.plan.source.tree);
    let source = [
        (Tone::Quiet, format!("source tree {}", human::short_id(&tree))),
        (Tone::Quiet, format!("plan {}", scene.plan_digest.short())),
    ];
    vec![fit_parts(view.look, &parts, view.width), fit_parts(view.look, &source, view.width)]
}

/// How much a row of a step matters when there is no room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Waiting,
    Done,
    Acting,
}

fn names_width(scene: &Scene, view: View) -> usize {
    name_width(scene.steps.iter().map(|step| step.name.as_str()).chain(["package"]), view.width)
}

fn step_rows(scene: &Scene, view: View) -> Vec<(Weight, String)> {
    let width = names_width(scene, view);
    let rows = scene.steps.iter().map(|step| {
        let weight = match step.state {
            StepState::Waiting | StepState::Ready | StepState::Finished(StepOutcome::Skipped) => {
                Weight::Waiting
            }
            StepState::Finished(outcome) if outcome.is_success() => Weight::Done,
            StepState::Running | StepState::Finished(_) => Weight::Acting,
        };
        (weight, step_row(step, view).fit(view.look, view.width, width))
    });
    rows.collect()
}

fn step_row(step: &StepView, view: View) -> Row {
    let mut row = Row {
        mark: Mark::Waiting,
        name: step.name.to_string(),
        name_tone: Tone::Plain,
        time: String::new(),
        note: Vec::new(),
        note_tone: Tone::Quiet,
    };
    match step.state {
        StepState::Waiting | StepState::Ready => {
            row.name_tone = Tone::Quiet;
            if step.attempt > 0 {
                let why = step.reason.as_ref().map(|reason| clean_word(&reason.what)).unwrap_or_default();
                (row.note, row.note_tone) =
                    (vec![format!("attempt {} did not pass: {why}", step.attempt)], Tone::Odd);
            }
        }
        StepState::Running => {
            row.mark = view.spinning();
            row.name_tone = Tone::Strong;
            row.time = human::millis(view.since(step.started_at));
            row.note = vec![last_line(step)];
        }
        StepState::Finished(outcome) => finished(step, outcome, &mut row),
    }
    row
}

fn finished(step: &StepView, outcome: StepOutcome, row: &mut Row) {
    row.mark = match outcome {
        StepOutcome::Passed => Mark::Passed,
        StepOutcome::Cached => Mark::Cached,
        StepOutcome::TimedOut => Mark::TimedOut,
        StepOutcome::Skipped | StepOutcome::Cancelled => Mark::Skipped,
        _ => Mark::Failed,
    };
    row.time = match outcome {
        StepOutcome::Cached | StepOutcome::Skipped | StepOutcome::Cancelled => {
            words::outcome(outcome).to_owned()
        }
        _ => human::millis(step.millis),
    };
    let tests = step.results.tests.as_ref().map(words::tests).unwrap_or_default();
    let findings = step.results.findings.as_ref().map(words::findings).unwrap_or_default();
    if words::needs_explaining(outcome) {
        let tone = if step.failed_as_it_may() { Tone::Odd } else { Tone::Bad };
        (row.name_tone, row.note_tone) = (tone, tone);
        let reason = step.reason.as_ref().map(|reason| clean_word(&reason.what)).unwrap_or_default();
        let why = [tests, findings].into_iter().find(|words| !words.is_empty()).unwrap_or(reason);
        row.note = match outcome {
            StepOutcome::Failed if !why.is_empty() => vec![why],
            _ if why.is_empty() => vec![words::outcome(outcome).to_owned()],
            _ => vec![format!("{}: {why}", words::outcome(outcome))],
        };
        if step.failed_as_it_may() {
            row.note.insert(0, format!("{}, {}", words::outcome(outcome), words::ALLOWED));
        }
        row.note.extend(words::attempt(step.attempt));
    } else {
        let coverage = step.results.coverage.as_ref().and_then(words::coverage).unwrap_or_default();
        row.note = [tests, coverage, findings].into_iter().filter(|words| !words.is_empty()).collect();
        if outcome == StepOutcome::Passed {
            row.note.extend(words::attempt(step.attempt));
        }
        if outcome == StepOutcome::Skipped {
            row.note.extend(step.reason.as_ref().map(|reason| clean_word(&reason.what)));
        }
        if !outcome.is_success() {
            row.name_tone = Tone::Quiet;
        }
    }
}

/// The last line with something in it, without colours: it is set in one tone, and only for a moment.
fn last_line(step: &StepView) -> String {
    let lines = step.tail.iter().rev().map(|(line, _)| clean(line, false));
    let spoken = lines.take(3).find(|line| !line.trim().is_empty());
    let attempt = if step.attempt > 1 { format!("attempt {} ", step.attempt) } else { String::new() };
    let spoken = spoken.map(|line| line.trim().replace('\t', " "));
    let waits = || match words::services(&step.starting) {
        services if services.is_empty() => services,
        services => format!("waits for {services}"),
    };
    attempt + spoken.unwrap_or_else(waits).as_str()
}

/// The rows in at most `room` rows: those that matter least give way to a count.
fn fold(rows: Vec<(Weight, String)>, room: Option<usize>, view: View) -> Vec<String> {
    let Some(room) = room.filter(|room| rows.len() > *room) else {
        return rows.into_iter().map(|(_, row)| row).collect();
    };
    let mut kept: Vec<Option<(Weight, String)>> = rows.into_iter().map(Some).collect();
    // One row for the count itself.
    let mut surplus = kept.len() + 1 - room.max(1);
    let mut folded = [0usize; 3];
    for weight in [Weight::Waiting, Weight::Done, Weight::Acting] {
        // Of what waits, the last has the longest to wait; of what is done, the first is the longest ago.
        let mut places: Vec<usize> = (0..kept.len()).collect();
        if weight == Weight::Waiting {
            places.reverse();
        }
        for place in places {
            if surplus > 0 && kept[place].as_ref().is_some_and(|(of, _)| *of == weight) {
                kept[place] = None;
                folded[weight as usize] += 1;
                surplus -= 1;
            }
        }
    }
    let [waiting, done, acting] = folded;
    let counts = [(done, "done"), (acting, "running"), (waiting, "waiting")];
    let counts: Vec<String> =
        counts.iter().filter(|(many, _)| *many > 0).map(|(many, what)| format!("{many} {what}")).collect();
    let text = format!("{} {}", view.look.ellipsis(), counts.join(", "));
    let mut rows: Vec<String> = kept.into_iter().flatten().map(|(_, row)| row).collect();
    rows.push(view.look.tint(Tone::Quiet, &cut(view.look, &text, view.width)));
    rows
}

fn package_rows(scene: &Scene, view: View) -> Vec<String> {
    let packages = &scene.plan.packages;
    let rows = packages.iter().map(|package| package_row(&package.name, scene, view));
    if packages.is_empty() { Vec::new() } else { [String::new()].into_iter().chain(rows).collect() }
}

fn package_row(name: &Name, scene: &Scene, view: View) -> String {
    let mut row = Row {
        mark: Mark::Waiting,
        name: "package".to_owned(),
        name_tone: Tone::Quiet,
        time: String::new(),
        note: Vec::new(),
        note_tone: Tone::Plain,
    };
    if let Some(made) = scene.made(name) {
        (row.mark, row.name_tone) = (if made.cached { Mark::Cached } else { Mark::Passed }, Tone::Plain);
        row.time = if made.cached { "cached".to_owned() } else { human::millis(made.millis) };
        row.note = words::package(&made.package);
    } else if scene.packing() == Some(name) {
        (row.mark, row.name_tone) = (view.spinning(), Tone::Strong);
        row.time = human::millis(view.since(scene.steps_done_at));
        (row.note, row.note_tone) = (vec![name.to_string()], Tone::Quiet);
    } else if scene.end.is_some_and(|(outcome, _)| outcome != RunOutcome::Passed) {
        (row.mark, row.time) = (Mark::Skipped, "not made".to_owned());
    } else if scene.plan.packages.len() > 1 {
        (row.note, row.note_tone) = (vec![name.to_string()], Tone::Quiet);
    }
    row.fit(view.look, view.width, names_width(scene, view))
}

fn deployment_rows(deployment: &DeploymentView, view: View) -> Vec<String> {
    let state = deployment.state;
    let tone = match state {
        DeploymentState::Succeeded => Tone::Good,
        DeploymentState::RolledBack | DeploymentState::RollingBack | DeploymentState::Halting => Tone::Odd,
        DeploymentState::RollbackFailed | DeploymentState::NeedsDecision => Tone::Bad,
        _ => Tone::Busy,
    };
    let before = deployment.previous.map_or("nothing served before".to_owned(), |digest| {
        format!("{} {}", if state == DeploymentState::Succeeded { "before" } else { "over" }, digest.short())
    });
    let head = [
        (Tone::Strong, format!("deploy to {}", deployment.environment)),
        (tone, phase(deployment, view)),
        (Tone::Quiet, format!("release {}", deployment.release.short())),
        (Tone::Quiet, before),
    ];
    let mut rows = vec![fit_parts(view.look, &head, view.width)];
    let names: Vec<String> =
        deployment.operations.iter().map(|operation| clean_word(&operation.words)).collect();
    let width = name_width(names.iter().map(String::as_str), view.width);
    let mut rolling_back = false;
    for (place, name) in names.into_iter().enumerate() {
        if place >= deployment.planned && !rolling_back {
            rolling_back = true;
            rows.push(view.look.tint(Tone::Odd, "rolling back"));
        }
        rows.push(operation_row(deployment, place, name, view).fit(view.look, view.width, width));
    }
    rows
}

/// Where the deployment is, with a clock where no operation has one.
fn phase(deployment: &DeploymentView, view: View) -> String {
    let words = words::deployment(deployment.state);
    if deployment.state.is_over() || deployment.current().is_some() {
        return words.to_owned();
    }
    format!("{words} {}", human::millis(view.since(deployment.at)))
}

fn operation_row(deployment: &DeploymentView, place: usize, name: String, view: View) -> Row {
    let (name_tone, note_tone) = (Tone::Plain, Tone::Quiet);
    let mut row =
        Row { mark: Mark::Waiting, name, name_tone, time: String::new(), note: Vec::new(), note_tone };
    match deployment.operations[place].state {
        OperationState::Done { millis } => {
            (row.mark, row.time) = (Mark::Passed, human::millis(millis));
        }
        OperationState::AlreadyDone => (row.mark, row.time) = (Mark::Cached, "already".to_owned()),
        OperationState::Planned if deployment.current() == Some(place) => {
            (row.mark, row.name_tone) = (view.spinning(), Tone::Strong);
            row.time = human::millis(view.since(deployment.at));
        }
        OperationState::Planned if deployment.failed_at == Some(place) => {
            (row.mark, row.name_tone, row.note_tone) = (Mark::Failed, Tone::Bad, Tone::Bad);
            row.note = deployment.reasons.iter().take(1).map(|reason| clean_word(&reason.what)).collect();
        }
        OperationState::Planned if turns_back(deployment.state) || ended_badly(deployment.state) => {
            (row.mark, row.name_tone) = (Mark::Skipped, Tone::Quiet);
        }
        OperationState::Planned => row.name_tone = Tone::Quiet,
    }
    row
}
