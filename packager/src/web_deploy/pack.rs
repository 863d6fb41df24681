//! Everything in order, with a window: while one group of files is compressed on all cores, the one before it is written.
//!
//! Only the order of writing matters for the bytes, and that is the layout's; how groups are cut, or how many threads there
//! are, does not show.

use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

use rayon::prelude::*;

use super::{
    container::{self, Method, Record},
    deflate::{self, Packed},
    layout::{Body, Slot},
    reuse::Earlier,
    source::Source,
    time::DosTime,
    write::{Content, Progress, WriteError, Written},
};
use crate::{hashing::Hashing, stopping::Watch};

/// Bytes of small files that are in work at a time. Two such groups are held: one being compressed, one being written.
const GROUP_BYTES: u64 = 16 << 20;
/// Entries of a group, so that a tree of empty files shows progress as well.
const GROUP_ENTRIES: usize = 1024;
/// Files above this length are compressed in pieces. Part of the profile: it shows in the bytes.
const LARGE_BYTES: u64 = 8 << 20;

/// What is done at a time.
enum Work<'a> {
    Group(&'a [Slot]),
    Large(&'a Slot, Source<'a>),
}

/// Writes all `slots`, the central directory and the end record.
pub(super) fn pack(
    content: &Content,
    earlier: Option<&Earlier>,
    slots: &[Slot],
    to: &mut (impl Read + Write + Seek + Send),
    progress: &Watch<'_>,
) -> Result<Written, WriteError> {
    let all = Progress {
        files: 0,
        of_files: content.manifest.files() as u64,
        bytes: 0,
        of_bytes: content.manifest.bytes(),
    };
    let mut out =
        Out { to, at: 0, hash: Hashing::only(), unsettled: None, records: Vec::new(), all, progress };
    let mut waiting = Vec::new();
    for work in cut(slots, content)? {
        match work {
            Work::Group(group) => {
                let ready = std::mem::take(&mut waiting);
                let (written, packed) =
                    rayon::join(|| out.append_all(ready), || pack_group(group, content, earlier));
                written?;
                waiting = packed?;
            }
            Work::Large(slot, source) => {
                out.append_all(std::mem::take(&mut waiting))?;
                match earlier.and_then(|earlier| Some((earlier, earlier.find(&source.digest, source.size)?)))
                {
                    Some((earlier, placed)) => out.copy_large(slot, earlier, &placed)?,
                    None => out.append_large(slot, source)?,
                }
            }
        }
    }
    out.append_all(waiting)?;
    out.finish().map_err(WriteError::Output)
}

/// Cuts the slots into pieces of work. Looks every source up, so that a missing one is told before anything is written.
fn cut<'a>(slots: &'a [Slot], content: &'a Content) -> Result<Vec<Work<'a>>, WriteError> {
    let (mut works, mut begin, mut bytes) = (Vec::new(), 0, 0);
    for (nth, slot) in slots.iter().enumerate() {
        let source = source_of(slot, content)?;
        let size = source.map_or(0, |source| source.size);
        let large = source.filter(|source| source.size > LARGE_BYTES);
        if large.is_some() || bytes + size > GROUP_BYTES || nth - begin == GROUP_ENTRIES {
            works.push(Work::Group(&slots[begin..nth]));
            (begin, bytes) = (nth, 0);
        }
        match large {
            Some(source) => {
                works.push(Work::Large(slot, source));
                begin = nth + 1;
            }
            None => bytes += size,
        }
    }
    works.push(Work::Group(&slots[begin..]));
    Ok(works)
}

fn source_of<'a>(slot: &'a Slot, content: &'a Content) -> Result<Option<Source<'a>>, WriteError> {
    let Body::File { path, size, digest } = &slot.body else { return Ok(None) };
    let host = content.files.get(path).ok_or_else(|| WriteError::NoSource(path.clone()))?;
    Ok(Some(Source { path, host, size: *size, digest: *digest }))
}

/// Reads and compresses a group on all cores. Of several errors, the first in the package's order is told.
fn pack_group<'a>(
    group: &'a [Slot],
    content: &Content,
    earlier: Option<&Earlier>,
) -> Result<Vec<(&'a Slot, Packed)>, WriteError> {
    let packed: Vec<_> = group.par_iter().map(|slot| pack_small(slot, content, earlier)).collect();
    group.iter().zip(packed).map(|(slot, packed)| Ok((slot, packed?))).collect()
}

