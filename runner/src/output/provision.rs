//! Machines that are made and taken down: what tools write, plans, and what came of them.

use std::{
    io::{self, IsTerminal as _},
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};
use staith_builder::redact::{MaskStream, Masker};
use staith_model::{Digest, Name, ProvisionState, Provisioning, Standing, Target};
use staith_releaser::fleet::provision::{Overdue, Proposal, Swept, Voice, Why};

use super::{
    OutputMode, Problem,
    clean::{clean_lines, clean_word},
    human,
    look::{Look, Tone},
    notice::look,
    sink::Sink,
};
use crate::clock;

/// Longest line of a tool that is shown as one.
const LONGEST_LINE: usize = 64 << 10;

/// Shows what tools write, with secrets masked.
pub(crate) struct ProvisionVoice {
    masker: Masker,
    mode: OutputMode,
    said: Mutex<Said>,
}

struct Said {
    stream: MaskStream,
    /// What is masked and has no end of a line yet.
    line: Vec<u8>,
}

impl ProvisionVoice {
    /// A voice that masks these secrets.
    pub(crate) fn new(masker: Masker, mode: OutputMode) -> Self {
        let stream = masker.stream();
        Self { masker, mode, said: Mutex::new(Said { stream, line: Vec::new() }) }
    }

    fn show(&self, value: &Value, lines: &[String]) {
        // Whoever does not read any more does not stop what is under way.
        let _ = say(self.mode, std::slice::from_ref(value), lines);
    }

    fn line(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\r', '\n']);
        let shown: Vec<String> = clean_lines(text).map(|line| format!("  | {line}")).collect();
        self.show(&json!({ "line": text }), &shown);
    }

    /// Tells of what was left by others.
    pub(crate) fn found(&self, state: &ProvisionState) {
        let (begun, how) = match &state.standing {
            Standing::Open(begun) => (begun, "was not finished"),
            Standing::Failed(begun, _) => (begun, "failed"),
            Standing::Nothing | Standing::Stands { .. } => return,
        };
        let ago = human::millis(clock::unix_millis().saturating_sub(begun.at));
        let what = match begun.plan.direction {
            Provisioning::Apply => "making them",
            Provisioning::Destroy => "taking them down",
        };
        let line =
            format!("{what} {how} ({}, {ago} ago); what is there is looked at", clean_word(&begun.who));
        self.show(&json!({"found": how, "direction": begun.plan.direction, "plan": begun.digest}), &[line]);
    }

    /// Shows a plan.
    pub(crate) fn plan(&self, proposal: &Proposal) {
        let plan = &proposal.plan;
        let value = json!({
            "plan": proposal.digest, "direction": plan.direction, "nothing": plan.nothing, "text": proposal.text,
            "file": plan.file, "again": proposal.again,
        });
        let mut lines: Vec<String> = match plan.nothing {
            true => vec!["nothing has to be done".into()],
            false => clean_lines(proposal.text.trim_end()).map(|line| line.into_owned()).collect(),
        };
        lines.push(format!("plan {}", proposal.digest));
        self.show(&value, &lines);
    }

    /// Says what is waited for.
    pub(crate) fn waits(&self, environment: &Name, what: &[String]) {
        let lines: Vec<String> = what.iter().map(|what| format!("waits for {}", clean_word(what))).collect();
        self.show(&json!({"environment": environment, "waits": what}), &lines);
    }

    /// Says that the machines are there.
    pub(crate) fn made(&self, environment: &Name, targets: &[Target], due: Option<u64>) {
        let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        let left = due.map(|due| human::millis(due.saturating_sub(clock::unix_millis())));
        let until = left.map_or_else(String::new, |left| format!(", for {left}"));
        let line = match names.is_empty() {
            true => format!("{environment} is made{until}; it names no machines"),
            false => format!("{environment} is made{until}: {}", names.join(", ")),
        };
        let value = json!({"environment": environment, "made": true, "targets": names, "due": due});
        self.show(&value, &[look().tint(Tone::Good, &line)]);
    }

