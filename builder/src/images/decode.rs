//! From the bytes that travel to the bytes of an archive, with the digest of what came out.

use std::{
    cell::RefCell,
    io::{self, BufRead, BufReader, Read},
};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use staith_model::{Digest, DigestStream};

/// How much of what came before zstd may ask to keep in memory. Its own tool takes no more without being told.
const LARGEST_WINDOW: u64 = 128 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The first of the sixteen marks of a frame that is to be skipped.
const ZSTD_SKIPPED: [u8; 3] = [0x2a, 0x4d, 0x18];

/// A reader of the uncompressed bytes. What it is compressed with is read off its beginning: media types lie.
pub(super) fn decoded<'a>(from: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut from = BufReader::with_capacity(128 << 10, from);
    let start = from.fill_buf()?;
    if start.starts_with(&GZIP) {
        return Ok(Box::new(MultiGzDecoder::new(from)));
    }
    if start.starts_with(&ZSTD) || start.get(1..4) == Some(&ZSTD_SKIPPED) {
        return Ok(Box::new(Zstd(State::Between(from))));
    }
    Ok(Box::new(from))
}

/// Zstd's frames one after another; those that hold no content are passed over.
struct Zstd<R: Read>(State<R>);

type Frame<R> = StreamingDecoder<io::Chain<io::Cursor<[u8; 4]>, BufReader<R>>, FrameDecoder>;

enum State<R: Read> {
    Between(BufReader<R>),
    In(Box<Frame<R>>),
    Over,
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        loop {
            match std::mem::replace(&mut self.0, State::Over) {
                State::Over => return Ok(0),
                State::Between(from) => self.0 = next_frame(from)?,
                State::In(mut frame) => match frame.read(to)? {
                    0 => self.0 = State::Between(frame.into_inner().into_inner().1),
                    length => {
                        self.0 = State::In(frame);
                        return Ok(length);
                    }
                },
            }
        }
    }
}

fn next_frame<R: Read>(mut from: BufReader<R>) -> io::Result<State<R>> {
    while !from.fill_buf()?.is_empty() {
        let mut mark = [0; 4];
        from.read_exact(&mut mark)?;
        if mark[1..] != ZSTD_SKIPPED {
            let whole = io::Cursor::new(mark).chain(from);
            let frame = StreamingDecoder::new_with_max_window_size(whole, LARGEST_WINDOW);
            return frame.map(|frame| State::In(Box::new(frame))).map_err(io::Error::other);
        }
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        io::copy(&mut (&mut from).take(u64::from(u32::from_le_bytes(length))), &mut io::sink())?;
    }
    Ok(State::Over)
}

/// Hashes what passes.
pub(super) struct Hashing<'a, R> {
    from: R,
    seen: &'a Seen,
}

/// What a [`Hashing`] reader saw; to be asked when it is done.
#[derive(Default)]
pub(super) struct Seen {
    hash: RefCell<DigestStream>,
}

impl Seen {
    pub(super) fn digest(self) -> Digest {
        self.hash.into_inner().finish()
    }

    /// The hash so far, to go on with.
    pub(super) fn stream(self) -> DigestStream {
        self.hash.into_inner()
    }
}

impl<'a, R: Read> Hashing<'a, R> {
    pub(super) fn new(from: R, seen: &'a Seen) -> Self {
        Self { from, seen }
    }
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(to)?;
        self.seen.hash.borrow_mut().update(&to[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        decoded(bytes)?.read_to_end(&mut all).map(|_| all)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        to.write_all(bytes).unwrap();
        to.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn whatever_it_is_compressed_with_the_same_comes_out() {
        let text = b"layers of layers of layers".repeat(10_000);
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        for packed in [
            text.clone(),
            gzip(&text),
            [gzip(&text[..1000]), gzip(&text[1000..])].concat(),
            zstd(&text),
            [skipped.clone(), zstd(&text[..70_000]), skipped.clone(), zstd(&text[70_000..]), skipped]
                .concat(),
        ] {
            assert!(read(&packed).unwrap() == text);
        }
        assert_eq!(read(b"").unwrap(), b"");
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        let text = b"layers of layers of layers".repeat(10_000);
        for packed in [gzip(&text), zstd(&text)] {
            assert!(read(&packed[..packed.len() - 9]).is_err());
        }
    }
}
