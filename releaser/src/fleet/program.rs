//! The program that is put on machines, as it is embedded in this one: static, so that it starts on any Linux of the same
//! architecture.

use std::{io::Read as _, sync::OnceLock};

use flate2::read::DeflateDecoder;
use staith_model::Digest;

/// The architecture that the program is for, as the kernel calls it.
pub const ARCHITECTURE: &str = std::env::consts::ARCH;

static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/staith-machine.deflate"));

/// The program.
pub fn bytes() -> &'static [u8] {
    &unpacked().0
}

/// Its digest: what a machine's program says of itself when it begins to speak.
pub fn digest() -> Digest {
    unpacked().1
}

/// The program as raw Deflate, for a slow way.
pub fn packed() -> &'static [u8] {
    PACKED
}

fn unpacked() -> &'static (Vec<u8>, Digest) {
    static UNPACKED: OnceLock<(Vec<u8>, Digest)> = OnceLock::new();
    UNPACKED.get_or_init(|| {
        let mut bytes = Vec::new();
        // It was packed when this program was built. If it were damaged, the digest would be another, and no machine take it.
        let _ = DeflateDecoder::new(PACKED).read_to_end(&mut bytes);
        let digest = Digest::of(&bytes);
        (bytes, digest)
    })
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
        assert_eq!(digest(), Digest::of(program));
        assert!(program.len() < 5 << 19, "{} bytes are too many to upload", program.len());
    }
}
