//! A service that this program keeps running itself.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    keep_program,
    serving::{Standing, standing},
};
use crate::{
    keep::{self, running::Running},
    layout::Layout,
    protocol::Serving,
    refusal::{self, Outcome},
};

/// Variables that the application gets of whoever deploys; nothing else of them is its concern.
const OF_THE_ACCOUNT: [&str; 8] =
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "XDG_RUNTIME_DIR"];
/// What starting a process may take.
const STARTING: Duration = Duration::from_secs(20);
/// Beyond the time that the service is given to end.
const ENDING: Duration = Duration::from_secs(10);
/// Between two looks.
const MOMENT: Duration = Duration::from_millis(10);

/// Ends what runs, and has whatever `current` points to kept running. Returns once the application is started.
pub(super) fn restart(layout: &Layout, stop_seconds: u64) -> Outcome<()> {
    stop(layout, stop_seconds)?;
    keep_program(layout)?;
    let program = layout.program();
    let mut command = Command::new(&program);
    command.arg("keep").arg("--folder").arg(layout.root());
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| is_of_the_account(name)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut keeper = command.spawn().map_err(|error| {
        refusal::environment(
            format!("{} can't be started: {error}", program.display()),
            "let programs be executed from the environment's folder on this machine (it may be mounted `noexec`)",
        )
    })?;
    // It lives on when this program ends; while it does not, somebody has to take notice of its end.
    std::thread::spawn(move || keeper.wait());
    began(layout)
}

fn is_of_the_account(name: &std::ffi::OsStr) -> bool {
    OF_THE_ACCOUNT.iter().any(|known| name == *known)
}

/// Waits until the application has been started. That it fell over at once is for whoever asks how it is.
fn began(layout: &Layout) -> Outcome<()> {
    let until = Instant::now() + STARTING;
    while Instant::now() < until {
        match Running::read(layout) {
            Some(Running { failed: Some(why), .. }) => {
                return Err(refusal::project(
                    why,
                    "correct the service's command in runner.toml, or what the package holds",
                ));
            }
            Some(running) if standing(layout, running.pid) != Standing::Becoming => return Ok(()),
            _ => std::thread::sleep(MOMENT),
        }
    }
    Err(refusal::environment(
        format!("the service was not started within {} s", STARTING.as_secs()),
        format!("see {} on the machine", layout.log().display()),
    ))
}

/// Ends the service and whoever keeps it running.
pub(super) fn stop(layout: &Layout, stop_seconds: u64) -> Outcome<()> {
    let until = Instant::now() + Duration::from_secs(stop_seconds) + ENDING;
    if keep::tell_to_end(layout) {
        while keep::is_kept(layout) {
            if Instant::now() >= until {
                return Err(refusal::environment(
                    format!(
                        "the process that keeps the service in {} running does not end",
                        layout.root().display()
                    ),
                    "find the process `staith-machine keep` for that folder on the machine and end it, then deploy again",
                ));
            }
            std::thread::sleep(MOMENT);
        }
    }
    // If the keeper was killed, what it kept may live.
    keep::end_what_is_left(layout, stop_seconds);
    Ok(())
}

/// What runs.
pub(super) fn serving(layout: &Layout, patience: Duration) -> Serving {
    let until = Instant::now() + patience;
    loop {
        let kept = keep::is_kept(layout);
        let Some(running) = Running::read(layout).filter(Running::is_alive) else { return Serving::Down };
        if !kept {
            // Nobody would start it again: it is not what was asked for, whatever it serves.
            return Serving::Up(None);
        }
        match standing(layout, running.pid) {
            Standing::In(release) => return Serving::Up(release),
            Standing::Gone | Standing::Becoming if Instant::now() < until => std::thread::sleep(MOMENT),
            Standing::Gone => return Serving::Down,
            Standing::Becoming => return Serving::Up(None),
        }
    }
}

/// The application's first process.
pub(super) fn main_process(layout: &Layout) -> Option<u32> {
    Running::read(layout).filter(Running::is_alive).map(|running| running.pid)
}
