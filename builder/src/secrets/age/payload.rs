//! The content of a file, in chunks that can be neither changed, moved nor left out.

use std::io;

use ring::aead::{Aad, Nonce};
use zeroize::Zeroizing;

use super::{Unreadable, cipher, derive, header::FileKey};

const CHUNK: usize = 64 << 10;
const TAG: usize = 16;
const SALT: usize = 16;
const PURPOSE: &str = "payload";

/// Which chunk it is, and whether it is the last.
fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[3..11].copy_from_slice(&number.to_be_bytes());
    bytes[11] = u8::from(is_last);
    Nonce::assume_unique_for_key(bytes)
}

pub(super) fn write(plain: &[u8], file_key: &FileKey, out: &mut Vec<u8>) -> io::Result<()> {
    let mut salt = [0; SALT];
    super::fill(&mut salt)?;
    out.extend_from_slice(&salt);
    let refused = |_| io::Error::other("the cipher refused");
    let cipher = cipher(&derive(&**file_key, &salt, PURPOSE)).map_err(refused)?;
    // Nothing is one empty chunk.
    let last = plain.len().saturating_sub(1) / CHUNK;
    for number in 0..=last {
        let mut chunk: Vec<u8> = plain.iter().skip(number * CHUNK).take(CHUNK).copied().collect();
        // Room for the tag from the start, so that no clear text stays behind where the chunk was.
        chunk.reserve_exact(TAG);
        let nonce = nonce(number as u64, number == last);
        cipher.seal_in_place_append_tag(nonce, Aad::empty(), &mut chunk).map_err(refused)?;
        out.append(&mut chunk);
    }
    Ok(())
}

pub(super) fn read(sealed: &[u8], file_key: &FileKey) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    let (salt, mut rest) = sealed.split_at_checked(SALT).ok_or(Unreadable::NotAge)?;
    let cipher = cipher(&derive(&**file_key, salt, PURPOSE)).map_err(|_| Unreadable::NotAge)?;
    let mut plain = Zeroizing::new(Vec::with_capacity(rest.len()));
    for number in 0.. {
        let (chunk, after) = rest.split_at(rest.len().min(CHUNK + TAG));
        let is_last = after.is_empty();
        let mut chunk = Zeroizing::new(chunk.to_vec());
        let opened = cipher
            .open_in_place(nonce(number, is_last), Aad::empty(), &mut chunk)
            .map_err(|_| Unreadable::Changed)?;
        if opened.is_empty() && number > 0 {
            return Err(Unreadable::Changed);
        }
        plain.extend_from_slice(opened);
        if is_last {
            break;
        }
        rest = after;
    }
    Ok(plain)
}
