//! Somebody's program in a step's sandbox, on the user's terminal if there is one.

use std::{collections::BTreeMap, env, ffi::OsString, process::ExitCode};

use staith_builder::{
    engine::{OutputChunk, StepExit, WORKSPACE},
    execute::{Shell, Stop, Visitor},
    layers::Left,
    redact::Masker,
};
use staith_model::{Command, Exit, Name, RunId, StepPlan};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::JoinHandle,
};

use crate::{
    clock,
    output::{self, LeftBy, OutputMode, Passage, Problem, Seen},
    terminal::Lent,
};

/// Where the step's command is, in the sandbox.
const RUN_STEP: &str = "~/run-step";
/// Writes the step's command down and becomes a shell, the better one of those that are there. `$1` is the command, `$2` what
/// the prompt begins with.
const BOOT: &str = r#"printf '%s' "$1" > "$HOME/run-step" && chmod 755 "$HOME/run-step"
if [ -x /bin/bash ]; then
  printf "PS1='%s:\\\\w\\\\$ '\n" "$2" > "$HOME/.staith-prompt"
  exec /bin/bash --rcfile "$HOME/.staith-prompt" -i
fi
PS1="$2 $ " exec /bin/sh -i"#;
/// As much as is remembered of what an engine says while a program has the terminal.
const MOST_SAID: usize = 64 << 10;

/// What is to be run, and for whom.
pub(super) struct Visit {
    /// None is a shell.
    pub(super) command: Vec<OsString>,
    pub(super) has_terminal: bool,
    pub(super) project: Name,
    pub(super) masker: Masker,
    pub(super) mode: OutputMode,
}

impl Visit {
    /// From the welcome to the exit code.
    pub(super) async fn make(self, shell: Shell, stop: &Stop) -> Result<ExitCode, Problem> {
        let run_step = self.command.is_empty().then_some(RUN_STEP);
        output::welcome(&self.project, shell.step(), &seen(&shell), run_step);
        let ended = if self.has_terminal {
            self.on_terminal(&shell, stop).await
        } else {
            self.without_terminal(&shell, stop).await
        };
        let was_left = shell.left().is_some();
        let kept = tokio::task::spawn_blocking(|| shell.leave());
        match kept.await.map_err(|panicked| Problem::bug(panicked.to_string()))? {
            Ok(false) if was_left => output::notice(
                "the step has failed again in the meantime: what it left there is kept, and not what was changed here",
                self.mode,
            ),
            Ok(_) => {}
            Err(reason) => {
                output::notice(&format!("what the step left is no longer kept: {}", reason.what), self.mode)
            }
        }
        ended?.map_or(Ok(ExitCode::from(Exit::Interrupted.code())), code_of)
    }

    fn visitor(&self, step: &StepPlan) -> Result<Visitor, Problem> {
        let chance = clock::chance().map_err(|error| Problem::bug(error.to_string()))?;
        let argv = if self.command.is_empty() {
            let prompt = step.name.to_string();
            ["/bin/sh", "-c", BOOT, "sh", &written_down(step), &prompt].map(OsString::from).into()
        } else {
            self.command.clone()
        };
        let run = RunId::new(clock::unix_millis(), chance);
        Ok(Visitor { run, argv, env: BTreeMap::new(), terminal: None })
    }

    /// How it ended; `None` where somebody insisted on an end.
    async fn on_terminal(&self, shell: &Shell, stop: &Stop) -> Result<Option<StepExit>, Problem> {
        let mut visitor = self.visitor(shell.step())?;
        let refused = |error: std::io::Error| {
            Problem::new(Exit::Environment, "the system gives no terminal").with_why(error.to_string())
        };
        let mut resized = signal(SignalKind::window_change()).map_err(refused)?;
        let mut quit = signal(SignalKind::quit()).map_err(refused)?;
        let (lent, theirs) = Lent::out(self.masker.stream(), stop.cancel.clone()).map_err(refused)?;
        visitor.env.extend(term().map(|term| ("TERM".to_owned(), term)));
        visitor.terminal = Some(theirs);
        let (output, chunks) = mpsc::channel(16);
        let said = remember(chunks, self.masker.clone());
        let running = shell.run(visitor, output, stop.clone());
        let ended = attend(running, &lent, stop, (&mut resized, &mut quit)).await;
        lent.take_back().await;
        output::afterwards(&said.await.unwrap_or_default());
        ended.transpose().map_err(Problem::from)
    }

    async fn without_terminal(&self, shell: &Shell, stop: &Stop) -> Result<Option<StepExit>, Problem> {
        let (output, mut chunks) = mpsc::channel(64);
        let (mut passage, gone) = (Passage::new(&self.masker), stop.cancel.clone());
        let passing = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
            while let Some(chunk) = chunks.blocking_recv() {
                // Whoever wanted more would have kept reading.
                passage.take(&chunk).inspect_err(|_| gone.cancel())?;
            }
            passage.finish()
        });
        let running = shell.run(self.visitor(shell.step())?, output, stop.clone());
        let ended = tokio::select! {
            ended = running => Some(ended?),
            () = stop.kill.cancelled() => None,
        };
        match passing.await.map_err(|panicked| Problem::bug(panicked.to_string()))? {
            Err(lost) if lost.kind() != std::io::ErrorKind::BrokenPipe => Err(Problem::unwritable(&lost)),
            _ => Ok(ended),
        }
    }
}

