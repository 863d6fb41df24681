//! Several packs become one. Each fetch adds a pack, and whoever looks for an object looks into each of them.
//!
//! The bytes of the packs are put behind each other as they are: what is written as a change to an object before it says how far
//! before, which stays true, and what names its base by id finds it, as every pack holds the bases of its changes. That takes as long
//! as copying and hashing does; git's library would look for all changes anew, which takes minutes where there is much.
//! An object that several packs hold is in the joined one as often; an index may say so.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use sha1::{Digest as _, Sha1};

use super::index::{self, Indexed, Pack};

/// As many packs are left alone.
const MOST: usize = 24;
/// Before the first entry of a pack: what it is, its version, how many there are.
const HEAD: u64 = 12;
/// At the end of a pack: the hash of all before.
const END: u64 = 20;

/// The packs of a directory that are worth joining, and their bytes together. None where there are few. What is larger than all
/// smaller ones together is left as it is, so that a small fetch does not copy a large repository.
pub(in crate::source) fn worth_joining(packs: &Path) -> io::Result<(Vec<PathBuf>, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(packs)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "idx") {
            found.push((fs::metadata(path.with_extension("pack"))?.len(), path));
        }
    }
    if found.len() <= MOST {
        return Ok((Vec::new(), 0));
    }
    found.sort();
    let all: u64 = found.iter().map(|(bytes, _)| bytes).sum();
    if let Some((largest, _)) = found.last()
        && largest * 2 > all
    {
        found.pop();
    }
    let bytes =
        found.iter().map(|(bytes, path)| bytes + fs::metadata(path).map_or(0, |found| found.len())).sum();
    Ok((found.into_iter().map(|(_, path)| path).collect(), bytes))
}

/// Joins packs, named by their indexes, and removes them when the joined one is on the disk. Whoever reads meanwhile goes on with
/// the files that it has open, or looks again. Killed at any time, it leaves files whose names end in `.part`, or packs whose
/// objects are in the joined one, too. Whoever calls is the only one who changes the directory.
///
/// # Errors
/// A pack is damaged, or the file system refuses; the packs are then as they were.
pub(in crate::source) fn join(packs: &Path, indexes: &[PathBuf]) -> io::Result<()> {
    let (part, index_part) = (packs.join("joined.part"), packs.join("joined-index.part"));
    let (mut all, mut opened) = (Vec::new(), Vec::new());
    for index in indexes {
        let pack = Pack::open(index)?.filter(Pack::is_whole).ok_or_else(|| broken(index))?;
        opened.push((index, pack.entries().ok_or_else(|| broken(index))?));
    }
    let count = opened.iter().map(|(_, entries)| entries.len()).sum::<usize>();
    let count = u32::try_from(count).map_err(|_| io::Error::other("together they hold too many objects"))?;
    let mut to = Hashed { to: BufWriter::new(File::create(&part)?), hash: Sha1::new() };
    to.write_all(b"PACK\0\0\0\x02")?;
    to.write_all(&count.to_be_bytes())?;
    let mut end = HEAD;
    for (index, entries) in opened {
        let moved = |one: Indexed| Indexed { offset: one.offset - HEAD + end, ..one };
        all.extend(entries.into_iter().map(moved));
        end += copy_entries(&index.with_extension("pack"), &mut to)?;
    }
    let checksum: [u8; 20] = to.hash.finalize().into();
    to.to.write_all(&checksum)?;
    to.to.into_inner()?.sync_all()?;
    let mut index_file = File::create(&index_part)?;
    index_file.write_all(&index::written(all, &checksum))?;
    index_file.sync_all()?;
    let name: String = checksum.iter().map(|byte| format!("{byte:02x}")).collect();
    // Who sees an index expects its pack, here and when the old ones go.
    fs::rename(&part, packs.join(format!("pack-{name}.pack")))?;
    fs::rename(&index_part, packs.join(format!("pack-{name}.idx")))?;
    File::open(packs)?.sync_all()?;
    for index in indexes {
        fs::remove_file(index)?;
        fs::remove_file(index.with_extension("pack"))?;
    }
    Ok(())
}

/// Copies what is between the head and the end of a pack, and says how many bytes those are. What was damaged since it came is
/// found out.
fn copy_entries(pack: &Path, to: &mut impl Write) -> io::Result<u64> {
    let file = File::open(pack)?;
    let bytes = file.metadata()?.len().checked_sub(HEAD + END).ok_or_else(|| broken(pack))?;
    let mut from = BufReader::with_capacity(1 << 18, file);
    let (mut own, mut head, mut said) = (Sha1::new(), [0; HEAD as usize], [0; END as usize]);
    from.read_exact(&mut head)?;
    own.update(head);
    let mut both = Hashed { to, hash: own };
    if io::copy(&mut (&mut from).take(bytes), &mut both)? != bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    from.read_exact(&mut said)?;
    if <[u8; 20]>::from(both.hash.finalize()) == said { Ok(bytes) } else { Err(broken(pack)) }
}

/// Whether a pack's bytes are those that came.
pub(super) fn is_intact(pack: &Path) -> bool {
    copy_entries(pack, &mut io::sink()).is_ok()
}

fn broken(at: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", at.display()))
}

/// Passes bytes on and hashes them.
struct Hashed<W> {
    to: W,
    hash: Sha1,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
