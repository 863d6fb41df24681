//! `docs/cli.md` is what the commands say of themselves. `STAITH_UPDATE_EXPECTED=1` writes it anew.

use std::{fs, path::Path};

use clap::{Command, CommandFactory as _};

use super::Cli;

const INTRODUCTION: &str = "\
# The command line

This page is made from the program's own help (`staith help COMMAND`); a test holds it to that.

`--json` before or after any command but `shell` says the same as JSON, one value a line: of `run`, `rollback` and releases the events;
of other commands one value. Errors are a line `{\"error\": ...}`. [Exit codes](exit-codes.md) are the same for all.
";

fn reference() -> String {
    let mut all = Cli::command().term_width(100).disable_help_subcommand(true);
    all.build();
    let mut text = INTRODUCTION.to_owned();
    for command in all.get_subcommands().filter(|command| !command.is_hide_set()) {
        text.push_str(&section(command.clone()));
    }
    text
}

fn section(command: Command) -> String {
    let name = command.get_name().to_owned();
    // Set on the whole, the width does not reach its parts.
    let mut command = command.term_width(100).mut_args(|argument| {
        let is_everywhere = matches!(argument.get_id().as_str(), "json" | "help");
        argument.hide(is_everywhere)
    });
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    format!("\n## {name}\n\n```\n{}\n```\n", lines.join("\n").trim())
}

#[test]
fn the_reference_is_what_the_commands_say() {
    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let text = reference();
    if std::env::var_os("STAITH_UPDATE_EXPECTED").is_some() {
        fs::write(&at, &text).unwrap();
    }
    let written = fs::read_to_string(&at).unwrap_or_default();
    assert_eq!(text, written, "docs/cli.md differs; run this test with STAITH_UPDATE_EXPECTED=1");
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}
