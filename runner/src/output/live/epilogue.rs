//! What is said below the picture when all is over: why, what to do, and the last word. Pure.

use staith_model::{Exit, Findings, Reason, Severity, TestFailure};

use super::{
    super::{
        Summary,
        clean::{clean, clean_lines, clean_word},
        human,
        look::{Mark, Tone},
        words,
        wrap::wrap,
    },
    picture::View,
    row::{cut, fit_parts},
    scene::{Scene, StepView},
};

/// Lines of a failed step's output that are shown again.
const LAST_WORDS: usize = 40;

/// The rows. Lines of output are not cut: whoever reads them needs them, and the terminal may wrap them.
pub(super) fn epilogue(scene: Option<&Scene>, summary: &Summary, view: View) -> Vec<String> {
    let mut rows = Vec::new();
    if let Some(scene) = scene {
        for step in scene.failed_steps() {
            rows.extend(failed_step(step, view));
        }
        if let Some(deployment) =
            scene.deployment.as_ref().filter(|deployment| !deployment.reasons.is_empty())
        {
            rows.push(String::new());
            rows.push(heading(
                &format!("deploy to {}", deployment.environment),
                words::deployment(deployment.state),
                view,
            ));
            deployment.reasons.iter().for_each(|reason| rows.extend(explained(reason, view)));
        }
    }
    rows.push(String::new());
    rows.extend(last_word(scene, summary, view));
    rows
}

fn heading(name: &str, what: &str, view: View) -> String {
    let rule = if view.look.unicode { "─" } else { "-" };
    let text = cut(view.look, &format!("{name} {what}"), view.width.saturating_sub(3));
    let rest = view.width.saturating_sub(console::measure_text_width(&text) + 4);
    let (before, after) = (rule.repeat(2), rule.repeat(rest));
    let rule = |text: &str| view.look.tint(Tone::Quiet, text);
    format!("{} {} {}", rule(&before), view.look.tint(Tone::Bad, &text), rule(&after)).trim_end().to_owned()
}

fn failed_step(step: &StepView, view: View) -> Vec<String> {
    let what = step.state.outcome().map(words::outcome).unwrap_or_default();
    let mut rows = vec![String::new(), heading(step.name.as_str(), what, view)];
    let bar = view.look.tint(Tone::Quiet, if view.look.unicode { "│" } else { "|" });
    let left_out = step.forgotten + step.tail.len().saturating_sub(LAST_WORDS) as u64;
    if left_out > 0 {
        let lines = if left_out == 1 { "line" } else { "lines" };
        let text = format!("{} {} earlier {lines}", view.look.ellipsis(), human::number(left_out));
        rows.push(format!("{bar} {}", view.look.tint(Tone::Quiet, &text)));
    }
    for (line, more) in step.tail.iter().skip(step.tail.len().saturating_sub(LAST_WORDS)) {
        let more = view.look.tint(Tone::Quiet, &human::more_bytes(*more));
        rows.push(format!("{bar} {}{more}", clean(line, view.look.colours)).trim_end_matches(' ').to_owned());
    }
    for (service, line, more) in &step.services_said {
        let (service, more) = (
            view.look.tint(Tone::Quiet, service.as_str()),
            view.look.tint(Tone::Quiet, &human::more_bytes(*more)),
        );
        let line = clean(line, view.look.colours);
        rows.push(format!("{service} {bar} {line}{more}").trim_end_matches(' ').to_owned());
    }
    for failure in step.results.tests.iter().flat_map(|tests| &tests.failures) {
        rows.push(String::new());
        rows.extend(failed_test(failure, view));
    }
    if let Some(findings) = step.results.findings.as_ref().filter(|findings| findings.total() > 0) {
        rows.push(String::new());
        rows.extend(found(findings, view));
    }
    if let Some(reason) = &step.reason {
        rows.push(String::new());
        rows.extend(explained(reason, view));
    }
    rows
}

fn failed_test(failure: &TestFailure, view: View) -> Vec<String> {
    let mark = view.look.mark(Mark::Failed);
    let suite = Some(clean_word(&failure.suite)).filter(|suite| !suite.is_empty());
    let suite = suite.map(|suite| format!("{suite}{}", view.look.dot())).unwrap_or_default();
    let (suite, place) =
        (view.look.tint(Tone::Quiet, &suite), view.look.tint(Tone::Quiet, &words::place(failure)));
    let name = view.look.tint(Tone::Strong, &clean_word(&failure.name));
    let mut rows = vec![format!("{mark} {suite}{name}{place}")];
    rows.extend(clean_lines(&failure.message).map(|line| format!("  {line}").trim_end().to_owned()));
    rows
}

/// What linters and compilers found. Not cut either: editors and terminals open `file:line:column`.
fn found(findings: &Findings, view: View) -> Vec<String> {
    let tone = |severity| match severity {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Odd,
        Severity::Note => Tone::Plain,
    };
    let rows = words::finding(findings).map(|(severity, text)| view.look.tint(tone(severity), &text));
    rows.chain(words::more_findings(findings).map(|more| view.look.tint(Tone::Quiet, &more))).collect()
}

fn explained(reason: &Reason, view: View) -> Vec<String> {
    let mut rows = labelled("why", &reason.what, view);
    rows.extend(reason.remedy.iter().flat_map(|remedy| labelled(" do", remedy, view)));
    rows
}

fn labelled(label: &str, text: &str, view: View) -> Vec<String> {
    let label = view.look.tint(Tone::Quiet, &format!("{label}:"));
    let room = view.width.saturating_sub("why: ".len());
    let lines = clean_lines(text).flat_map(|line| wrap(&line, room)).enumerate();
    lines
        .map(|(place, line)| if place == 0 { format!("{label} {line}") } else { format!("     {line}") })
        .collect()
}

fn last_word(scene: Option<&Scene>, summary: &Summary, view: View) -> Vec<String> {
    let packages = scene.iter().flat_map(|scene| &scene.packages).filter(|package| !package.path.is_empty());
    let packages = packages.map(|package| ("package", Tone::Plain, Some(package.path.as_str())));
    let facts =
        [("serving", Tone::Strong, summary.url.as_deref()), ("log", Tone::Plain, summary.log.as_deref())];
    let fact = |(label, tone, text): (&str, Tone, Option<&str>)| {
        // These are for copying, so they are never cut.
        text.map(|text| {
            let label = view.look.tint(Tone::Quiet, &format!("{label:<7}"));
            format!("{label}  {}", view.look.tint(tone, &clean_word(text)))
        })
    };
    let mut rows: Vec<String> = packages.chain(facts).filter_map(fact).collect();
    if !rows.is_empty() {
        rows.push(String::new());
    }
    let tone = match summary.exit {
        Exit::Passed => Tone::Good,
        Exit::Interrupted => Tone::Odd,
        _ => Tone::Bad,
    };
    let tones = [tone].into_iter().chain(std::iter::repeat(Tone::Plain));
    let parts: Vec<(Tone, String)> = tones.zip(words::verdict(summary.exit, summary.millis)).collect();
    rows.push(fit_parts(view.look, &parts, view.width));
    rows
}
