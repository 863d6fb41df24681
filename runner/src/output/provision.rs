//! Machines that are made and taken down: what tools write, plans, and what came of them.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
};

use serde_json::{Value, json};
use staith_builder::redact::{MaskStream, Masker};
use staith_model::{Digest, Name, ProvisionState, Provisioning, Standing, Target};
use staith_releaser::fleet::provision::{Ear, Overdue, Proposal, Swept, Voice, Why};

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
}

/// One stream of a tool. Its own, so that no secret is hidden by what the other stream says between two pieces of it.
struct MaskedEar {
    stream: MaskStream,
    /// What is masked and has no end of a line yet; `None` where it is not for people.
    line: Option<Vec<u8>>,
    mode: OutputMode,
}

impl ProvisionVoice {
    /// A voice that masks these secrets.
    pub(crate) fn new(masker: Masker, mode: OutputMode) -> Self {
        Self { masker, mode }
    }

    fn show(&self, value: &Value, lines: &[String]) {
        show(self.mode, value, lines);
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

    /// Says how a plan goes on for which nobody waits here.
    pub(crate) fn goes_on(&self, environment: &Name, again: &str) {
        let lines = [
            format!("`staith env approve {environment}` says yes to the plan; then give this command:"),
            format!("  {again}"),
        ];
        let approve = format!("staith env approve {environment}");
        self.show(&json!({"environment": environment, "approve": approve, "again": again}), &lines);
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

    fn ear(&self, aloud: bool) -> Box<dyn Ear> {
        Box::new(MaskedEar { stream: self.masker.stream(), line: aloud.then(Vec::new), mode: self.mode })
    }

    fn masked(&self, text: &str) -> String {
        self.masker.text(text).into_owned()
    }
}

impl MaskedEar {
    /// Shows the lines that are whole by now.
    fn shows(&mut self, masked: &[u8]) {
        let Some(line) = &mut self.line else { return };
        line.extend_from_slice(masked);
        while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            let whole: Vec<u8> = line.drain(..=end).collect();
            show_line(self.mode, &whole);
        }
        if line.len() > LONGEST_LINE {
            show_line(self.mode, &std::mem::take(line));
        }
    }
}

impl Ear for MaskedEar {
    fn hears(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut masked = Vec::new();
        self.stream.push(bytes, &mut masked);
        self.shows(&masked);
        masked
    }

    fn ends(&mut self) -> Vec<u8> {
        let mut masked = Vec::new();
        self.stream.finish(&mut masked);
        self.shows(&masked);
        let rest = self.line.as_mut().map(std::mem::take).unwrap_or_default();
        if !rest.is_empty() {
            show_line(self.mode, &rest);
        }
        masked
    }
}

fn show_line(mode: OutputMode, line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\r', '\n']);
    let shown: Vec<String> = clean_lines(text).map(|line| format!("  | {line}")).collect();
    show(mode, &json!({ "line": text }), &shown);
}

fn show(mode: OutputMode, value: &Value, lines: &[String]) {
    // Whoever does not read any more does not stop what is under way.
    let _ = say(mode, std::slice::from_ref(value), lines);
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
            value["what"] = json!(problem.what);
            value["why"] = json!(problem.why);
            value["remedy"] = json!(problem.remedy);
            let what = clean_lines(&problem.what).collect::<Vec<_>>().join("\n  ");
            look().tint(Tone::Bad, &format!("{name} is still there: {what}"))
        }
    };
    value["gone"] = json!(matches!(came, Ok(Swept::Gone)));
    let mut lines = vec![line];
    if let Err(problem) = came {
        let told = [("why", &problem.why), ("do", &problem.remedy)];
        let said = told.into_iter().filter_map(|(word, text)| Some((word, text.as_deref()?)));
        lines.extend(
            said.map(|(word, text)| {
                format!("  {word}: {}", clean_lines(text).collect::<Vec<_>>().join("\n  "))
            }),
        );
    }
    say(mode, &[value], &lines)
}

/// Says to people that no machines are due. A program sees it by that there is no line.
pub(crate) fn nothing_to_sweep(mode: OutputMode) -> io::Result<()> {
    say(mode, &[], &["no machines are due".to_owned()])
}

/// Says which units of systemd were written, and whether it was told of them.
pub(crate) fn sweep_installed(
    written: &[PathBuf],
    enabled: bool,
    remark: Option<&str>,
    mode: OutputMode,
) -> io::Result<()> {
    let names: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    let mut lines = vec![format!("{} are written", clean_word(&names.join(" and ")))];
    lines.push(match enabled {
        true => "machines whose time is up are taken down every five minutes from now on".to_owned(),
        false => "nothing is enabled: that is for `systemctl enable --now staith-sweep.timer`".to_owned(),
    });
    lines.extend(remark.map(|remark| format!("note: {remark}")));
    say(mode, &[json!({ "units": names, "enabled": enabled })], &lines)
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

#[cfg(test)]
mod tests {
    use staith_builder::secrets::Supply;
    use staith_model::Secret;

    use super::*;

    #[test]
    fn what_one_stream_says_hides_no_secret_in_the_other() {
        let secrets = [("token".to_owned(), Secret::new("hunter2hunter2".to_owned()))];
        let masker = Supply::new(secrets.into()).unwrap().masker().clone();
        let voice = ProvisionVoice::new(masker, OutputMode::Json);
        let (mut out, mut err) = (voice.ear(false), voice.ear(false));
        let (mut told_out, mut told_err) = (out.hears(b"it is hunter2"), err.hears(b"warning\n"));
        told_out.extend(out.hears(b"hunter2\n"));
        told_out.extend(out.ends());
        told_err.extend(err.ends());
        assert_eq!(String::from_utf8(told_out).unwrap(), "it is ***\n");
        assert_eq!(String::from_utf8(told_err).unwrap(), "warning\n");
    }
}
