//! Work that ends when somebody asks for it, at a place where nothing is half done.

use std::{
    io::{self, Read},
    ops::ControlFlow,
};

use tokio_util::sync::CancellationToken;

use crate::web_deploy::Progress;

/// Somebody asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped as asked")]
pub struct Stopped;

/// Hears of progress, and says whether to go on. Called from any thread.
pub type Watch<'w> = dyn Fn(Progress) -> ControlFlow<()> + Sync + 'w;

/// Hears nothing, and always goes on.
pub fn unwatched(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A reader that fails with [`Stopped`] as soon as somebody asked for that.
#[derive(Debug)]
pub struct Stoppable<'s, R> {
    from: R,
    stop: &'s CancellationToken,
}

impl<'s, R> Stoppable<'s, R> {
    /// Reads `from` until `stop` is cancelled.
    pub const fn new(from: R, stop: &'s CancellationToken) -> Self {
        Self { from, stop }
    }
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other(Stopped));
        }
        self.from.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_ends_when_it_is_asked_for() {
        let stop = CancellationToken::new();
        let mut reader = Stoppable::new(&b"abc"[..], &stop);
        assert_eq!(reader.read(&mut [0]).unwrap(), 1);
        stop.cancel();
        let refused = reader.read(&mut [0]).unwrap_err();
        assert!(refused.get_ref().is_some_and(|why| why.is::<Stopped>()));
    }
}
