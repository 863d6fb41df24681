//! Secrets one by one, for whoever keeps them somewhere else than in a file.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};
use staith_model::Secret;
use zeroize::{Zeroize, Zeroizing};

use super::{Identity, SecretsError, SecretsFile, Unreadable, age};

/// Encrypts and decrypts single secrets with the key of a directory, each bound to what it is about: what was sealed as one thing can't
/// be opened as another, whoever moved it there.
#[derive(Debug)]
pub struct Sealer(Identity);

#[derive(Serialize, Deserialize)]
struct Bound {
    about: String,
    value: String,
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

impl Sealer {
    /// The sealer with the key in a directory, which is made if it is not there. `used` says that something was sealed before: then a
    /// key that is not there is an error, since a new one would open nothing.
    ///
    /// # Errors
    /// The key can't be read or made, or others may read it.
    pub fn in_directory(directory: &Path, used: bool) -> Result<Self, SecretsError> {
        let file = SecretsFile::in_directory(directory);
        let identity = if used { file.identity() } else { file.identity_or_new() };
        identity.map(Self)
    }

    /// Encrypts.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn seal(&self, about: &str, secret: &Secret) -> io::Result<Vec<u8>> {
        let bound = secret.expose_to(|value| Bound { about: about.to_owned(), value: value.to_owned() });
        let plain = Zeroizing::new(serde_json::to_vec(&bound).map_err(io::Error::other)?);
        age::encrypt(&plain, &self.0)
    }

    /// Decrypts what was sealed about the same thing.
    ///
    /// # Errors
    /// It was sealed for another key or about something else, or it was changed.
    pub fn open(&self, about: &str, sealed: &[u8]) -> Result<Secret, Unreadable> {
        let plain = age::decrypt(sealed, &self.0)?;
        // What serde says of a value that it did not expect may quote it.
        let bound: Bound = serde_json::from_slice(&plain).map_err(|_| Unreadable::Changed)?;
        if bound.about == about { Ok(Secret::new(bound.value.as_str())) } else { Err(Unreadable::Changed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_opened_as_that_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let sealer = Sealer::in_directory(place.path(), false).unwrap();
        let sealed = sealer.seal("shop/npm-token", &Secret::new("hunter2")).unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        let again = Sealer::in_directory(place.path(), true).unwrap();
        assert_eq!(again.open("shop/npm-token", &sealed).unwrap(), Secret::new("hunter2"));
        assert_eq!(again.open("blog/npm-token", &sealed), Err(Unreadable::Changed));
        let mut changed = sealed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(again.open("shop/npm-token", &changed), Err(Unreadable::Changed));
        let elsewhere = tempfile::tempdir().unwrap();
        let other = Sealer::in_directory(elsewhere.path(), false).unwrap();
        assert_eq!(other.open("shop/npm-token", &sealed), Err(Unreadable::OtherKey));
    }

    #[test]
    fn a_lost_key_is_not_made_anew_where_something_was_sealed() {
        let place = tempfile::tempdir().unwrap();
        assert!(Sealer::in_directory(place.path(), true).is_err());
        assert!(!place.path().join("secrets.key").exists());
    }
}
