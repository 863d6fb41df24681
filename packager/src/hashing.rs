//! The digest and the number of bytes that are read, or that pass by while something else takes them.

use std::io::{self, BufReader, Read, Write};

use staith_model::{Digest, DigestStream};

/// Bytes that are read at a time: so many that the system is not asked often, so few that they stay in the processor's cache.
const AT_A_TIME: usize = 1 << 17;

/// Takes bytes, hands them on, and keeps their digest and their number.
///
/// What `to` did not take is not counted; flushing is `to`'s.
#[derive(Clone, Default)]
pub struct Hashing<W> {
    to: W,
    hash: DigestStream,
    bytes: u64,
}

impl Hashing<io::Sink> {
    /// Keeps digest and number, and nothing else.
    pub fn only() -> Self {
        Self::into(io::sink())
    }
}

impl<W> Hashing<W> {
    /// Hands the bytes on to `to`.
    pub fn into(to: W) -> Self {
        Self { to, hash: DigestStream::new(), bytes: 0 }
    }

    /// The digest and the number of the bytes so far.
    pub fn told(&self) -> (Digest, u64) {
        (self.hash.clone().finish(), self.bytes)
    }

    /// The number of the bytes so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The hash as it stands, for whoever goes on with it, and the number of the bytes so far.
    pub fn stream(self) -> (DigestStream, u64) {
        (self.hash, self.bytes)
    }

    /// Where the bytes went.
    pub fn inner(&self) -> &W {
        &self.to
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.to.write(bytes)?;
        self.hash.update(&bytes[..taken]);
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Reads from where `from` stands to its end; the digest and the number of these bytes.
///
/// # Errors
/// `from` can't be read.
pub fn digest_of(from: impl Read) -> io::Result<(Digest, u64)> {
    copy(from, io::sink())
}

/// Copies from where `from` stands to its end; the digest and the number of these bytes.
///
/// # Errors
/// `from` can't be read, or `to` can't be written; part of the bytes may be in `to`.
pub fn copy(from: impl Read, to: impl Write) -> io::Result<(Digest, u64)> {
    let mut hashing = Hashing::into(to);
    io::copy(&mut BufReader::with_capacity(AT_A_TIME, from), &mut hashing)?;
    Ok(hashing.told())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes few bytes at a time, and gives few.
    struct Slow(Vec<u8>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(3);
            self.0.extend(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_copied_is_what_is_hashed() {
        let bytes: Vec<u8> = (0..AT_A_TIME + 5).map(|nth| (nth % 251) as u8).collect();
        let mut slow = Slow(Vec::new());
        let told = (Digest::of(&bytes), bytes.len() as u64);
        assert_eq!(copy(&bytes[..], &mut slow).unwrap(), told);
        assert_eq!(slow.0, bytes);
        assert_eq!(digest_of(&bytes[..]).unwrap(), told);
        assert_eq!(digest_of(io::empty()).unwrap(), (Digest::of(b""), 0));
    }

    #[test]
    fn what_was_not_taken_is_not_counted() {
        let mut room = [0; 4];
        let mut hashing = Hashing::into(&mut room[..]);
        assert!(hashing.write_all(b"abcdef").is_err());
        assert_eq!(hashing.told(), (Digest::of(b"abcd"), 4));
    }
}
