//! Files that `age` and Staith read alike: version 1 of the format, with X25519 keys
//! (<https://github.com/C2SP/C2SP/blob/main/age.md>).
//!
//! The ciphers are those of `ring` and `x25519-dalek`; what is here is how the format puts them together. Why it is here and
//! not a crate's is [decision 7](../../../docs/decisions/007-secrets-in-age-files.md).

mod header;
mod identity;
mod payload;

use std::io;

use zeroize::Zeroizing;

pub use identity::{Identity, NotAnIdentity};

/// Why a file can't be decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is no age file, or one of another version.
    #[error("it is no age file of version 1, or it is damaged")]
    NotAge,
    /// It is for somebody else's key.
    #[error("it was encrypted for another key")]
    OtherKey,
    /// Somebody or something changed it.
    #[error("it was changed after it was written, or its end is missing")]
    Changed,
}

/// Encrypts for the owner of an identity.
///
/// # Errors
/// The system gives no random numbers.
pub(super) fn encrypt(plain: &[u8], identity: &Identity) -> io::Result<Vec<u8>> {
    let mut file_key = Zeroizing::new([0; 16]);
    fill(&mut *file_key)?;
    let mut sealed = header::write(&file_key, identity)?;
    payload::write(plain, &file_key, &mut sealed)?;
    Ok(sealed)
}

/// Decrypts what was encrypted for the owner of an identity.
pub(super) fn decrypt(sealed: &[u8], identity: &Identity) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    let (file_key, rest) = header::read(sealed, identity)?;
    payload::read(rest, &file_key)
}

fn fill(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(io::Error::other)
}

/// 32 bytes derived from a key, as HKDF with SHA-256 does it.
fn derive(key: &[u8], salt: &[u8], purpose: &str) -> Zeroizing<[u8; 32]> {
    use ring::hkdf::{HKDF_SHA256, Salt};
    let mut derived = Zeroizing::new([0; 32]);
    let drawn = Salt::new(HKDF_SHA256, salt).extract(key);
    let filled = drawn.expand(&[purpose.as_bytes()], HKDF_SHA256).and_then(|okm| okm.fill(&mut *derived));
    // HKDF refuses lengths beyond 255 hashes; this is one.
    debug_assert!(filled.is_ok());
    derived
}

/// A cipher for the key.
fn cipher(key: &[u8; 32]) -> Result<ring::aead::LessSafeKey, ring::error::Unspecified> {
    Ok(ring::aead::LessSafeKey::new(ring::aead::UnboundKey::new(&ring::aead::CHACHA20_POLY1305, key)?))
}

#[cfg(test)]
mod tests;
