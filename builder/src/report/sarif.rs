//! SARIF 2.1.0, the form in which linters, compilers and security scanners say what they found.

use std::collections::HashMap;

use serde_json::{Deserializer, value::RawValue};
use staith_model::{Finding, Findings, Severity};

use super::{Failed, ReportProblem, location::in_workspace, text};

mod shape;

use shape::{Artifact, Found, Invocation, Log, Message, Notification, Rule, Run};

/// Uris that are relative to other uris, at most.
const BASES_FOLLOWED: usize = 8;

/// The findings in `text`, which starts with `{` after white space and a byte order mark; and why there may be more than
/// these, where a program says that it did not come to its end.
pub(super) fn read(text: &str) -> Failed<(Findings, Option<(ReportProblem, usize)>)> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let whole = Whole(text);
    let log: Log<'_> = serde_json::from_str(body).map_err(|error| whole.failed(body, &error))?;
    let Some(runs) = log.runs else {
        let hint = "; of JSON, only SARIF is read, and most linters can write that";
        return Err((
            ReportProblem::Unknown { start: "{".into(), hint },
            text.len() - body.trim_start().len(),
        ));
    };
    // 2.1.0-rtm.5 and the like are what programs wrote before the standard was out.
    let version = log.version.unwrap_or_default();
    if version != "2.1.0" && !version.starts_with("2.1.0-") {
        return Err((ReportProblem::OtherSarif(text::name(&version)), 0));
    }
    let mut findings = Findings::default();
    let (mut failed, mut unfinished) = (None, None);
    whole.each(runs, |run: &RawValue| {
        if failed.is_none() {
            match read_run(&whole, run, &mut findings) {
                Ok(None) => {}
                Ok(Some(problem)) => {
                    unfinished.get_or_insert((problem, whole.place_of(run.get())));
                }
                Err(error) => failed = Some(error),
            }
        }
    })?;
    failed.map_or(Ok((findings, unfinished)), Err)
}

fn read_run(whole: &Whole<'_>, run: &RawValue, findings: &mut Findings) -> Failed<Option<ReportProblem>> {
    let run: Run<'_> = serde_json::from_str(run.get()).map_err(|error| whole.failed(run.get(), &error))?;
    read_results(whole, &run, findings)?;
    Ok(run.invocations.0.iter().find(|one| one.execution_successful == Some(false)).map(unfinished))
}

/// The end of a program that failed, in its own words where it has some.
fn unfinished(invocation: &Invocation<'_>) -> ReportProblem {
    let told = |one: &&Notification<'_>| one.level.as_deref() == Some("error") && one.message.text.is_some();
    let notifications = invocation
        .tool_execution_notifications
        .0
        .iter()
        .chain(&invocation.tool_configuration_notifications.0);
    let said = notifications.filter(told).find_map(|one| one.message.text.as_deref());
    let said = said.or(invocation.exit_code_description.as_deref()).map(text::name);
    let code = invocation.exit_code.map(|code| format!("exit code {code}"));
    let said = said.filter(|said| !said.is_empty()).or(code).map(|said| format!(" ({said})"));
    ReportProblem::Unfinished(said.unwrap_or_default())
}

fn read_results(whole: &Whole<'_>, run: &Run<'_>, findings: &mut Findings) -> Failed<()> {
    let explained = Explained::of(run);
    match run.results {
        Some(results) => whole.each(results, |found: Found<'_>| {
            if let Some(finding) = explained.finding(&found) {
                findings.add(finding);
            }
        }),
        None => Ok(()),
    }
}

/// The text of the file, in which all other texts are.
struct Whole<'t>(&'t str);

impl<'t> Whole<'t> {
    fn each<T: serde::Deserialize<'t>>(&self, list: &'t RawValue, take: impl FnMut(T)) -> Failed<()> {
        let mut reader = Deserializer::from_str(list.get());
        shape::each(&mut reader, take).map_err(|error| self.failed(list.get(), &error))
    }

    /// Where a part of the file begins.
    fn place_of(&self, part: &str) -> usize {
        (part.as_ptr() as usize).saturating_sub(self.0.as_ptr() as usize)
    }

    /// What is wrong, and where in the whole file: the place that an error has is one in `part`.
    fn failed(&self, part: &str, error: &serde_json::Error) -> (ReportProblem, usize) {
        let before = self.place_of(part);
        let lines = part.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len);
        let place = (lines.sum::<usize>() + error.column().saturating_sub(1)).min(part.len());
        let problem = if error.is_eof() {
            ReportProblem::CutOff("its JSON".into())
        } else {
            let said = error.to_string();
            let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what);
            ReportProblem::MalformedJson(text::name(said))
        };
        (problem, before + place)
    }
}

/// What a run says beside its results, so that they can be understood.
struct Explained<'r, 'j> {
    run: &'r Run<'j>,
    rules: HashMap<&'r str, &'r Rule<'j>>,
}

impl<'r, 'j> Explained<'r, 'j> {
    fn of(run: &'r Run<'j>) -> Self {
        let components = [&run.tool.driver].into_iter().chain(&run.tool.extensions.0);
        let mut rules = HashMap::new();
        for rule in components.flat_map(|component| &component.rules.0) {
            rules.entry(rule.id.as_ref()).or_insert(rule);
        }
        Self { run, rules }
    }

