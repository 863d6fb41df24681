//! A pack and its index (version 2): where in the pack an object is.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use sha1::{Digest as _, Sha1};

use super::{super::listing::ObjectId, receive::Came};

/// What every index of version 2 begins with.
const MAGIC: [u8; 8] = [0xff, b't', b'O', b'c', 0, 0, 0, 2];
/// After it: how many objects have an id that begins with at most 0, 1, ... 255.
const FAN: usize = 256 * 4;
/// Marks an offset that is in the second table, because it is two gigabytes or more.
const FAR: u32 = 0x8000_0000;
/// At the end: the hash of the pack and that of the index.
const HASHES: usize = 40;

/// One pack.
#[derive(Debug)]
pub(super) struct Pack {
    file: File,
    length: u64,
    index: Vec<u8>,
    objects: usize,
}

impl Pack {
    /// Opens the pack that belongs to an index. `None` where the index is of another version, or not whole.
    pub(super) fn open(index: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(index.with_extension("pack")) {
            // It is being removed just now; its objects are elsewhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let length = file.metadata()?.len();
        let index = match fs::read(index) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let objects = index.strip_prefix(&MAGIC).and_then(|rest| number(rest, FAN - 4));
        let Some(objects) = objects.and_then(|objects| usize::try_from(objects).ok()) else {
            return Ok(None);
        };
        let least = MAGIC.len() + FAN + HASHES + objects.saturating_mul(20 + 4 + 4);
        Ok((index.len() >= least).then_some(Self { file, length, index, objects }))
    }

    /// Whether pack and index belong to each other and neither is cut off: each ends with a hash, and the index names that of the
    /// pack. The bytes of the pack are not read.
    pub(super) fn is_whole(&self) -> bool {
        let Some((rest, own)) = self.index.split_last_chunk::<20>() else { return false };
        let (mut end, at) = (Vec::new(), self.length.checked_sub(20));
        let says = at.and_then(|at| self.read(at, 20, &mut end)).is_some();
        says && rest.ends_with(&end) && <[u8; 20]>::from(Sha1::digest(rest)) == *own
    }

    /// Everything that the index knows. `None` where it contradicts itself.
    pub(super) fn entries(&self) -> Option<Vec<Indexed>> {
        let ids = self.index.get(MAGIC.len() + FAN..)?;
        let entry = |position: usize| {
            let id = ids.get(position * 20..)?.first_chunk::<20>()?;
            let crc = number(ids.get(self.objects * 20..)?, position * 4)?;
            let offset = self.offset(ids, position).filter(|offset| *offset >= 12)?;
            Some(Indexed { id: ObjectId(*id), offset, crc })
        };
        (0..self.objects).map(entry).collect()
    }

    pub(super) const fn objects(&self) -> usize {
        self.objects
    }

    /// Where the object begins.
    pub(super) fn offset_of(&self, id: ObjectId) -> Option<u64> {
        let tables = self.index.get(MAGIC.len()..)?;
        let first = usize::from(id.0[0]);
        let bound =
            |at: usize| usize::try_from(number(tables, at * 4)?).ok().filter(|bound| *bound <= self.objects);
        let (mut low, mut high) = (if first == 0 { 0 } else { bound(first - 1)? }, bound(first)?);
        let ids = tables.get(FAN..)?;
        while low < high {
            let middle = low + (high - low) / 2;
            match ids.get(middle * 20..middle * 20 + 20)?.cmp(&id.0) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.offset(ids, middle),
            }
        }
        None
    }

    fn offset(&self, ids: &[u8], position: usize) -> Option<u64> {
        let offsets = ids.get(self.objects * 24..)?;
        let short = number(offsets, position * 4)?;
        if short & FAR == 0 {
            return Some(u64::from(short));
        }
        // Packs of more than two gigabytes have a second table.
        let at = self.objects * 4 + usize::try_from(short & !FAR).ok()? * 8;
        offsets.get(at..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// Reads at most `length` bytes from `offset` on, in place of what `to` holds.
    pub(super) fn read(&self, offset: u64, length: usize, to: &mut Vec<u8>) -> Option<()> {
        let left = self.length.checked_sub(offset)?;
        let length = usize::try_from(left).map_or(length, |left| left.min(length));
        to.resize(length, 0);
        self.file.read_exact_at(to, offset).ok()
    }
}

/// What an index says of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Indexed {
    pub(super) id: ObjectId,
    /// Where it begins in the pack.
    pub(super) offset: u64,
    /// The checksum of its bytes there.
    pub(super) crc: u32,
}

/// The index of a pack that came, as it is on the disk. Every entry has its id; `checksum` is that of the pack.
pub(super) fn bytes(came: &[Came], ids: &[(usize, ObjectId)], checksum: &[u8; 20]) -> Vec<u8> {
    let entry = |(position, id): &(usize, ObjectId)| {
        let came = came.get(*position)?;
        Some(Indexed { id: *id, offset: came.offset, crc: came.crc })
    };
    let mut all: Vec<Indexed> = ids.iter().filter_map(entry).collect();
    all.sort_unstable_by_key(|one| (one.id, one.offset));
    // Where a pack holds an object twice, one is enough.
    all.dedup_by_key(|one| one.id);
    written(all, checksum)
}

/// The index of a pack with these objects, as it is on the disk.
pub(super) fn written(mut all: Vec<Indexed>, checksum: &[u8; 20]) -> Vec<u8> {
    all.sort_unstable_by_key(|one| (one.id, one.offset));
    let mut to = MAGIC.to_vec();
    for first in 0..=255_u8 {
        let up_to = all.partition_point(|one| one.id.0[0] <= first);
        to.extend(u32::try_from(up_to).unwrap_or(u32::MAX).to_be_bytes());
    }
    all.iter().for_each(|one| to.extend(one.id.0));
    all.iter().for_each(|one| to.extend(one.crc.to_be_bytes()));
    let mut long = Vec::new();
    for one in &all {
        let short = u32::try_from(one.offset).ok().filter(|short| *short < FAR);
        to.extend(
            short.unwrap_or_else(|| FAR | u32::try_from(long.len() / 8).unwrap_or_default()).to_be_bytes(),
        );
        if short.is_none() {
            long.extend(one.offset.to_be_bytes());
        }
    }
    to.extend(long);
    to.extend(checksum);
    let own: [u8; 20] = Sha1::digest(&to).into();
    to.extend(own);
    to
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}
