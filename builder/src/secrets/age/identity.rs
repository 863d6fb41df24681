//! Keys, as `age-keygen` writes them.

use std::{fmt, io, str::FromStr};

use bech32::{Bech32, Hrp};
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::Zeroizing;

const PRIVATE: &str = "age-secret-key-";
const PUBLIC: &str = "age";

/// The private key of whoever may read a file; the public key, for which it is encrypted, follows from it.
#[derive(Clone)]
pub struct Identity(StaticSecret);

/// A text that is no private key. It does not say what the text was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is a line that begins with AGE-SECRET-KEY-1 and is not damaged")]
pub struct NotAnIdentity;

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(***)")
    }
}

impl Identity {
    /// A new key.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn new() -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        super::fill(&mut *bytes)?;
        Ok(Self(StaticSecret::from(*bytes)))
    }

    pub(super) fn public(&self) -> PublicKey {
        PublicKey::from(&self.0)
    }

    pub(super) fn agree(&self, theirs: &PublicKey) -> SharedSecret {
        self.0.diffie_hellman(theirs)
    }

    /// The public key as text, which may be shown.
    pub fn recipient(&self) -> String {
        write(PUBLIC, self.public().as_bytes())
    }

    /// The file that keeps the key.
    pub(crate) fn file(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(Zeroizing::new(write(PRIVATE, self.0.as_bytes())).to_ascii_uppercase());
        let note = "# The key to secrets.age. Whoever has it can read all secrets.";
        Zeroizing::new(format!("{note}\n# public key: {}\n{}\n", self.recipient(), key.as_str()))
    }
}

fn write(prefix: &str, bytes: &[u8]) -> String {
    // Neither a fixed prefix nor 32 bytes can be refused.
    let encoded = Hrp::parse(prefix).ok().and_then(|prefix| bech32::encode::<Bech32>(prefix, bytes).ok());
    encoded.unwrap_or_default()
}

impl FromStr for Identity {
    type Err = NotAnIdentity;

    /// Takes a key or a file that has one, and comments.
    fn from_str(text: &str) -> Result<Self, NotAnIdentity> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (Some(line), None) = (lines.next(), lines.next()) else { return Err(NotAnIdentity) };
        let checked =
            bech32::primitives::decode::CheckedHrpstring::new::<Bech32>(line).map_err(|_| NotAnIdentity)?;
        let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(checked.byte_iter().collect());
        let key: Zeroizing<[u8; 32]> =
            Zeroizing::new(bytes.as_slice().try_into().map_err(|_| NotAnIdentity)?);
        let is_private = checked.hrp().as_str().eq_ignore_ascii_case(PRIVATE);
        if is_private { Ok(Self(StaticSecret::from(*key))) } else { Err(NotAnIdentity) }
    }
}
