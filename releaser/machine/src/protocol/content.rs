//! Content frames: pieces of files, many in one frame where they are small.
//!
//! A piece is: the entry's place in the manifest (four bytes, big-endian), how it is packed (one byte: 0 as it is, 1 deflated),
//! whether more of the entry follows (one byte: 1 for the last piece), its length (four bytes), and its bytes. Pieces of one entry
//! come in order, and packed in one way; pieces of several entries do not come between each other.

use std::ops::Range;

use super::{FrameError, Kind, LONGEST_FRAME, frame::close};

/// Bytes before a piece's own.
const HEAD: usize = 10;

/// As many bytes of pieces as a frame should carry: large enough that frames cost nothing, small enough that both sides
/// work at the same time.
pub const GOOD_FRAME: usize = 256 << 10;

/// The place under which the manifest itself comes, deflated.
pub const MANIFEST: u32 = u32::MAX;

/// How a piece is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    Stored,
    /// Raw Deflate, one stream for each entry.
    Deflated,
}

/// A piece of an entry; its bytes are a range of the frame that it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Place in the manifest.
    pub place: u32,
    /// How it is packed.
    pub packing: Packing,
    /// Whether it is the entry's last.
    pub last: bool,
    /// Where its bytes are.
    pub bytes: Range<usize>,
}

/// A content frame in the making.
#[derive(Debug)]
pub struct Frame(Vec<u8>);

impl Default for Frame {
    fn default() -> Self {
        Self(vec![0; 5])
    }
}

impl Frame {
    /// Adds a piece. One that would make the frame too long must go into another.
    pub fn push(&mut self, place: u32, packing: Packing, last: bool, bytes: &[u8]) {
        self.0.extend_from_slice(&place.to_be_bytes());
        self.0.push(u8::from(packing == Packing::Deflated));
        self.0.push(u8::from(last));
        self.0.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    /// Whether there is no piece in it.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 5
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether a frame with `more` bytes would still be one.
    pub fn takes(&self, more: usize) -> bool {
        self.0.len() + HEAD + more < LONGEST_FRAME as usize
    }

    /// The finished frame.
    ///
    /// # Errors
    /// It is too long.
    pub fn close(self) -> Result<Vec<u8>, FrameError> {
        close(self.0, Kind::Content)
    }
}

/// The pieces in a content frame.
///
/// # Errors
/// A piece is cut off or packed in no known way.
pub fn pieces(frame: &[u8]) -> Result<Vec<Piece>, FrameError> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < frame.len() {
        let Some(head) = frame.get(at..at + HEAD) else {
            return Err(FrameError::BadContent("a piece is cut off"));
        };
        let number = |range: Range<usize>| {
            head[range].iter().fold(0u32, |number, byte| (number << 8) | u32::from(*byte))
        };
        let packing = match head[4] {
            0 => Packing::Stored,
            1 => Packing::Deflated,
            _ => return Err(FrameError::BadContent("a piece is packed in an unknown way")),
        };
        let begin = at + HEAD;
        let end = begin.saturating_add(number(6..10) as usize);
        if end > frame.len() {
            return Err(FrameError::BadContent("a piece is longer than its frame"));
        }
        pieces.push(Piece { place: number(0..4), packing, last: head[5] != 0, bytes: begin..end });
        at = end;
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_come_out_as_they_went_in(parts: Vec<(u32, bool, bool, Vec<u8>)>) {
            let mut frame = Frame::default();
            for (place, deflated, last, bytes) in &parts {
                let packing = if *deflated { Packing::Deflated } else { Packing::Stored };
                frame.push(*place, packing, *last, bytes);
            }
            let frame = frame.close().unwrap();
            let (kind, body) = super::super::read_frame(&mut frame.as_slice()).unwrap().unwrap();
            prop_assert_eq!(kind, Kind::Content);
            let back: Vec<_> = pieces(&body).unwrap().into_iter().map(|piece| {
                (piece.place, piece.packing == Packing::Deflated, piece.last, body[piece.bytes].to_vec())
            }).collect();
            prop_assert_eq!(back, parts);
        }

        #[test]
        fn no_bytes_make_the_reader_fail(bytes: Vec<u8>) {
            if let Ok(pieces) = pieces(&bytes) {
                prop_assert!(pieces.iter().all(|piece| piece.bytes.end <= bytes.len()));
            }
        }
    }
}
