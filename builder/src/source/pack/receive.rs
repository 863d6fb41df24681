//! A pack that comes from another machine: written to disk as it comes, while it is taken apart and what is whole in it is
//! hashed on another core. Then changes are resolved on all cores, and the index is written.
//!
//! Git's library does all of that on one core. What it takes and this does not (changes to objects that are not in the
//! pack, an object beyond all measure) is an error here, and the library is asked instead.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::Path,
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use flate2::{Decompress, FlushDecompress, Status};
use sha1::{Digest as _, Sha1};

use super::{
    entry::{Base, Entry, Kind},
    index,
    unfold::Unfolding,
};
use crate::source::listing::ObjectId;

/// Larger objects are hashed where they are taken apart, so that few of them wait in memory at a time.
const HANDED_OVER: usize = 1 << 20;
const BUFFER: usize = 256 * 1024;

/// An entry of a pack that came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Came {
    pub(super) offset: u64,
    pub(super) entry: Entry,
    /// The checksum of its bytes, for the index.
    pub(super) crc: u32,
}

/// Positions of entries, and the ids of what they hold.
type Ids = Vec<(usize, ObjectId)>;

/// Something with a kind, to be hashed: its position, and its content.
type Whole = (usize, Kind, Vec<u8>);

/// Receives a pack into a directory of packs, with its index, both on the disk. `progress` hears of objects that have come,
/// how many will come, and bytes. Killed at any time, it leaves files whose names end in `.part`.
pub(in crate::source) fn receive(
    stream: &mut dyn Read,
    packs: &Path,
    progress: &mut dyn FnMut(usize, usize, u64),
) -> io::Result<()> {
    let part = packs.join("received.part");
    let mut file = File::options().read(true).write(true).create_new(true).open(&part)?;
    let mut incoming = Incoming::new(stream, &mut file);
    let (came, mut ids) = thread::scope(|scope| {
        let (give, take) = sync_channel::<Whole>(64);
        let hashing = scope.spawn(move || hashed(&take));
        let came = incoming.entries(progress, |whole| give.send(whole).is_ok());
        drop(give);
        let mut ids = hashing.join().map_err(|_| broken("hashing ended early"))??;
        let (came, large) = came?;
        ids.extend(large);
        Ok::<_, io::Error>((came, ids))
    })?;
    let (end, checksum) = incoming.finish()?;
    ids.extend(Unfolding::new(&file, end, &came, &ids).all().ok_or_else(|| broken("a change has no base"))?);
    ids.sort_unstable();
    ids.dedup();
    if ids.len() != came.len() {
        return Err(broken("an object is a change to one that did not come"));
    }
    let written = index::bytes(&came, &ids, &checksum);
    let name = checksum.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let index = packs.join("index.part");
    let mut index_file = File::create_new(&index)?;
    index_file.write_all(&written)?;
    index_file.sync_all()?;
    file.sync_all()?;
    // Who sees an index expects its pack.
    std::fs::rename(&part, packs.join(format!("pack-{name}.pack")))?;
    std::fs::rename(&index, packs.join(format!("pack-{name}.idx")))
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn hashed(take: &Receiver<Whole>) -> io::Result<Ids> {
    take.iter().map(|(position, kind, content)| Ok((position, kind.id_of(&content)?))).collect()
}

/// A pack while it comes.
struct Incoming<'a> {
    stream: &'a mut dyn Read,
    file: BufWriter<&'a mut File>,
    buffer: Vec<u8>,
    start: usize,
    offset: u64,
    checksum: Sha1,
    crc: crc32fast::Hasher,
    inflate: Decompress,
}

impl<'a> Incoming<'a> {
    fn new(stream: &'a mut dyn Read, file: &'a mut File) -> Self {
        let (file, buffer) = (BufWriter::with_capacity(BUFFER, file), Vec::with_capacity(BUFFER));
        let (checksum, crc, inflate) = (Sha1::new(), crc32fast::Hasher::new(), Decompress::new(true));
        Self { stream, file, buffer, start: 0, offset: 0, checksum, crc, inflate }
    }