    /// Says that the machines are gone.
    pub(crate) fn gone(&self, environment: &Name) {
        let line = format!("{environment} is taken down");
        self.show(&json!({"environment": environment, "made": false}), &[look().tint(Tone::Good, &line)]);
    }
}

impl Voice for ProvisionVoice {
    fn begins(&self, what: &str) {
        let what = self.masker.text(what).into_owned();
        let lines: Vec<String> = clean_lines(&what).map(|line| format!("> {line}")).collect();
        self.show(&json!({ "begins": what }), &lines);
    }

    fn says(&self, bytes: &[u8]) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let Said { stream, line } = &mut *said;
        stream.push(bytes, line);
        while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            let whole: Vec<u8> = line.drain(..=end).collect();
            self.line(&whole);
        }
        if line.len() > LONGEST_LINE {
            self.line(&std::mem::take(line));
        }
    }

    fn ends(&self) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stream = std::mem::replace(&mut said.stream, self.masker.stream());
        stream.finish(&mut said.line);
        let rest = std::mem::take(&mut said.line);
        if !rest.is_empty() {
            rest.split(|byte| *byte == b'\n').for_each(|line| self.line(line));
        }
    }

    fn masked(&self, text: &str) -> String {
        self.masker.text(text).into_owned()
    }
}

fn say(mode: OutputMode, values: &[Value], lines: &[String]) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        values.iter().for_each(|value| out.line(&value.to_string()));
    } else {
        lines.iter().for_each(|line| out.line(line));
    }
    out.written()
}

/// Says that something was written down for a plan that waits.
///
/// # Errors
/// It could not be written, and not because nobody reads. This holds for all functions here.
pub(crate) fn provision_asked(environment: &Name, plan: &Digest, mode: OutputMode) -> io::Result<()> {
    let line = format!(
        "written down for plan {}; `staith env provision {environment}` goes on, if nobody waits for it",
        plan.short()
    );
    say(mode, &[json!({"environment": environment, "plan": plan, "written": true})], &[line])
}

/// Says what came of taking down an environment whose time had come.
pub(crate) fn swept(overdue: &Overdue, came: &Result<Swept, Problem>, mode: OutputMode) -> io::Result<()> {
    let name = format!("{}/{}", overdue.project, overdue.environment);
    let mut value = json!({"project": overdue.project, "environment": overdue.environment});
    let line = match came {
        Ok(Swept::Gone) => look().tint(Tone::Good, &format!("{name} is taken down: {}", because(overdue))),
        Ok(Swept::Nothing) => format!("{name} has nothing to take down"),
        Err(problem) => {
            value["why"] = json!(problem.what);
            let why = clean_lines(&problem.what).collect::<Vec<_>>().join("\n  ");
            look().tint(Tone::Bad, &format!("{name} is still there: {why}"))
        }
    };
    value["gone"] = json!(matches!(came, Ok(Swept::Gone)));
    say(mode, &[value], &[line])
}

fn because(overdue: &Overdue) -> String {
    match overdue.why {
        Why::Due(due) => {
            format!("its time was up {} ago", human::millis(clock::unix_millis().saturating_sub(due)))
        }
        Why::Left => "it was left half made, or half taken down".to_owned(),
    }
}

/// Tells people on standard error of machines that nobody needs.
pub(crate) fn tell_of_overdue(overdue: &[Overdue]) {
    let look = Look::choose(io::stderr().is_terminal(), |name| std::env::var(name).ok());
    let mut out = Sink::new(io::stderr());
    for one in overdue {
        let line = format!(
            "{}/{} is still there: {}; `staith env sweep` takes it down",
            one.project,
            one.environment,
            because(one)
        );
        out.line(&look.tint(Tone::Odd, &line));
    }
}
