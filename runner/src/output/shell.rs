//! What is said before there is a shell in a step, and what a command in it writes when nobody sits before it.

use std::io::{self, Write as _};

use staith_builder::{
    engine::{OutputChunk, Stream},
    redact::{MaskStream, Masker},
};
use staith_model::{Command, Name, RunId, StepOutcome, StepPlan};

use super::{clean::clean_word, human, sink::Sink, words};

/// Which workspace one sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// As a run would begin with it.
    Fresh,
    /// The same, though a failed step has left another one: what the step would see has changed since.
    FreshThough(LeftBy),
    /// What a failed step has left.
    Left(LeftBy),
}

/// Who has left a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeftBy {
    pub(crate) run: RunId,
    pub(crate) outcome: StepOutcome,
    /// How long ago, in milliseconds.
    pub(crate) ago: u64,
}

/// Says where one is, how to run the step's command, and what becomes of what one does. On standard error, so that a
/// command's output is its own.
pub(crate) fn welcome(project: &Name, step: &StepPlan, seen: &Seen, run_step: Option<&str>) {
    let mut out = Sink::new(io::stderr());
    welcome_lines(project, step, seen, run_step).iter().for_each(|line| out.line(line));
}

fn welcome_lines(project: &Name, step: &StepPlan, seen: &Seen, run_step: Option<&str>) -> Vec<String> {
    let name = &step.name;
    let by = |left: &LeftBy| {
        format!(
            "run {}, {} ago, where it {}",
            left.run,
            human::millis(left.ago),
            words::outcome(left.outcome)
        )
    };
    let mut lines = match seen {
        Seen::Fresh => vec![format!("step {name} of {project}, in a fresh workspace")],
        Seen::FreshThough(left) => vec![
            format!("step {name} of {project}, in a fresh workspace"),
            format!("what it would see has changed since {}; --last opens what it left there", by(left)),
        ],
        Seen::Left(left) => {
            vec![format!("step {name} of {project}, in the workspace that it left in {}", by(left))]
        }
    };
    lines.extend(run_step.map(|path| format!("sh {path} runs its command: {}", in_brief(&step.command))));
    lines.push(match seen {
        Seen::Left(_) => {
            "changes stay in this workspace until the step is run again; your own files are not touched"
                .into()
        }
        _ => "changes are thrown away at the end; your own files are not touched".into(),
    });
    lines
}

/// The first line of a command.
fn in_brief(command: &Command) -> String {
    let text = match command {
        Command::Shell(script) => script.trim().to_owned(),
        Command::Argv(argv) => argv.join(" "),
    };
    let mut lines = text.lines();
    let first = clean_word(lines.next().unwrap_or_default());
    if lines.next().is_some() { format!("{first} ...") } else { first }
}

/// Passes on what a command writes as it comes, masked and otherwise byte for byte: nobody sits before a terminal.
pub(crate) struct Passage {
    masks: [MaskStream; 2],
}

impl Passage {
    /// A passage that masks.
    pub(crate) fn new(masker: &Masker) -> Self {
        Self { masks: [masker.stream(), masker.stream()] }
    }

    /// Passes on.
    ///
    /// # Errors
    /// It could not be written, also because nobody reads.
    pub(crate) fn take(&mut self, chunk: &OutputChunk) -> io::Result<()> {
        let mut masked = Vec::new();
        self.masks[usize::from(chunk.stream == Stream::Stderr)].push(&chunk.bytes, &mut masked);
        written(chunk.stream, &masked)
    }

    /// Passes on what was held back.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(crate) fn finish(mut self) -> io::Result<()> {
        for (mask, stream) in self.masks.iter_mut().zip([Stream::Stdout, Stream::Stderr]) {
            let mut rest = Vec::new();
            mask.finish(&mut rest);
            written(stream, &rest)?;
        }
        Ok(())
    }
}

fn written(stream: Stream, bytes: &[u8]) -> io::Result<()> {
    match stream {
        Stream::Stdout => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
        Stream::Stderr => io::stderr().write_all(bytes),
    }
}

/// Says what the engine said after a command on a terminal.
pub(crate) fn afterwards(said: &[u8]) {
    let mut out = Sink::new(io::stderr());
    String::from_utf8_lossy(said).lines().for_each(|line| out.line(&clean_word(line)));
}

#[cfg(test)]
mod tests {
    use staith_model::Digest;

    use super::*;

    #[test]
    fn one_is_told_where_one_is_and_what_becomes_of_what_one_does() {
        let command = Command::Shell("make test\nmake more".into());
        let step = StepPlan::new("test".parse().unwrap(), command, Digest::of(b""));
        let run = RunId::new(0, [0; 10]);
        let left = LeftBy { run: run.clone(), outcome: StepOutcome::Failed, ago: 61_000 };
        let said = |seen: &Seen| welcome_lines(&"shop".parse().unwrap(), &step, seen, Some("~/run-step"));
        assert_eq!(
            said(&Seen::Left(left.clone())),
            [
                format!(
                    "step test of shop, in the workspace that it left in run {run}, 1 m 01 s ago, where it failed"
                ),
                "sh ~/run-step runs its command: make test ...".into(),
                "changes stay in this workspace until the step is run again; your own files are not touched"
                    .into(),
            ]
        );
        let fresh = said(&Seen::FreshThough(left));
        assert!(fresh[1].starts_with("what it would see has changed since run"), "{fresh:?}");
        assert!(fresh[3].starts_with("changes are thrown away"), "{fresh:?}");
    }
}
