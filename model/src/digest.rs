//! Content hashes: the one way in which Staith says "the same".

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "sha256:";

/// A digest as text, on the stack.
struct Written([u8; PREFIX.len() + 64]);

impl Written {
    fn as_str(&self) -> &str {
        // It is digits and the prefix.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A SHA-256 of some bytes, written `sha256:<64 hex digits>`.
///
/// SHA-256 because people can check it with tools that every system has, and OCI registries speak it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Text that is not `sha256:` followed by 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest; a digest is `sha256:` and 64 hexadecimal digits")]
pub struct NotADigest(String);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of a value's canonical JSON under a domain, so that values of two kinds never share a digest.
    ///
    /// Canonical means: fields in the order of their declaration, maps sorted (use `BTreeMap`), no white space.
    /// The domain carries a version (`staith.plan.v1`); change it whenever the value's shape changes its meaning.
    pub fn of_value<T: Serialize>(domain: &str, value: &T) -> Self {
        // A value that can't be written as JSON (a map with keys that are no strings) is a mistake in our own types;
        // hashing the refusal keeps this total, and every property test over digests would show it.
        match serde_json::to_vec(value) {
            Ok(json) => Self::of_json(domain, &json),
            Err(refusal) => Self::of_json(domain, refusal.to_string().as_bytes()),
        }
    }

    /// The digest of a value whose canonical JSON is at hand, as [`Digest::of_value`] gives it. What is written otherwise than
    /// canonically has another digest, whatever it means.
    pub fn of_json(domain: &str, json: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(domain.as_bytes());
        hash.update(b"\n");
        hash.update(json);
        Self(hash.finalize().into())
    }

    /// Wraps a hash that was computed elsewhere, for example while bytes streamed by.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// All 64 hexadecimal digits, without `sha256:`. Safe as a file name.
    pub fn hex(&self) -> String {
        self.written().as_str()[PREFIX.len()..].to_owned()
    }

    // By hand: manifests of ten thousand files write and read as many digests, and formatting would take most of the time.
    fn written(&self) -> Written {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; PREFIX.len() + 64];
        text[..PREFIX.len()].copy_from_slice(PREFIX.as_bytes());
        for (pair, byte) in text[PREFIX.len()..].chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        Written(text)
    }

    /// The first 12 hexadecimal digits: enough for people to tell things apart, never an identity.
    pub fn short(&self) -> String {
        let mut text = self.hex();
        text.truncate(12);
        text
    }
}

/// Hashes bytes as they stream by.
#[derive(Clone, Default)]
pub struct DigestStream(Sha256);

impl DigestStream {
    /// A stream that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.written().as_str())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let refuse = || NotADigest(text.to_owned());
        let hex = text.strip_prefix(PREFIX).ok_or_else(refuse)?.as_bytes();
        if hex.len() != 64 {
            return Err(refuse());
        }
        let (mut bytes, mut all) = ([0; 32], 0);
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
            all |= high | low;
            *byte = (high << 4) | (low & 15);
        }
        if all > 15 { Err(refuse()) } else { Ok(Self(bytes)) }
    }
}

/// The values of hexadecimal digits; more than 15 is none. Only lower case is taken: one digest has one spelling.
const VALUES: [u8; 256] = {
    let mut values = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.written().as_str())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(Reader)
    }
}

/// Reads a digest where it lies.
struct Reader;

impl Visitor<'_> for Reader {
    type Value = Digest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a digest")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_digest_is_what_other_tools_compute() {
        let of_abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), of_abc);
    }

    #[test]
    fn domains_keep_equal_values_apart() {
        assert_ne!(Digest::of_value("staith.a.v1", &1), Digest::of_value("staith.b.v1", &1));
    }

    proptest! {
        #[test]
        fn text_and_back(bytes: [u8; 32]) {
            let digest = Digest::from_bytes(bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        }

        #[test]
        fn a_stream_is_its_concatenation(parts: Vec<Vec<u8>>) {
            let mut stream = DigestStream::new();
            parts.iter().for_each(|part| stream.update(part));
            prop_assert_eq!(stream.finish(), Digest::of(&parts.concat()));
        }

        #[test]
        fn other_text_is_refused(text in "(sha256:)?[0-9a-zA-Z]{0,70}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
