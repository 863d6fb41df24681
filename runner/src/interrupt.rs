//! Ctrl-C, SIGTERM and a closed terminal: the first asks, the second insists.

use std::io;

use staith_builder::execute::Stop;
use staith_model::Exit;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use crate::output::Problem;

/// From now on, signals stop what holds the returned [`Stop`] instead of ending this process.
///
/// # Errors
/// The system refused to hand over signals.
pub(crate) fn listen() -> Result<Stop, Problem> {
    let stop = Stop::default();
    let listener = stop.clone();
    each_signal(move || {
        if listener.cancel.is_cancelled() {
            listener.kill.cancel();
        }
        listener.cancel.cancel();
    })?;
    Ok(stop)
}

/// From now on, the first signal asks for an end at the next place where nothing is half done; the second one ends this process
/// where it is. For commands that start no others.
///
/// # Errors
/// The system refused to hand over signals.
pub(crate) fn listen_for_an_end() -> Result<CancellationToken, Problem> {
    let stop = CancellationToken::new();
    let listener = stop.clone();
    each_signal(move || {
        if listener.is_cancelled() {
            std::process::exit(i32::from(Exit::Interrupted.code()));
        }
        listener.cancel();
    })?;
    Ok(stop)
}

/// How a command ends that was asked to; `left` says what there is of its work.
pub(crate) fn stopped(left: &str) -> Problem {
    Problem::new(Exit::Interrupted, format!("stopped as asked; {left}"))
}

/// The same for a command that stays, and what yields whenever SIGHUP asks it to read anew what it goes by.
///
/// # Errors
/// The system refused to hand over signals.
pub(crate) fn listen_for_an_end_and_renewals() -> Result<(CancellationToken, mpsc::Receiver<()>), Problem> {
    let refused = |refused: io::Error| Problem::bug(format!("the system hands over no signals: {refused}"));
    let take = |kind| signal(kind).map_err(refused);
    let (mut interrupt, mut terminate) = (take(SignalKind::interrupt())?, take(SignalKind::terminate())?);
    let mut hangup = take(SignalKind::hangup())?;
    let (renew, renewals) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let listener = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {
                    // One that is waiting already is enough.
                    let _ = renew.try_send(());
                    continue;
                }
            }
            if listener.is_cancelled() {
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
            listener.cancel();
        }
    });
    Ok((stop, renewals))
}

fn each_signal(mut heard: impl FnMut() + Send + 'static) -> Result<(), Problem> {
    let refused = |refused: io::Error| Problem::bug(format!("the system hands over no signals: {refused}"));
    let take = |kind| signal(kind).map_err(refused);
    let mut interrupt = take(SignalKind::interrupt())?;
    let (mut terminate, mut hangup) = (take(SignalKind::terminate())?, take(SignalKind::hangup())?);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            heard();
        }
    });
    Ok(())
}
