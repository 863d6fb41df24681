//! `staith env sweep`.

use clap::Args;
use staith_model::Exit;
use staith_releaser::fleet::provision::overdue;

use crate::{
    clock,
    fleet::swept,
    home::Home,
    interrupt,
    output::{self, OutputMode, Problem},
};

/// Take down the machines of all environments whose time has come, of every project
///
/// Those that are ephemeral and were left half made by a process that died are taken down, too. What can't be taken down is told, and
/// stays for the next time. To be given again and again, by a timer.
#[derive(Debug, Args)]
pub(crate) struct Arguments {}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let stop = interrupt::listen()?;
        let home = Home::find()?;
        let mut exit = Exit::Passed;
        let due = overdue(&home.environments(), clock::unix_millis());
        if due.is_empty() {
            output::nothing_to_sweep(mode).map_err(|lost| Problem::unwritable(&lost))?;
        }
        for overdue in due {
            if stop.cancel.is_cancelled() {
                return Ok(Exit::Interrupted);
            }
            let came = swept(&home, &overdue, &stop, mode).await;
            match &came {
                // Whoever stops it is told that it stopped, and not that it failed.
                Err(stopped) if stopped.exit == Exit::Interrupted => exit = Exit::Interrupted,
                Err(_) => exit = Exit::Environment,
                Ok(_) => {}
            }
            output::swept(&overdue, &came, mode).map_err(|lost| Problem::unwritable(&lost))?;
        }
        Ok(exit)
    }
}

/// Says on standard error which machines nobody needs any more. A glance at small files; nothing is changed.
pub(in crate::cli) fn tell_of_overdue(mode: OutputMode) {
    let Ok(home) = Home::find() else { return };
    let overdue = overdue(&home.environments(), clock::unix_millis());
    if !overdue.is_empty() && !mode.is_json() {
        output::tell_of_overdue(&overdue);
    }
}
