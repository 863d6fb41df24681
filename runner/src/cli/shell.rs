//! `staith shell`.

mod visit;
mod workspace;

use std::{ffi::OsString, process::ExitCode};

use clap::Args;
use staith_model::Exit;

use self::workspace::{Opened, opened};
use super::{offered, subject::Subject};
use crate::{
    home::Home,
    interrupt,
    output::{OutputMode, Problem},
    terminal,
};

/// Open a shell in a step's sandbox and workspace, also after it failed
///
/// The shell sees what the step sees: image, tools, source files, what the steps that it needs have left, variables, secrets,
/// network and limits; only the time limit does not hold. What the step needs and is not known is run first. After a failure,
/// the workspace is as the step left it, unless what it would see has changed since; changes stay there until the step is run
/// again, and otherwise are thrown away at the end. `sh ~/run-step` runs the step's command. Nothing that is done in a shell
/// counts as a run of the step. The exit code is that of the shell or of the command.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The step; one with a matrix stands for its variant that failed, if that is one
    #[arg(add = offered::steps())]
    step: String,
    #[command(flatten)]
    subject: Subject,
    /// Open a fresh workspace, whatever the step left when it failed
    #[arg(long, conflicts_with = "last")]
    fresh: bool,
    /// Open what the step left when it failed the last time, on top of what it saw then, whatever it would see now
    #[arg(long)]
    last: bool,
    /// Run this instead of a shell; without a terminal its output comes as it is, secrets masked, and there is nothing on its
    /// standard input
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<ExitCode, Problem> {
        let has_terminal = terminal::is_there();
        if mode.is_json() {
            return Err(Problem::new(Exit::Usage, "a shell is no JSON").with_remedy("leave --json out"));
        }
        if self.command.is_empty() && !has_terminal {
            return Err(Problem::new(Exit::Usage, "a shell needs a terminal, and there is none")
                .with_remedy(format!("name a command instead: staith shell {} -- COMMAND", self.step)));
        }
        let mode = if has_terminal { mode } else { OutputMode::aside() };
        let (stop, home) = (interrupt::listen()?, Home::find()?);
        let Opened { shell, project, masker } = match opened(&self, &home, &stop, mode).await? {
            Ok(opened) => opened,
            Err(exit) => return Ok(ExitCode::from(exit.code())),
        };
        let visit = visit::Visit { command: self.command, has_terminal, project, masker, mode };
        visit.make(shell, &stop).await
    }
}
