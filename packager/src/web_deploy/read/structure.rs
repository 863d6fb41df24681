//! The entries, checked against each other, without inflating anything.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::Path,
};

use staith_model::RelPath;
use zip::{CompressionMethod, ZipArchive, read::OwnedZipFileEntry};

use super::flaw::{Flaw, ReadError};
use crate::web_deploy::{DosTime, limits, portable};

/// An entry, as the central directory has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name; directories end in `/`.
    pub name: String,
    /// Whether its bytes are compressed.
    pub compressed: bool,
    /// Length in the package, in bytes.
    pub packed: u64,
    /// Length of the content, in bytes.
    pub size: u64,
    /// CRC-32 of the content.
    pub crc: u32,
    /// External attributes: those of Windows in the low bits, a Unix mode in the high ones.
    pub attributes: u32,
    /// When it was last changed, as its writer had it.
    pub time: DosTime,
}

impl Listed {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.name.ends_with('/')
    }

    /// The name without case, such that what lies below a directory follows it at once.
    pub(super) fn sort_key(&self) -> String {
        sort_key(&self.name)
    }
}

/// See [`Listed::sort_key`].
pub(super) fn sort_key(name: &str) -> String {
    let name = name.trim_end_matches('/');
    if name.is_ascii() {
        let folded = |c: char| if c == '/' { '\0' } else { c.to_ascii_uppercase() };
        return name.chars().map(folded).collect();
    }
    portable::fold(name).replace('/', "\0")
}

/// What is needed to read the entry's bytes.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) entry: OwnedZipFileEntry,
    /// Where they begin in the file.
    pub(super) data: u64,
}

/// Reads a file at a position of its own.
pub(super) struct At<'f> {
    file: &'f File,
    at: u64,
}

