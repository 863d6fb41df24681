//! Ctrl-C, SIGTERM and a closed terminal: the first asks, the second insists.

use std::io;

use staith_builder::execute::Stop;
use tokio::signal::unix::{SignalKind, signal};

use crate::output::Problem;

/// From now on, signals stop what holds the returned [`Stop`] instead of ending this process.
///
/// # Errors
/// The system refused to hand over signals.
pub(crate) fn listen() -> Result<Stop, Problem> {
    try_listen().map_err(|refused| Problem::bug(format!("the system hands over no signals: {refused}")))
}

fn try_listen() -> io::Result<Stop> {
    let stop = Stop::default();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let listener = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            if listener.cancel.is_cancelled() {
                listener.kill.cancel();
            }
            listener.cancel.cancel();
        }
    });
    Ok(stop)
}
