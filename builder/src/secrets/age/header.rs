//! The beginning of a file: its key, encrypted for each who may read it, and a seal over that.

use std::io;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ring::{
    aead::{Aad, Nonce},
    hmac,
};
use x25519_dalek::PublicKey;
use zeroize::Zeroizing;

use super::{Identity, Unreadable, cipher, derive};

const VERSION: &str = "age-encryption.org/v1";
const X25519: &str = "X25519";
const PURPOSE: &str = "age-encryption.org/v1/X25519";
/// A body's lines but the last have so many characters.
const COLUMNS: usize = 64;
/// The nonce of a key that encrypts one thing only.
const ONCE: [u8; 12] = [0; 12];

pub(super) type FileKey = Zeroizing<[u8; 16]>;

pub(super) fn write(file_key: &FileKey, identity: &Identity) -> io::Result<Vec<u8>> {
    let (theirs, of_the_moment) = (identity.public(), Identity::new()?);
    let share = of_the_moment.public();
    let wrapping = wrapping_key(&of_the_moment, &theirs, &share, &theirs).ok_or_else(no_cipher)?;
    let mut wrapped = file_key.to_vec();
    cipher(&wrapping)
        .and_then(|cipher| {
            cipher.seal_in_place_append_tag(Nonce::assume_unique_for_key(ONCE), Aad::empty(), &mut wrapped)
        })
        .map_err(|_| no_cipher())?;
    let mut text = format!("{VERSION}\n-> {X25519} {}\n", STANDARD_NO_PAD.encode(share.as_bytes()));
    // 32 bytes are 43 characters: one line, shorter than a full one.
    text.push_str(&format!("{}\n---", STANDARD_NO_PAD.encode(&wrapped)));
    let seal = hmac::sign(&seal_key(file_key), text.as_bytes());
    text.push_str(&format!(" {}\n", STANDARD_NO_PAD.encode(seal.as_ref())));
    Ok(text.into_bytes())
}

fn no_cipher() -> io::Error {
    io::Error::other("the cipher refused")
}

/// The key of the file, and what follows its header.
pub(super) fn read<'a>(sealed: &'a [u8], identity: &Identity) -> Result<(FileKey, &'a [u8]), Unreadable> {
    let mut lines = Lines { rest: sealed, read: 0 };
    if lines.next()? != VERSION {
        return Err(Unreadable::NotAge);
    }
    let mut found = None;
    loop {
        let before = lines.read;
        let line = lines.next()?;
        if let Some(seal) = line.strip_prefix("--- ") {
            let seal = decode(seal)?;
            let file_key: FileKey = found.ok_or(Unreadable::OtherKey)?;
            let header = &sealed[..before + "---".len()];
            hmac::verify(&seal_key(&file_key), header, &seal).map_err(|_| Unreadable::Changed)?;
            return Ok((file_key, lines.rest));
        }
        let arguments = line.strip_prefix("-> ").ok_or(Unreadable::NotAge)?;
        let body = lines.body()?;
        if let (None, Some(share)) = (&found, arguments.strip_prefix(X25519)) {
            found = unwrap(share, &body, identity)?;
        }
    }
}

/// The file's key, if it was encrypted for this identity.
fn unwrap(share: &str, body: &[u8], identity: &Identity) -> Result<Option<FileKey>, Unreadable> {
    let share = decode(share.strip_prefix(' ').ok_or(Unreadable::NotAge)?)?;
    let share: [u8; 32] = share.try_into().map_err(|_| Unreadable::NotAge)?;
    if body.len() != 32 {
        return Err(Unreadable::NotAge);
    }
    let share = PublicKey::from(share);
    let wrapping = wrapping_key(identity, &share, &share, &identity.public()).ok_or(Unreadable::NotAge)?;
    let mut wrapped = Zeroizing::new(body.to_vec());
    let opened = cipher(&wrapping).and_then(|cipher| {
        let opened = cipher.open_in_place(Nonce::assume_unique_for_key(ONCE), Aad::empty(), &mut wrapped)?;
        <[u8; 16]>::try_from(&*opened).map_err(|_| ring::error::Unspecified)
    });
    Ok(opened.ok().map(Zeroizing::new))
}

/// The key under which the file's key is encrypted; none for a share that is made to give everybody the same one.
fn wrapping_key(
    ours: &Identity,
    theirs: &PublicKey,
    share: &PublicKey,
    recipient: &PublicKey,
) -> Option<Zeroizing<[u8; 32]>> {
    let agreed = ours.agree(theirs);
    let salt = [share.as_bytes().as_slice(), recipient.as_bytes()].concat();
    agreed.was_contributory().then(|| derive(agreed.as_bytes(), &salt, PURPOSE))
}

fn seal_key(file_key: &FileKey) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &*derive(&**file_key, &[], "header"))
}

fn decode(text: &str) -> Result<Vec<u8>, Unreadable> {
    STANDARD_NO_PAD.decode(text).map_err(|_| Unreadable::NotAge)
}

struct Lines<'a> {
    rest: &'a [u8],
    read: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<&'a str, Unreadable> {
        let end = self.rest.iter().position(|byte| *byte == b'\n').ok_or(Unreadable::NotAge)?;
        let line = std::str::from_utf8(&self.rest[..end]).map_err(|_| Unreadable::NotAge)?;
        self.rest = &self.rest[end + 1..];
        self.read += end + 1;
        Ok(line)
    }

    /// Full lines, and one that is not full and may be empty.
    fn body(&mut self) -> Result<Vec<u8>, Unreadable> {
        let mut text = String::new();
        loop {
            let line = self.next()?;
            text.push_str(line);
            match line.len() {
                COLUMNS => {}
                0..COLUMNS => return decode(&text),
                _ => return Err(Unreadable::NotAge),
            }
        }
    }
}