impl<'f> At<'f> {
    pub(super) const fn new(file: &'f File) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for At<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let moved = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = moved.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

/// The entries, and where they are.
pub(super) struct Structure {
    /// In the order of the central directory.
    pub(super) listed: Vec<Listed>,
    /// Of each entry.
    pub(super) places: Vec<Place>,
    /// The entries by [`Listed::sort_key`].
    pub(super) sorted: Vec<usize>,
}

/// Lists the entries, or says what is wrong with them.
pub(super) fn read(file: &File, path: &Path) -> Result<Structure, ReadError> {
    let unreadable = |source| ReadError::Open { path: path.to_owned(), source };
    let not_zip = |why: zip::result::ZipError| match why {
        zip::result::ZipError::Io(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
            unreadable(source)
        }
        why => ReadError::NotZip { path: path.to_owned(), why: why.to_string() },
    };
    let archive = ZipArchive::new(BufReader::new(At::new(file))).map_err(not_zip)?;
    let out_of_bounds = |why| ReadError::OutOfBounds { path: path.to_owned(), why };
    if archive.len() > limits::MAX_ENTRIES {
        return Err(out_of_bounds(format!("it has {} entries, and 65,534 are the most", archive.len())));
    }
    if archive.has_duplicate_names() {
        return Err(name_the_duplicate(file, path, archive.central_directory_start()).map_err(unreadable)?);
    }
    let directory = archive.central_directory_start();
    let (mut listed, mut places) = (Vec::with_capacity(archive.len()), Vec::with_capacity(archive.len()));
    for nth in 0..archive.len() {
        let place = OwnedZipFileEntry::from(archive.by_index_data(nth).map_err(not_zip)?);
        listed.push(check_entry(&place).map_err(|flaw| ReadError::Refused {
            path: path.to_owned(),
            entry: String::from_utf8_lossy(place.name_raw()).into_owned(),
            flaw,
        })?);
        places.push(Place { entry: place, data: 0 });
    }
    let total: u64 = listed.iter().map(|entry| entry.size).sum();
    if total > limits::MAX_PACKAGE_BYTES {
        return Err(out_of_bounds(format!("its content claims to be {total} bytes, and 4 GiB are the most")));
    }
    let refuse = |(nth, flaw): (usize, Flaw)| {
        let entry: &Listed = &listed[nth];
        ReadError::Refused { path: path.to_owned(), entry: entry.name.clone(), flaw }
    };
    let sorted = check_names(&listed).map_err(refuse)?;
    check_places(file, &mut places, &listed, directory).map_err(unreadable)?.map_err(refuse)?;
    Ok(Structure { listed, places, sorted })
}

/// The `zip` crate keeps one of several entries with one name; a walk along the central directory says which name it is.
fn name_the_duplicate(file: &File, path: &Path, mut at: u64) -> io::Result<ReadError> {
    let (mut seen, mut header) = (HashSet::new(), [0; 46]);
    loop {
        file.read_exact_at(&mut header, at)?;
        let [name, extra, comment] = [28, 30, 32].map(|at| u16::from_le_bytes([header[at], header[at + 1]]));
        let mut raw = vec![0; usize::from(name)];
        file.read_exact_at(&mut raw, at + 46)?;
        let entry = String::from_utf8_lossy(&raw).into_owned();
        if !seen.insert(raw) {
            let flaw = Flaw::Duplicate(entry.clone());
            return Ok(ReadError::Refused { path: path.to_owned(), entry, flaw });
        }
        at += 46 + u64::from(name) + u64::from(extra) + u64::from(comment);
    }
}

/// What can be said of an entry by itself.
fn check_entry(entry: &OwnedZipFileEntry) -> Result<Listed, Flaw> {
    // Web Deploy reads names as UTF-8 whatever the flag says, and so does this reader: one name, one meaning.
    let name = str::from_utf8(entry.name_raw()).map_err(|_| Flaw::NameEncoding)?;
    check_name(name)?;
    let (packed, size) = (entry.compressed_size(), entry.size());
    check_attributes(entry.external_attributes())?;
    if entry.encrypted() {
        return Err(Flaw::Encrypted);
    }
    let compressed = match entry.compression() {
        CompressionMethod::Stored => false,
        CompressionMethod::Deflated => true,
        other => return Err(Flaw::Method(other.to_string())),
    };
    if name.ends_with('/') && size > 0 {
        return Err(Flaw::DirectoryWithBytes(size));
    }
    if size > limits::MAX_FILE_BYTES {
        return Err(Flaw::TooLarge(size));
    }
    if limits::is_bomb(packed, size) {
        return Err(Flaw::Bomb { packed, size });
    }
    if !compressed && packed != size {
        return Err(Flaw::Size { said: size, found: packed });
    }
    let (name, attributes, crc) = (name.to_owned(), entry.external_attributes(), entry.crc32());
    // What is no time at all is not kept by the library.
    let time = entry.last_modified().map_or(DosTime { date: 0, time: 0 }, |time| DosTime {
        date: time.datepart(),
        time: time.timepart(),
    });
    Ok(Listed { name, compressed, packed, size, crc, attributes, time })
}

/// Also when the result would stay inside: a name that is not in its plainest form is there to be misread.
fn check_name(name: &str) -> Result<(), Flaw> {
    if name.len() > limits::MAX_NAME_BYTES {
        return Err(Flaw::NameTooLong(name.len()));
    }
    let plain = RelPath::try_from(name.strip_suffix('/').unwrap_or(name)).map_err(|_| Flaw::NameEscapes)?;
    plain.as_str().split('/').find_map(portable::flaw).map_or(Ok(()), |flaw| Err(Flaw::Name(flaw)))
}

/// Whatever system the entry says it is from: the next reader may look at the same bits.
fn check_attributes(attributes: u32) -> Result<(), Flaw> {
    let unix_kind = attributes >> 28;
    let regular_or_directory = matches!(unix_kind, 0 | 0o10 | 0o4);
    // Device and reparse point, as Windows has them.
    if !regular_or_directory || attributes & 0x440 != 0 { Err(Flaw::Special(attributes)) } else { Ok(()) }
}

/// No two entries may be one file anywhere, and nothing may lie below a file.
///
/// By sorting, so that names made to be expensive are not: where `/` sorts before all else, what lies below a name follows it.
///
/// Gives the entries in that order.
fn check_names(listed: &[Listed]) -> Result<Vec<usize>, (usize, Flaw)> {
    let mut sorted: Vec<_> = listed.iter().enumerate().map(|(nth, entry)| (entry.sort_key(), nth)).collect();
    sorted.sort_unstable();
    for pair in sorted.windows(2) {
        let [(earlier, first), (later, second)] = pair else { continue };
        if earlier == later {
            return Err((*second, Flaw::Duplicate(listed[*first].name.clone())));
        }
        let below = later.strip_prefix(earlier.as_str()).is_some_and(|rest| rest.starts_with('\0'));
        if below && !listed[*first].is_directory() {
            return Err((*first, Flaw::BelowFile(listed[*second].name.clone())));
        }
    }
    Ok(sorted.into_iter().map(|(_, nth)| nth).collect())
}

/// Holds each entry's own header against the central directory, sees that no two entries share bytes, and notes where these begin.
fn check_places(
    file: &File,
    places: &mut [Place],
    listed: &[Listed],
    directory: u64,
) -> io::Result<Result<(), (usize, Flaw)>> {
    let mut ranges = Vec::with_capacity(places.len());
    for (nth, (place, entry)) in places.iter_mut().zip(listed).enumerate() {
        match local_end(file, &place.entry, entry)? {
            Ok(data) => {
                place.data = data;
                ranges.push((place.entry.header_start(), data.saturating_add(entry.packed), nth));
            }
            Err(flaw) => return Ok(Err((nth, flaw))),
        }
    }
    ranges.sort_unstable();
    for (earlier, (begin, end, nth)) in std::iter::once(None).chain(ranges.iter().map(Some)).zip(&ranges) {
        if *end > directory {
            return Ok(Err((*nth, Flaw::Overlap("the central directory".to_owned()))));
        }
        if let Some((_, before, other)) = earlier
            && before > begin
        {
            return Ok(Err((*nth, Flaw::Overlap(format!("`{}`", listed[*other].name)))));
        }
    }
    Ok(Ok(()))
}

/// Where the entry's bytes begin, if its own header agrees with the central directory.
fn local_end(file: &File, place: &OwnedZipFileEntry, entry: &Listed) -> io::Result<Result<u64, Flaw>> {
    let mut header = vec![0; 30 + entry.name.len()];
    match file.read_exact_at(&mut header, place.header_start()) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Ok(Err(Flaw::HeadersDiffer("where it lies")));
        }
        read => read?,
    }
    let word = |at: usize| u64::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let long = |at: usize| word(at) | (word(at + 2) << 16);
    if long(0) != 0x0403_4b50 {
        return Ok(Err(Flaw::HeadersDiffer("where it lies")));
    }
    if word(26) != entry.name.len() as u64 || header[30..] != *entry.name.as_bytes() {
        return Ok(Err(Flaw::HeadersDiffer("its name")));
    }
    if word(8) != if entry.compressed { 8 } else { 0 } {
        return Ok(Err(Flaw::HeadersDiffer("its compression")));
    }
    // A streamed entry's numbers follow its bytes; 0xffffffff refers to a ZIP64 field.
    let streamed = word(6) & 8 != 0;
    for (at, said) in [(14, u64::from(entry.crc)), (18, entry.packed), (22, entry.size)] {
        let here = long(at);
        if here != said && !(streamed && here == 0) && here != 0xffff_ffff {
            return Ok(Err(Flaw::HeadersDiffer("its checksum or its lengths")));
        }
    }
    Ok(Ok(place.header_start() + 30 + word(26) + word(28)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_to_a_key_leads_to_the_same_key() {
        for name in ["", "a", "Content/App_Data/x.Config", "a/B/", "[Z]^_`{|}", "a-b/c.d/"] {
            let long = portable::fold(name.trim_end_matches('/')).replace('/', "\0");
            assert_eq!(sort_key(name), long, "{name}");
        }
        assert_eq!(sort_key("été/A/"), "ÉTÉ\0A");
    }
}
