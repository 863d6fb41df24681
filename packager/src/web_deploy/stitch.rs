//! Joins Deflate streams into one.
//!
//! libdeflate compresses a buffer as a whole and marks the last block of what it made as final. To compress a large file in
//! pieces, with bounded memory and on all cores, every piece but the last must be told that it is not the end: the mark
//! on its last block is cleared, and an empty stored block fills up its last byte. The last block can only be found by
//! walking through all of them, which is what this module does; nothing is decompressed.

/// Symbols of one Huffman code by their next 15 bits: `symbol << 4 | length`, 0 where no code begins so.
struct Code(Vec<u16>);

const LONGEST: usize = 15;

impl Code {
    fn new(lengths: &[u8]) -> Self {
        let mut next = [0u32; LONGEST + 2];
        for &length in lengths.iter().filter(|&&length| length > 0) {
            next[usize::from(length) + 1] += 1;
        }
        for length in 1..next.len() {
            next[length] = (next[length] + next[length - 1]) << 1;
        }
        let mut table = vec![0; 1 << LONGEST];
        for (symbol, &length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            let code = next[usize::from(length)];
            next[usize::from(length)] += 1;
            // Codes come with their first bit lowest.
            let first = (code.reverse_bits() >> (32 - u32::from(length))) as usize;
            for slot in table.iter_mut().skip(first).step_by(1 << length) {
                *slot = (symbol as u16) << 4 | u16::from(length);
            }
        }
        Self(table)
    }
}

/// Reads bits, lowest first.
struct Bits<'a> {
    data: &'a [u8],
    /// Position of the next bit.
    at: usize,
}

impl Bits<'_> {
    /// The next 32 bits or more; zeros follow the end.
    fn peek(&self) -> u64 {
        let byte = self.at / 8;
        let word = match self.data.get(byte..byte + 8).and_then(|eight| eight.try_into().ok()) {
            Some(eight) => u64::from_le_bytes(eight),
            None => {
                let rest = self.data.get(byte..).unwrap_or_default();
                rest.iter().rev().fold(0, |word, next| (word << 8) | u64::from(*next))
            }
        };
        word >> (self.at % 8)
    }

    fn take(&mut self, count: usize) -> usize {
        let bits = self.peek() & ((1 << count) - 1);
        self.at += count;
        bits as usize
    }

    fn symbol(&mut self, code: &Code) -> Option<usize> {
        let entry = code.0[(self.peek() as usize) & ((1 << LONGEST) - 1)];
        self.at += usize::from(entry & 15);
        (entry > 0 && self.at <= self.data.len() * 8).then_some(usize::from(entry >> 4))
    }
}

/// Where a stream's last block begins and ends, in bits.
fn last_block(data: &[u8]) -> Option<(usize, usize)> {
    let mut bits = Bits { data, at: 0 };
    while bits.at < data.len() * 8 {
        let begin = bits.at;
        let last = bits.take(1) == 1;
        match bits.take(2) {
            0 => skip_stored(&mut bits),
            1 => skip_compressed(&mut bits, &fixed_literals(), &Code::new(&[5; 30]))?,
            2 => {
                let (literals, distances) = read_codes(&mut bits)?;
                skip_compressed(&mut bits, &literals, &distances)?;
            }
            _ => return None,
        }
        if last {
            return Some((begin, bits.at));
        }
    }
    None
}

fn skip_stored(bits: &mut Bits<'_>) {
    bits.at = bits.at.next_multiple_of(8);
    let length = bits.take(16);
    bits.at += 16 + length * 8;
}

fn fixed_literals() -> Code {
    let mut lengths = [8; 288];
    lengths[144..256].fill(9);
    lengths[256..280].fill(7);
    Code::new(&lengths)
}

fn read_codes(bits: &mut Bits<'_>) -> Option<(Code, Code)> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances, used) = (bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4);
    let mut lengths = [0; 19];
    for place in ORDER.into_iter().take(used) {
        lengths[place] = bits.take(3) as u8;
    }
    let code = Code::new(&lengths);
    let mut lengths: Vec<u8> = Vec::with_capacity(literals + distances);
    while lengths.len() < literals + distances {
        let (value, times) = match bits.symbol(&code)? {
            length @ 0..=15 => (length as u8, 1),
            16 => (*lengths.last()?, bits.take(2) + 3),
            17 => (0, bits.take(3) + 3),
            _ => (0, bits.take(7) + 11),
        };
        lengths.resize(lengths.len() + times, value);
    }
    Some((Code::new(lengths.get(..literals)?), Code::new(lengths.get(literals..literals + distances)?)))
}

fn skip_compressed(bits: &mut Bits<'_>, literals: &Code, distances: &Code) -> Option<()> {
    loop {
        match bits.symbol(literals)? {
            0..=255 => {}
            256 => return Some(()),
            length => {
                bits.at += match length {
                    257..=264 | 285 => 0,
                    _ => (length - 261) / 4,
                };
                let distance = bits.symbol(distances)?;
                bits.at += (distance / 2).saturating_sub(1);
            }
        }
    }
}

/// Turns a complete stream into one that another may follow. `None` if `stream` is no complete Deflate stream.
pub(super) fn open_end(mut stream: Vec<u8>) -> Option<Vec<u8>> {
    let (begin, end) = last_block(&stream)?;
    stream.truncate(end.div_ceil(8));
    *stream.get_mut(begin / 8)? &= !(1 << (begin % 8));
    // The header of a stored block that is not the last is three zero bits; then zeros up to the byte's end.
    if end % 8 == 0 || end % 8 > 5 {
        stream.push(0);
    }
    stream.extend([0, 0, 0xff, 0xff]);
    Some(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web_deploy::deflate::deflate;
    use proptest::prelude::*;

    fn inflate(stream: &[u8], size: usize) -> Vec<u8> {
        let mut raw = vec![0; size];
        let length = libdeflater::Decompressor::new().deflate_decompress(stream, &mut raw).unwrap();
        assert_eq!(length, size);
        raw
    }

    fn stitched(pieces: &[Vec<u8>]) -> Vec<u8> {
        let (last, rest) = pieces.split_last().unwrap();
        let mut stream: Vec<u8> =
            rest.iter().flat_map(|piece| open_end(deflate(piece).unwrap()).unwrap()).collect();
        stream.extend(deflate(last).unwrap());
        stream
    }

    /// Runs of few and of many symbols, so that fixed, dynamic and stored blocks all come up.
    fn any_piece() -> impl Strategy<Value = Vec<u8>> {
        let run = (any::<u64>(), 1u32..=8, 0usize..40_000).prop_map(|(seed, bits, length)| {
            let mut state = seed | 1;
            (0..length)
                .map(|_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 56) as u8 >> (8 - bits)
                })
                .collect::<Vec<u8>>()
        });
        prop::collection::vec(run, 0..4).prop_map(|runs| runs.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn stitched_streams_inflate_to_the_concatenation(pieces in prop::collection::vec(any_piece(), 1..5)) {
            let raw = pieces.concat();
            prop_assert_eq!(inflate(&stitched(&pieces), raw.len()), raw);
        }

        #[test]
        fn noise_is_no_reason_to_panic(noise: Vec<u8>) {
            let _ = open_end(noise);
        }
    }
}
