//! `staith completions`.

use std::io;

use clap::{Args, ValueEnum};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use staith_model::Exit;

use super::offered;
use crate::output::{self, OutputMode, Problem};

/// Print what makes a shell complete Staith's commands, and names of steps, environments and runs
///
/// For example, `staith completions bash > ~/.local/share/bash-completion/completions/staith`,
/// `staith completions zsh > "${fpath[1]}/_staith"`, or
/// `staith completions fish > ~/.config/fish/completions/staith.fish`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The shell
    shell: Known,
}

/// Shells whose completion is tried in the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Known {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

impl Arguments {
    pub(crate) async fn obey(self, _mode: OutputMode) -> Result<Exit, Problem> {
        let shell: &dyn EnvCompleter = match self.shell {
            Known::Bash => &Bash,
            Known::Zsh => &Zsh,
            Known::Fish => &Fish,
        };
        output::script(&script(shell).map_err(|error| Problem::bug(error.to_string()))?)
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// It asks `staith` itself each time that the key is pressed, so that it knows the steps of the project in which that happens.
fn script(shell: &dyn EnvCompleter) -> io::Result<String> {
    let mut bytes = Vec::new();
    shell.write_registration(offered::ASKED, "staith", "staith", "staith", &mut bytes)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}