fn pack_small(slot: &Slot, content: &Content, earlier: Option<&Earlier>) -> Result<Packed, WriteError> {
    if let (Body::File { size, digest, .. }, Some(earlier)) = (&slot.body, earlier)
        && let Some(packed) = earlier.copy(digest, *size)
    {
        return Ok(packed);
    }
    let raw = match (&slot.body, source_of(slot, content)?) {
        (Body::Text(text), _) => text.clone(),
        (_, Some(source)) => source.read_all()?,
        (_, None) => Vec::new(),
    };
    Ok(deflate::pack(raw))
}

/// The package as it grows.
pub(super) struct Out<'w, W> {
    pub(super) to: &'w mut W,
    pub(super) at: u64,
    /// The digest of what has settled; it may lag behind what is written.
    hash: Hashing<io::Sink>,
    /// Where a header lies that does not tell yet what follows it. It is written again, and nothing from there on is hashed before.
    pub(super) unsettled: Option<u64>,
    pub(super) records: Vec<Record>,
    pub(super) all: Progress,
    pub(super) progress: &'w Watch<'w>,
}

impl<W: Read + Write + Seek + Send> Out<'_, W> {
    /// Writes packed entries; header and bytes of many at a time.
    fn append_all(&mut self, packed: Vec<(&Slot, Packed)>) -> Result<(), WriteError> {
        let mut bytes = Vec::new();
        for (slot, packed) in packed {
            let mut record = self.record(slot, self.at + bytes.len() as u64);
            (record.method, record.crc, record.size) = (packed.method, packed.crc, packed.size);
            record.packed = packed.data.len() as u32;
            bytes.extend(record.local());
            bytes.extend(packed.data);
            self.count(slot);
            self.records.push(record);
            // Small entries are gathered, so that ten thousand of them are not ten thousand writes.
            if bytes.len() >= 1 << 20 {
                self.put_all(&[std::mem::take(&mut bytes)])?;
            }
        }
        self.put_all(&[bytes])?;
        self.tell()
    }

    /// Tells how far it is, and hears whether to go on.
    pub(super) fn tell(&self) -> Result<(), WriteError> {
        if (self.progress)(self.all).is_break() { Err(WriteError::Stopped) } else { Ok(()) }
    }

    pub(super) fn count(&mut self, slot: &Slot) {
        if let Body::File { size, .. } = &slot.body {
            self.all.files += 1;
            self.all.bytes += size;
        }
    }

    /// A record with all that is known before packing. The layout has seen to it that offsets fit into 32 bits.
    pub(super) fn record(&self, slot: &Slot, offset: u64) -> Record {
        let (attributes, time) = match &slot.body {
            Body::Directory => (container::DIRECTORY, DosTime::CONSTANT),
            Body::Text(_) => (container::ARCHIVE, DosTime::CONSTANT),
            Body::File { digest, .. } => (container::ARCHIVE, DosTime::of_content(digest)),
        };
        Record {
            name: slot.name.clone(),
            method: Method::Stored,
            time,
            crc: 0,
            packed: 0,
            size: 0,
            attributes,
            offset: offset as u32,
        }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.to.write_all(bytes).map_err(WriteError::Output)?;
        if self.hash.bytes() == self.at && self.unsettled.is_none() {
            self.hash.write_all(bytes).map_err(WriteError::Output)?;
        }
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Writes what is ready, and hashes some of what has settled before: twice as much as is written, to catch up while other
    /// cores compress.
    pub(super) fn put_all(&mut self, ready: &[Vec<u8>]) -> Result<(), WriteError> {
        let begin = self.at;
        ready.iter().try_for_each(|bytes| self.put(bytes))?;
        self.hash_settled(2 * (self.at - begin)).map_err(WriteError::Output)
    }

    /// Reads and hashes up to `most` bytes that are written and will not change.
    fn hash_settled(&mut self, most: u64) -> io::Result<()> {
        let settled = self.unsettled.unwrap_or(self.at);
        let ahead = (settled - self.hash.bytes()).min(most);
        if ahead == 0 {
            return Ok(());
        }
        self.to.seek(SeekFrom::Start(self.hash.bytes()))?;
        let read = Read::take(&mut *self.to, ahead);
        if io::copy(&mut BufReader::with_capacity(1 << 17, read), &mut self.hash)? < ahead {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "what was written is not there"));
        }
        self.to.seek(SeekFrom::Start(self.at)).map(drop)
    }

    /// Central directory, end record, and the digest of it all.
    fn finish(mut self) -> io::Result<Written> {
        let directory = self.at;
        let mut bytes: Vec<u8> = self.records.iter().flat_map(Record::central).collect();
        bytes.extend(container::end(self.records.len() as u16, bytes.len() as u32, directory as u32));
        self.to.write_all(&bytes)?;
        self.at += bytes.len() as u64;
        self.to.flush()?;
        self.hash_settled(self.at)?;
        Ok(Written { digest: self.hash.told().0, size: self.at })
    }
}
