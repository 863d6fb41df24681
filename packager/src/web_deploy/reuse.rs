//! Entries of an earlier package, copied as the compressed bytes that they are.
//!
//! A file's bytes are compressed the same way each time, so an entry of the same content in a package of the same
//! [`PROFILE`](super::PROFILE) holds the bytes that compressing it again would give. What is copied is not verified here:
//! the package must be one that was written here, and is held against its digest before anything that came of it counts.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
};

use staith_model::{Digest, Entry};

use super::{
    container::{self, Method, Placed},
    deflate::{self, Packed},
    layout, metadata, sealed,
};

/// Longest central directory that is read: 65,534 entries with names of 4 kB each would take more, and are packed anew.
const LONGEST_DIRECTORY: u64 = 64 << 20;

/// An earlier package, and where in it each content lies.
#[derive(Debug)]
pub struct Earlier {
    file: File,
    packed: HashMap<Digest, Placed>,
}

impl Earlier {
    /// What `file` holds, which must be a whole package of this [`PROFILE`](super::PROFILE), written by [`write`](super::write)
    /// and verified by its digest, at the latest before what is copied from it counts. `None` if it can't be used, whatever the reason: then everything is compressed anew.
    pub fn of_file(file: File) -> Option<Self> {
        let placed = central_directory(&file).ok()??;
        let by_name: HashMap<&str, &Placed> =
            placed.iter().map(|(name, placed)| (name.as_str(), placed)).collect();
        let manifest = manifest(&file, by_name.get(metadata::MANIFEST_JSON)?)?;
        let packed = manifest.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::File { size, digest, .. } => {
                let placed = by_name.get(layout::name_of(path).as_str())?;
                (u64::from(placed.size) == *size).then_some((*digest, **placed))
            }
            Entry::Directory | Entry::Symlink { .. } => None,
        });
        let packed = packed.collect();
        Some(Self { file, packed })
    }

    /// Where the content of `digest`, `size` bytes long, lies compressed.
    pub(super) fn find(&self, digest: &Digest, size: u64) -> Option<Placed> {
        self.packed.get(digest).copied().filter(|placed| u64::from(placed.size) == size)
    }

    /// A whole entry, compressed. `None` if there is none, or it can't be read: then it is compressed anew.
    pub(super) fn copy(&self, digest: &Digest, size: u64) -> Option<Packed> {
        let placed = self.find(digest, size)?;
        let mut data = vec![0; placed.packed as usize];
        self.read(&placed, 0, &mut data).ok()?;
        Some(Packed { method: placed.method, crc: placed.crc, size: placed.size, data })
    }

    /// Compressed bytes of an entry, from `offset` within it.
    pub(super) fn read(&self, placed: &Placed, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, placed.data() + offset)
    }
}

/// Names and places of all entries. `None` if these are not the headers that Staith writes.
fn central_directory(file: &File) -> io::Result<Option<Vec<(String, Placed)>>> {
    let length = file.metadata()?.size();
    let Some(end) = length.checked_sub(container::END) else { return Ok(None) };
    let mut bytes = vec![0; container::END as usize];
    file.read_exact_at(&mut bytes, end)?;
    let Some((entries, size, offset)) = container::read_end(&bytes) else { return Ok(None) };
    if u64::from(offset) + u64::from(size) != end || u64::from(size) > LONGEST_DIRECTORY {
        return Ok(None);
    }
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(&mut bytes, offset.into())?;
    let (mut rest, mut placed) = (bytes.as_slice(), Vec::with_capacity(entries.into()));
    while let Some((name, entry, after)) = container::read_central(rest) {
        placed.push((name, entry));
        rest = after;
    }
    Ok((rest.is_empty() && placed.len() == usize::from(entries)).then_some(placed))
}

fn manifest(file: &File, placed: &Placed) -> Option<staith_model::Manifest> {
    let mut packed = vec![0; placed.packed as usize];
    file.read_exact_at(&mut packed, placed.data()).ok()?;
    let bytes = match placed.method {
        Method::Stored => packed,
        Method::Deflate => deflate::inflate(&packed, placed.size as usize)?,
    };
    sealed::decode_own(&bytes)
}
