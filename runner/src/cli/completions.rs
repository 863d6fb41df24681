//! `staith completions`.

use std::io;

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::{Generator, Shell};
use staith_model::Exit;

use crate::output::{self, OutputMode, Problem};

/// Print what makes a shell complete Staith's commands
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
        let shell = match self.shell {
            Known::Bash => Shell::Bash,
            Known::Zsh => Shell::Zsh,
            Known::Fish => Shell::Fish,
        };
        output::script(&script(shell).map_err(|error| Problem::bug(error.to_string()))?)
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

fn script(shell: Shell) -> io::Result<String> {
    let mut command = super::Cli::command();
    command.set_bin_name("staith");
    command.build();
    let mut bytes = Vec::new();
    shell.try_generate(&command, &mut bytes)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}