    /// Takes the pack apart up to its checksum. `give` takes objects that are whole, and may refuse; ids of large ones are
    /// in what is returned.
    fn entries(
        &mut self,
        progress: &mut dyn FnMut(usize, usize, u64),
        give: impl Fn(Whole) -> bool,
    ) -> io::Result<(Vec<Came>, Ids)> {
        let head = self.ahead(12)?;
        let count = match head.first_chunk::<12>() {
            Some([b'P', b'A', b'C', b'K', 0, 0, 0, 2, count @ ..]) => u32::from_be_bytes(*count) as usize,
            _ => return Err(broken("it is not a pack of version 2")),
        };
        self.take(12)?;
        let (mut came, mut large, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
        while came.len() < count {
            self.crc.reset();
            let offset = self.offset;
            let entry = Entry::parse(self.ahead(64)?).ok_or_else(|| broken("an object is not understood"))?;
            self.take(entry.head)?;
            self.inflate(&entry, &mut scratch)?;
            came.push(Came { offset, entry, crc: self.crc.clone().finalize() });
            if let Base::None(kind) = entry.base {
                if entry.size > HANDED_OVER {
                    large.push((came.len() - 1, kind.id_of(&scratch)?));
                } else if !give((came.len() - 1, kind, std::mem::take(&mut scratch))) {
                    return Err(broken("an object can't be hashed"));
                }
            }
            if came.len() % 256 == 0 || came.len() == count {
                progress(came.len(), count, self.offset);
            }
        }
        Ok((came, large))
    }

    /// Inflates what comes next into `content`, in place of what it holds.
    fn inflate(&mut self, entry: &Entry, content: &mut Vec<u8>) -> io::Result<()> {
        self.inflate.reset(true);
        content.clear();
        loop {
            if content.len() == content.capacity() {
                // Grows with what comes, not with what is claimed.
                content.reserve(
                    (entry.size + 1).saturating_sub(content.len()).clamp(1, content.len().max(64 * 1024)),
                );
            }
            self.ahead(1)?;
            let before = self.inflate.total_in();
            let status =
                self.inflate.decompress_vec(&self.buffer[self.start..], content, FlushDecompress::None);
            let status = status.map_err(io::Error::other)?;
            let taken = self.inflate.total_in() - before;
            self.take(usize::try_from(taken).map_err(io::Error::other)?)?;
            if content.len() > entry.size {
                break;
            }
            if status == Status::StreamEnd {
                break;
            }
        }
        if content.len() == entry.size {
            Ok(())
        } else {
            Err(broken("an object has not the length that it says"))
        }
    }

    /// What comes next: so many bytes, or more, or fewer at the end, but at least one.
    fn ahead(&mut self, wanted: usize) -> io::Result<&[u8]> {
        while self.buffer.len() - self.start < wanted {
            self.buffer.drain(..self.start);
            self.start = 0;
            let filled = self.buffer.len();
            self.buffer.resize(BUFFER.max(filled + wanted), 0);
            let read = self.stream.read(&mut self.buffer[filled..])?;
            self.buffer.truncate(filled + read);
            if read == 0 {
                break;
            }
        }
        let ahead = &self.buffer[self.start..];
        if ahead.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(ahead) }
    }

    fn take(&mut self, bytes: usize) -> io::Result<()> {
        let taken = self.buffer.get(self.start..self.start + bytes).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.file.write_all(taken)?;
        self.checksum.update(taken);
        self.crc.update(taken);
        self.start += bytes;
        self.offset += bytes as u64;
        Ok(())
    }

    /// Compares the checksum; gives it, and where the last entry ends.
    fn finish(mut self) -> io::Result<(u64, [u8; 20])> {
        let said = self.ahead(20)?.first_chunk::<20>().copied().ok_or(io::ErrorKind::UnexpectedEof)?;
        let end = self.offset;
        let computed: [u8; 20] = self.checksum.finalize_reset().into();
        if computed != said {
            return Err(broken("its checksum is wrong"));
        }
        self.take(20)?;
        self.file.flush()?;
        Ok((end, said))
    }
}
