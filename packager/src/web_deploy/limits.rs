//! The numbers that writer and reader agree on: what one refuses to write, the other refuses to read.

/// Largest file in a package, in bytes: Web Deploy documents 2^31-1.
pub const MAX_FILE_BYTES: u64 = (1 << 31) - 1;

/// Largest package, and largest sum of its files, in bytes. Web Deploy refuses packages above 4 GB, and a zip without ZIP64
/// (whose sizes Web Deploy ignores) has 32 bits for every offset; 2^32-1 itself announces ZIP64.
pub const MAX_PACKAGE_BYTES: u64 = (1 << 32) - 2;

/// Most entries in a package, directories included: 65,535 in a zip's 16 bits announces ZIP64.
pub const MAX_ENTRIES: usize = 65_534;

/// Longest name of an entry in bytes: the longest path that Linux takes. Windows takes eight times as many.
pub(super) const MAX_NAME_BYTES: usize = 4096;

/// From this size on, an entry is suspected of being a bomb. Below it, an honest file of zeros does no harm, and Deflate
/// shrinks those a thousandfold.
const SUSPICIOUS_BYTES: u64 = 32 << 20;

/// The shrinkage at which a suspect is one. Text and logs stay below 50; Deflate can't exceed 1032.
const SUSPICIOUS_RATIO: u64 = 200;

/// Whether an entry that inflates from `packed` to `size` bytes looks made to fill a disk. The writer stores such files
/// uncompressed, so that honest ones stay readable.
pub(super) fn is_bomb(packed: u64, size: u64) -> bool {
    size > SUSPICIOUS_BYTES && size > packed.saturating_mul(SUSPICIOUS_RATIO)
}