/// Waits for the program's end, and meanwhile passes on what concerns its terminal.
async fn attend<T>(
    running: impl Future<Output = T>,
    lent: &Lent,
    stop: &Stop,
    (resized, quit): (&mut Signal, &mut Signal),
) -> Option<T> {
    tokio::pin!(running);
    let mut hung_up = false;
    loop {
        tokio::select! {
            ended = &mut running => return Some(ended),
            _ = resized.recv() => lent.resize(),
            _ = quit.recv() => stop.cancel.cancel(),
            // Shells do not hear SIGTERM; that their terminal is gone they do.
            () = stop.cancel.cancelled(), if !hung_up => {
                hung_up = true;
                lent.hang_up();
            }
            () = stop.kill.cancelled() => return None,
        }
    }
}

/// Remembers what the engine says.
fn remember(mut chunks: mpsc::Receiver<OutputChunk>, masker: Masker) -> JoinHandle<Vec<u8>> {
    tokio::spawn(async move {
        let (mut mask, mut said) = (masker.stream(), Vec::new());
        while let Some(chunk) = chunks.recv().await {
            if said.len() < MOST_SAID {
                mask.push(&chunk.bytes, &mut said);
            }
        }
        mask.finish(&mut said);
        said
    })
}

fn seen(shell: &Shell) -> Seen {
    let by = |left: &Left| LeftBy {
        run: left.run.clone(),
        outcome: left.outcome,
        ago: clock::unix_millis().saturating_sub(left.at),
    };
    match (shell.left(), shell.left_aside()) {
        (Some(left), _) => Seen::Left(by(left)),
        (None, Some(left)) => Seen::FreshThough(by(left)),
        (None, None) => Seen::Fresh,
    }
}

/// The kind of the user's terminal, if its name is one.
fn term() -> Option<String> {
    let is_name = |name: &String| {
        !name.is_empty()
            && name.len() < 64
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b))
    };
    env::var("TERM").ok().filter(is_name)
}

/// The step's command as a script of its own.
fn written_down(step: &StepPlan) -> String {
    let place =
        step.workdir.as_ref().map_or_else(|| WORKSPACE.to_owned(), |below| format!("{WORKSPACE}/{below}"));
    let command = match &step.command {
        Command::Shell(script) => format!("/bin/sh -ec {}", quoted(script)),
        Command::Argv(argv) => argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    };
    format!(
        "#!/bin/sh\n# What the step `{}` runs.\ncd {} || exit\nexec {command}\n",
        step.name,
        quoted(&place)
    )
}

/// For a shell, as one word.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// What the shell is told: the program's own exit code, and where it had none, one of the table.
fn code_of(exit: StepExit) -> Result<ExitCode, Problem> {
    let of_table = |exit: Exit, what: &str| Err(Problem::new(exit, what));
    match exit {
        StepExit::Code(code) => Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))),
        StepExit::Signal(signal) => {
            Ok(ExitCode::from(u8::try_from(128 + (signal & 0x7f)).unwrap_or(u8::MAX)))
        }
        StepExit::Cancelled => Ok(ExitCode::from(Exit::Interrupted.code())),
        StepExit::TimedOut => of_table(Exit::StepFailed, "it was ended because its time was over"),
        StepExit::OutOfMemory => {
            of_table(Exit::StepFailed, "it was ended: it wanted more memory than the step may have")
        }
        StepExit::DiskUsedUp { .. } => {
            of_table(Exit::StepFailed, "it was ended: it wrote more than the step may")
        }
        StepExit::HostDiskFull { place, .. } => {
            let what = format!("it was ended before it filled the disk with {}", place.display());
            Err(Problem::new(Exit::Environment, what)
                .with_remedy("make room, or set STAITH_HOME to a directory on another disk"))
        }
        StepExit::NotStarted { program, why } => {
            let what = format!("`{program}` could not be started in the sandbox");
            Err(Problem::new(Exit::Environment, what)
                .with_why(why)
                .with_remedy("name a program that the step's image has, after `--`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use staith_model::Digest;

    use super::*;

    fn runs(command: Command) -> String {
        let directory = tempfile::tempdir().unwrap();
        let step = StepPlan::new("test".parse().unwrap(), command, Digest::of(b""));
        let script = written_down(&step).replace(WORKSPACE, directory.path().to_str().unwrap());
        let ran = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        format!("{}{}", ran.status.code().unwrap(), String::from_utf8_lossy(&ran.stdout))
    }

    #[test]
    fn the_command_is_run_as_the_step_runs_it() {
        assert_eq!(runs(Command::Shell("echo \"it's\" '$x'\nfalse\necho never".into())), "1it's $x\n");
        let argv = ["printf", "%s|", "a b", "it's", "$HOME", "\n"].map(str::to_owned);
        assert_eq!(runs(Command::Argv(argv.into())), "0a b|it's|$HOME|\n|");
    }
}
