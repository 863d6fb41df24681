//! The program that is put on machines, as it is embedded in this one: static, so that it starts on any Linux of the same
//! architecture.

use std::{io::Read as _, sync::OnceLock};

use flate2::read::DeflateDecoder;
use staith_model::Digest;

/// The architecture that the program is for, as the kernel calls it.
pub const ARCHITECTURE: &str = std::env::consts::ARCH;

static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/staith-machine.deflate"));

static LENGTH: &[u8; 8] = include_bytes!(concat!(env!("OUT_DIR"), "/staith-machine.length"));
static DIGEST: &[u8; 32] = include_bytes!(concat!(env!("OUT_DIR"), "/staith-machine.digest"));

/// The program. Unpacked when it is asked for: most machines have it.
pub fn bytes() -> &'static [u8] {
    static UNPACKED: OnceLock<Vec<u8>> = OnceLock::new();
    UNPACKED.get_or_init(|| {
        let mut bytes = Vec::new();
        // It was packed when this program was built. If it were damaged, it would not have its digest, and no machine take it.
        let _ = DeflateDecoder::new(PACKED).read_to_end(&mut bytes);
        bytes
    })
}

/// How many bytes it has.
pub const fn length() -> u64 {
    u64::from_le_bytes(*LENGTH)
}

/// Its digest, by which machines know it.
pub const fn digest() -> Digest {
    Digest::from_bytes(*DIGEST)
}

/// The program as raw Deflate, for a slow way.
pub fn packed() -> &'static [u8] {
    PACKED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_a_static_one() {
        let program = bytes();
        assert_eq!(&program[..4], b"\x7fELF");
        // A program that needs a loader names it, in a segment of type 3.
        let word = |at: usize, length: usize| {
            program[at..at + length]
                .iter()
                .rev()
                .fold(0usize, |value, byte| (value << 8) | usize::from(*byte))
        };
        let (table, size, count) = (word(0x20, 8), word(0x36, 2), word(0x38, 2));
        let kinds: Vec<usize> = (0..count).map(|nth| word(table + nth * size, 4)).collect();
        assert!(!kinds.is_empty() && !kinds.contains(&3), "{kinds:?}");
        assert_eq!((digest(), length()), (Digest::of(program), program.len() as u64));
        assert!(program.len() < 5 << 19, "{} bytes are too many to upload", program.len());
    }
}
