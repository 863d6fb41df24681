//! `staith env sweep`.

mod timer;

use std::path::PathBuf;

use clap::Args;
use staith_model::Exit;
use staith_releaser::fleet::{drive::Cooled, provision::overdue};

use crate::{
    clock,
    fleet::{cool, overwarm, swept},
    home::Home,
    interrupt,
    output::{self, OutputMode, Problem},
};

/// Take down the machines of all environments whose time has come, of every project
///
/// Those that are ephemeral and were left half made by a process that died are taken down, too. Pools that served before a swap are
/// stopped when `keep-warm` is over. What can't be done is told, and stays for the next time. To be given again and again, by a timer.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Take down nothing now, and have systemd give this command every five minutes: its units are written and enabled
    ///
    /// The superuser's are those of the machine, everybody else's those of their own account. A unit that is there and says something
    /// else is not replaced.
    #[arg(long)]
    install: bool,
    /// Write the units into this directory, and enable nothing
    #[arg(long, value_name = "DIR", requires = "install")]
    to: Option<PathBuf>,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        if self.install {
            return timer::install(self.to.as_deref(), mode);
        }
        let stop = interrupt::listen()?;
        let home = Home::find()?;
        let mut exit = Exit::Passed;
        let due = overdue(&home.environments(), clock::unix_millis());
        let warm = overwarm(&home, clock::unix_millis());
        if due.is_empty() && warm.is_empty() {
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
        for (project, environment) in warm {
            let came = tokio::select! {
                came = cool(&home, &project, &environment) => came,
                () = stop.cancel.cancelled() => return Ok(Exit::Interrupted),
            };
            let all_well = match &came {
                Ok(Cooled::Asked { left, .. }) => left.is_empty(),
                Ok(_) => true,
                Err(_) => false,
            };
            if !all_well && exit == Exit::Passed {
                exit = Exit::Environment;
            }
            output::cooled((Some(&project), &environment), &came, mode)
                .map_err(|lost| Problem::unwritable(&lost))?;
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
