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
