//! Bytes on their way in one direction. Pure.

use bytes::{Buf as _, Bytes, BytesMut};
use staith_model::service::TUNNEL_PIECE;

/// The most bytes that are kept for who has not taken them yet. Who says more waits.
pub(crate) const MOST: usize = 1 << 20;

/// Bytes that were said and are not known to have arrived. Each has an offset, counted from the first that was ever said, so that
/// either side may ask again after an answer was lost: what was said twice is there once, and what was not heard is told again.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// The offset of the first byte that is kept; all before have arrived.
    start: u64,
    kept: BytesMut,
}

/// Bytes are asked for, or told, that don't follow those that are known. Nobody who counts right says that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The offset of the next byte.
    pub(crate) next: u64,
}

impl Pipe {
    /// The offset of the first byte that is not known to have arrived.
    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    /// The offset of the next byte that is to be said.
    pub(crate) fn next(&self) -> u64 {
        self.start + self.kept.len() as u64
    }

    /// Takes as many of the bytes that begin at `offset` as are new and have room; gives the offset of the next.
    pub(crate) fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<u64, Gap> {
        let next = self.next();
        let known = next.checked_sub(offset).ok_or(Gap { next })?;
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let new = bytes.get(known..).unwrap_or_default();
        let fits = new.len().min(MOST.saturating_sub(self.kept.len()));
        self.kept.extend_from_slice(&new[..fits]);
        Ok(self.next())
    }

    /// All bytes before `offset` have arrived; gives those that are there from it on, as many as are told at once: over a slow line, more
    /// would not arrive before the answer is given up.
    pub(crate) fn got(&mut self, offset: u64) -> Result<Bytes, Gap> {
        let arrived = offset.checked_sub(self.start).and_then(|arrived| usize::try_from(arrived).ok());
        let arrived =
            arrived.filter(|arrived| *arrived <= self.kept.len()).ok_or(Gap { next: self.next() })?;
        self.kept.advance(arrived);
        self.start = offset;
        Ok(Bytes::copy_from_slice(&self.kept[..self.kept.len().min(TUNNEL_PIECE)]))
    }

    /// Whether nothing more can be said before something arrives.
    pub(crate) fn is_full(&self) -> bool {
        self.kept.len() >= MOST
    }
}
