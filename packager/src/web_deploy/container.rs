//! The zip format's headers, as far as packages use them.
//!
//! Written here rather than by the `zip` crate because the profile fixes every field, and the bytes of a package are a
//! promise: a new version of a library must not change them.

use super::time::DosTime;

/// How an entry's bytes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Stored = 0,
    Deflate = 8,
}

/// Attributes as Windows has them.
pub(super) const DIRECTORY: u32 = 0x10;
pub(super) const ARCHIVE: u32 = 0x20;

/// 2.0 on FAT: what Web Deploy writes for both "made by" and "needed".
const VERSION: u16 = 20;
/// The name is UTF-8. Web Deploy reads UTF-8 either way; others need to be told.
const UTF8: u16 = 1 << 11;

/// An entry that has been placed in the package.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) method: Method,
    pub(super) time: DosTime,
    pub(super) crc: u32,
    pub(super) packed: u32,
    pub(super) size: u32,
    pub(super) attributes: u32,
    pub(super) offset: u32,
}

/// Length of a local header before the name.
pub(super) const LOCAL: u64 = 30;
/// Length of a central header before the name.
pub(super) const CENTRAL: u64 = 46;
/// Length of the end record.
pub(super) const END: u64 = 22;

impl Record {
    /// The header before the entry's bytes.
    pub(super) fn local(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LOCAL as usize + self.name.len());
        bytes.extend(0x0403_4b50_u32.to_le_bytes());
        self.shared(&mut bytes);
        bytes.extend(self.name.as_bytes());
        bytes
    }

    /// The header in the central directory.
    pub(super) fn central(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CENTRAL as usize + self.name.len());
        bytes.extend(0x0201_4b50_u32.to_le_bytes());
        bytes.extend(VERSION.to_le_bytes());
        self.shared(&mut bytes);
        // No comment, disk 0, no internal attributes.
        bytes.extend([0; 6]);
        bytes.extend(self.attributes.to_le_bytes());
        bytes.extend(self.offset.to_le_bytes());
        bytes.extend(self.name.as_bytes());
        bytes
    }

    /// From "version needed" to the length of the extra field, which both headers have alike.
    fn shared(&self, bytes: &mut Vec<u8>) {
        let flags = if self.name.is_ascii() { 0 } else { UTF8 };
        for field in [VERSION, flags, self.method as u16, self.time.time, self.time.date] {
            bytes.extend(field.to_le_bytes());
        }
        for field in [self.crc, self.packed, self.size] {
            bytes.extend(field.to_le_bytes());
        }
        // The layout refuses paths that don't fit.
        bytes.extend((self.name.len() as u16).to_le_bytes());
        bytes.extend([0; 2]);
    }
}

/// Where an entry of a package that was written here lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) method: Method,
    pub(super) crc: u32,
    pub(super) packed: u32,
    pub(super) size: u32,
    offset: u32,
    name_bytes: u16,
}

impl Placed {
    /// Where the entry's bytes begin: local headers written here have no extra field.
    pub(super) fn data(&self) -> u64 {
        u64::from(self.offset) + LOCAL + u64::from(self.name_bytes)
    }
}

/// The first header of a central directory written here, with the entry's name, and what follows it.
pub(super) fn read_central(bytes: &[u8]) -> Option<(String, Placed, &[u8])> {
    let (header, rest) = bytes.split_at_checked(CENTRAL as usize)?;
    let short = |at: usize| Some(u16::from_le_bytes(header.get(at..at + 2)?.try_into().ok()?));
    let long = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let method = match short(10)? {
        0 => Method::Stored,
        8 => Method::Deflate,
        _ => return None,
    };
    let name_bytes = short(28)?;
    // Written here, entries have neither extra fields nor comments.
    if long(0)? != 0x0201_4b50 || short(30)? != 0 || short(32)? != 0 {
        return None;
    }
    let (name, rest) = rest.split_at_checked(name_bytes.into())?;
    let name = String::from_utf8(name.to_vec()).ok()?;
    let (crc, packed, size, offset) = (long(16)?, long(20)?, long(24)?, long(42)?);
    Some((name, Placed { method, crc, packed, size, offset, name_bytes }, rest))
}

/// Number of entries, length and place of the central directory, from the record at the end of a package written here.
pub(super) fn read_end(bytes: &[u8]) -> Option<(u16, u32, u32)> {
    let short = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let long = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let is_end = bytes.len() as u64 == END && long(0)? == 0x0605_4b50 && short(20)? == 0;
    is_end.then_some((short(10)?, long(12)?, long(16)?))
}

/// The record at the end of the package.
pub(super) fn end(entries: u16, directory_size: u32, directory_offset: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(END as usize);
    bytes.extend(0x0605_4b50_u32.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(entries.to_le_bytes());
    bytes.extend(entries.to_le_bytes());
    bytes.extend(directory_size.to_le_bytes());
    bytes.extend(directory_offset.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}
