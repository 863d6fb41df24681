//! Frames: a length, a kind, and bytes.

use std::io::{self, Read};

use serde::Serialize;

/// Longest frame that either side takes.
pub const LONGEST_FRAME: u32 = 16 << 20;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A message as JSON.
    Message,
    /// Bytes of manifests and files.
    Content,
}

/// Why a stream is no stream of frames.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// It ended within a frame, or could not be read.
    #[error("the stream broke off: {0}")]
    Broken(#[from] io::Error),
    /// A frame is longer than either side sends.
    #[error("a frame of {0} bytes was announced, which nobody sends")]
    TooLong(u32),
    /// A frame is of a kind that does not exist.
    #[error("a frame of the unknown kind {0}")]
    UnknownKind(u8),
    /// A message says nothing that is understood.
    #[error("a message that is not understood: {0}")]
    NotUnderstood(#[from] serde_json::Error),
    /// Content that lies about itself.
    #[error("content that is not well-formed: {0}")]
    BadContent(&'static str),
}

/// What the first five bytes of a frame say: its kind, and how many bytes follow.
///
/// # Errors
/// The frame is too long, empty, or of no known kind.
pub fn decode_length(head: [u8; 5]) -> Result<(Kind, usize), FrameError> {
    let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    if length == 0 || length > LONGEST_FRAME {
        return Err(FrameError::TooLong(length));
    }
    let kind = match head[4] {
        0 => Kind::Message,
        1 => Kind::Content,
        other => return Err(FrameError::UnknownKind(other)),
    };
    Ok((kind, length as usize - 1))
}

/// The next frame; `None` if the stream ends where one would begin.
///
/// Memory grows with the bytes that come, not with the length that is announced.
///
/// # Errors
/// The stream breaks off, or holds no frames.
pub fn read_frame(from: &mut impl Read) -> Result<Option<(Kind, Vec<u8>)>, FrameError> {
    let mut head = [0; 5];
    loop {
        match from.read(&mut head[..1]) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    from.read_exact(&mut head[1..])?;
    let (kind, length) = decode_length(head)?;
    let mut bytes = Vec::with_capacity(length.min(64 << 10));
    from.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(Some((kind, bytes)))
}

/// A message as a frame.
///
/// # Errors
/// It can't be written as JSON, or is longer than a frame may be.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; 5];
    serde_json::to_writer(&mut frame, message)?;
    close(frame, Kind::Message)
}

/// Writes the head of a frame whose first five bytes were left free for it.
pub(super) fn close(mut frame: Vec<u8>, kind: Kind) -> Result<Vec<u8>, FrameError> {
    let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
    if length > LONGEST_FRAME {
        return Err(FrameError::TooLong(length));
    }
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame[4] = u8::from(kind == Kind::Content);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_comes_is_frames_or_an_error_and_memory_follows_what_came(bytes: Vec<u8>) {
            let mut from = bytes.as_slice();
            while let Ok(Some((_, payload))) = read_frame(&mut from) {
                prop_assert!(payload.len() < bytes.len());
            }
        }

        #[test]
        fn a_message_comes_out_as_it_went_in_and_what_is_cut_is_noticed(text: String, cut in 0usize..20) {
            let frame = encode(&text).unwrap();
            let (kind, bytes) = read_frame(&mut frame.as_slice()).unwrap().unwrap();
            prop_assert_eq!((kind, serde_json::from_slice::<String>(&bytes).unwrap()), (Kind::Message, text));
            let short = &frame[..frame.len().saturating_sub(cut + 1)];
            match read_frame(&mut &short[..]) {
                Ok(None) => prop_assert!(short.is_empty()),
                Ok(Some(_)) => prop_assert!(false, "half a frame was taken for one"),
                Err(_) => {}
            }
        }
    }

    #[test]
    fn a_length_that_nobody_sends_is_refused_before_anything_is_read() {
        for head in [[0xff, 0xff, 0xff, 0xff, 0], [0, 0, 0, 0, 0]] {
            assert!(matches!(decode_length(head), Err(FrameError::TooLong(_))));
        }
        assert!(matches!(decode_length([0, 0, 0, 1, 9]), Err(FrameError::UnknownKind(9))));
    }
}
