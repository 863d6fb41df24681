//! An entry's bytes, inflated under its limits and held against its checksum and digest.

use std::io::{self, BufReader, Read, Write};

use staith_model::{Digest, DigestStream};
use zip::ZipReadOptions;

use super::{
    PackageReader, ReadError,
    flaw::Flaw,
    structure::{At, Listed, Place},
};

/// An entry's own header without its name, and with room for the fields that writers put behind that.
const HEADER: u64 = 30 + 64;

/// A buffer's length for so many bytes; never 0, which would read as the end.
fn at_most(most: usize, bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(most).clamp(1, most)
}

impl PackageReader {
    /// Inflates an entry to `to`. Hands on no more bytes than the entry says it has.
    pub(super) fn inflate(
        &self,
        nth: usize,
        to: &mut impl Write,
        expected: Option<Digest>,
    ) -> Result<(), ReadError> {
        let Listed { size: said, packed, ref name, .. } = self.listed[nth];
        let Place { entry: place, .. } = &self.places[nth];
        // No more than the entry and its header: most entries are small, and what is read beyond one is copied for nothing.
        let whole = packed.saturating_add(HEADER + name.len() as u64);
        let mut file = BufReader::with_capacity(at_most(1 << 16, whole), At::new(&self.file));
        let mut entry = place
            .as_ref()
            .with_reader(&mut file, ZipReadOptions::new())
            .map_err(|why| self.refuse(nth, Flaw::Damaged(why.to_string())))?;
        let refuse = |flaw| self.refuse(nth, flaw);
        let failed = |source| ReadError::Output { to: name.clone().into(), source };
        let found = hand_on(&mut entry, said, to, refuse, failed)?;
        match expected {
            Some(expected) if expected != found => Err(refuse(Flaw::Digest { expected, found })),
            _ => Ok(()),
        }
    }

    /// An entry that is to be held in memory.
    pub(super) fn inflate_text(&self, nth: usize, longest: u64) -> Result<Vec<u8>, ReadError> {
        let size = self.listed[nth].size;
        if size > longest {
            return Err(self.refuse(nth, Flaw::TooLong(size)));
        }
        let mut text = Vec::new();
        self.inflate(nth, &mut text, None)?;
        Ok(text)
    }
}

/// Hands on the `said` bytes of an entry, and no more of them; gives their digest.
pub(super) fn hand_on(
    entry: &mut impl Read,
    said: u64,
    to: &mut impl Write,
    refuse: impl Fn(Flaw) -> ReadError,
    failed: impl Fn(io::Error) -> ReadError,
) -> Result<Digest, ReadError> {
    let mut buffer = vec![0; at_most(1 << 15, said)];
    let (mut hash, mut found) = (DigestStream::new(), 0);
    loop {
        let read = match entry.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The checksum fails at the end; too few bytes are the better news then.
            Err(error) => return Err(refuse(Flaw::Damaged(error.to_string()))),
        };
        found += read as u64;
        if found > said {
            return Err(refuse(Flaw::Size { said, found }));
        }
        hash.update(&buffer[..read]);
        to.write_all(&buffer[..read]).map_err(&failed)?;
    }
    if found != said {
        return Err(refuse(Flaw::Size { said, found }));
    }
    Ok(hash.finish())
}
