//! Ending a keeper: asked, asked again, killed.

use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::{Instant, sleep, timeout_at};

use super::job::{Job, KeeperId, start_time};
use crate::{
    home::Home,
    workshop::{EngineName, Workshop},
};

/// After the first request, which gives steps ten seconds.
const ASKED: Duration = Duration::from_secs(15);
/// After the second one, which kills steps.
const INSISTED: Duration = Duration::from_secs(10);
/// How often it is looked whether the keeper is gone.
const LOOK: Duration = Duration::from_millis(20);

/// Ends the keeper of a job, and what it started; returns when it is gone. Cancel-safe: whoever asks again begins anew.
pub(super) async fn end_keeper(job: &Job, home: &Home, engine: EngineName) {
    for (signal, patience) in [(Signal::TERM, ASKED), (Signal::TERM, INSISTED), (Signal::KILL, INSISTED)] {
        let Some(keeper) = job.keeper() else { break };
        send(keeper, signal);
        if timeout_at(Instant::now() + patience, gone(job)).await.is_ok() {
            break;
        }
        tracing::warn!(
            process = keeper.pid,
            seconds = patience.as_secs(),
            "a keeper does not end in its time"
        );
    }
    if job.ended().is_none() {
        sweep(home, engine).await;
    }
}

/// Removes what a keeper that was killed has left on this machine.
pub(super) async fn sweep(home: &Home, engine: EngineName) {
    let swept = match Workshop::open(home) {
        Ok(workshop) => workshop.isolated_by(engine, home).reap().await.map_err(|error| error.to_string()),
        Err(problem) => Err(problem.what),
    };
    if let Err(why) = swept {
        tracing::warn!(why, "what a killed keeper left behind could not be removed");
    }
}

async fn gone(job: &Job) {
    while job.is_kept() {
        sleep(LOOK).await;
    }
}

/// Sends a signal to this process and to no other that may have got its number.
fn send(keeper: KeeperId, signal: Signal) {
    let Some(pid) = Pid::from_raw(keeper.pid) else { return };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if start_time(keeper.pid) == Some(keeper.started) {
        // It may be gone by now, which is what is wanted.
        let _ = pidfd_send_signal(&process, signal);
    }
}