    /// The finding that a result is; `None` for one that reports no problem, or one that is no more or was accepted.
    fn finding(&self, found: &Found<'_>) -> Option<Finding> {
        let kind = found.kind.as_deref().unwrap_or("fail");
        let accepted = |status: &Option<shape::Text<'_>>| status.as_deref().is_none_or(|it| it == "accepted");
        if matches!(kind, "pass" | "notApplicable")
            || found.baseline_state.as_deref() == Some("absent")
            || found.suppressions.0.iter().any(|one| accepted(&one.status))
        {
            return None;
        }
        let rule = self.rule(found);
        let level = found.level.as_deref().or_else(|| match kind {
            "fail" => rule.and_then(|rule| rule.default_configuration.level.as_deref()),
            _ => Some("none"),
        });
        let physical = found.locations.0.first().map(|location| &location.physical_location);
        let number = |of: fn(&shape::Region) -> Option<i64>| {
            physical.and_then(|at| of(&at.region)).and_then(|it| u32::try_from(it).ok()).filter(|it| *it > 0)
        };
        let said = found.rule_id.as_deref().or_else(|| found.rule.as_ref()?.id.as_deref());
        Some(Finding {
            severity: severity(level),
            path: physical.map(|at| self.path(&at.artifact_location)).unwrap_or_default(),
            line: number(|region| region.start_line),
            column: number(|region| region.start_column),
            rule: said.or_else(|| Some(rule?.id.as_ref())).map(text::name).filter(|id| !id.is_empty()),
            message: text::message("", &message(&found.message, rule)),
        })
    }

    /// The rule that a result is about: by its place in a list, else by its id or, as the standard allows, the part of it
    /// before a `/`.
    fn rule(&self, found: &Found<'_>) -> Option<&'r Rule<'j>> {
        let reference = found.rule.as_ref();
        let index =
            found.rule_index.or_else(|| reference?.index).and_then(|index| usize::try_from(index).ok());
        let component = reference
            .and_then(|reference| reference.tool_component.as_ref()?.index)
            .and_then(|index| usize::try_from(index).ok());
        let tool = &self.run.tool;
        let rules = component.map_or(Some(&tool.driver), |index| tool.extensions.0.get(index))?;
        if let Some(rule) = index.and_then(|index| rules.rules.0.get(index)) {
            return Some(rule);
        }
        let id = found.rule_id.as_deref().or_else(|| reference?.id.as_deref())?;
        let whole = self.rules.get(id);
        whole.or_else(|| self.rules.get(id.rsplit_once('/')?.0)).copied()
    }

    fn path(&self, artifact: &Artifact<'_>) -> String {
        let indexed = artifact.index.and_then(|index| usize::try_from(index).ok());
        let entry = indexed.and_then(|index| self.run.artifacts.0.get(index)?.location.as_ref());
        let artifact = if artifact.uri.is_some() { artifact } else { entry.unwrap_or(artifact) };
        let mut path = artifact.uri.as_deref().unwrap_or_default().to_owned();
        let mut base = artifact.uri_base_id.as_deref();
        for _ in 0..BASES_FOLLOWED {
            let Some(around) = base.and_then(|id| self.run.original_uri_base_ids.get(id)) else { break };
            let before = around.uri.as_deref().unwrap_or_default();
            if path.contains("://") || path.starts_with('/') || before.len() + path.len() > 4096 {
                break;
            }
            let slash = if before.is_empty() || before.ends_with('/') { "" } else { "/" };
            path = format!("{before}{slash}{path}");
            base = around.uri_base_id.as_deref();
        }
        in_workspace(&decoded(&path))
    }
}

/// `warning` is what the standard says of a result that says nothing.
fn severity(level: Option<&str>) -> Severity {
    match level {
        Some("error") => Severity::Error,
        Some("note" | "none") => Severity::Note,
        _ => Severity::Warning,
    }
}

/// The text of a message, or the one of its rule that it names, with its arguments put in.
fn message(message: &Message<'_>, rule: Option<&Rule<'_>>) -> String {
    let by_id = || rule?.message_strings.get(message.id.as_deref()?)?.text.as_deref();
    let text = message.text.as_deref().or_else(by_id).unwrap_or_default();
    let mut parts = text.split('{');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let put_in = part
            .split_once('}')
            .and_then(|(number, rest)| Some((message.arguments.0.get(number.parse::<usize>().ok()?)?, rest)));
        match put_in {
            Some((argument, rest)) => whole.extend([argument.as_ref(), rest]),
            None => whole.extend(["{", part]),
        }
        // Many places and one long argument would make a huge text of a small one.
        if whole.len() > 16 << 10 {
            break;
        }
    }
    whole
}

/// A uri's path without its percent signs. What is not UTF-8 then stays readable.
fn decoded(uri: &str) -> String {
    let mut bytes = Vec::with_capacity(uri.len());
    let mut rest = uri.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.filter(|hex| !hex.starts_with('+')).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
