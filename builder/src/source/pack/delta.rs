//! Objects that are written as changes to others. Pure.

use super::super::snapshot::LARGEST_FILE;

/// What a change makes of its base. `None` where it is not a change to this base.
pub(super) fn applied(change: &[u8], base: &[u8]) -> Option<Vec<u8>> {
    let mut rest = change;
    let from = number(&mut rest)?;
    let to = size(&mut rest)?;
    if from != base.len() as u64 {
        return None;
    }
    // A few bytes may claim to make gigabytes: the room for those is made as they come.
    let mut made = Vec::with_capacity(to.min(base.len() + change.len()));
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let piece = if first & 0x80 != 0 {
            let offset = sparse(*first, 4, &mut rest)?;
            let length = match sparse(first >> 4, 3, &mut rest)? {
                0 => 0x1_0000,
                length => length,
            };
            base.get(offset..offset.checked_add(length)?)?
        } else {
            // Zero is kept for later versions of the format.
            let length = usize::from(*first);
            let (piece, after) = rest.split_at_checked(length).filter(|_| length > 0)?;
            rest = after;
            piece
        };
        if piece.len() > to - made.len() {
            return None;
        }
        made.extend_from_slice(piece);
    }
    (made.len() == to).then_some(made)
}

/// The length that a change says it makes.
fn size(rest: &mut &[u8]) -> Option<usize> {
    let size = number(rest)?;
    usize::try_from(size).ok().filter(|_| size <= LARGEST_FILE)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f).checked_shl(shift).filter(|_| shift < 57)?;
        shift += 7;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
}

/// A number of which only those bytes are there that are not zero, as the lowest bits of `which` say.
fn sparse(which: u8, bytes: u8, rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for position in 0..bytes {
        if which & (1 << position) != 0 {
            let (byte, after) = rest.split_first()?;
            *rest = after;
            value |= usize::from(*byte) << (8 * position);
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pieces_are_copied_and_inserted() {
        // From 5 bytes to 7: "bcd" of the base, then "xyz", then "a".
        let change = [&[5, 7, 0x91, 1, 3, 3][..], b"xyz", &[0x90, 1]].concat();
        assert_eq!(applied(&change, b"abcde").unwrap(), b"bcdxyza");
        assert_eq!(applied(&change, b"abcd"), None);
        for bad in [
            &[][..],
            &[5],
            &[5, 1, 0],
            &[5, 1, 0x90, 2],
            &[5, 9, 0x91, 1, 9],
            &[5, 2, 1, b'x'],
            &[5, 1, 2, b'x', b'y'],
        ] {
            assert_eq!(applied(bad, b"abcde"), None, "{bad:?}");
        }
        // Four bytes that claim to make a gigabyte.
        assert_eq!(applied(&[5, 0x80, 0x80, 0x80, 0x80, 4], b"abcde"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut change: Vec<u8>, base in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = applied(&change, &base);
            change.insert(0, base.len() as u8);
            let _ = applied(&change, &base);
        }
    }
}
