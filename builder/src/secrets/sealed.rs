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

    /// A sealer with a new key, which lies beside the one that counts until [`succeed`](Self::succeed) is called. Between the two, whoever
    /// keeps what was sealed seals it anew.
    ///
    /// # Errors
    /// The key can't be made.
    pub fn successor(directory: &Path) -> Result<Self, SecretsError> {
        SecretsFile::next_in_directory(directory).new_identity().map(Self)
    }

    /// The successor whose making was interrupted before it was told to succeed, or to go.
    ///
    /// # Errors
    /// Its key can't be read.
    pub fn unsettled(directory: &Path) -> Result<Option<Self>, SecretsError> {
        let next = SecretsFile::next_in_directory(directory);
        if next.has_key() { next.identity().map(|identity| Some(Self(identity))) } else { Ok(None) }
    }

    /// From now on the successor's key is the only one; the one before is gone.
    ///
    /// # Errors
    /// The file system refuses; then both are there, as before.
    pub fn succeed(directory: &Path) -> Result<(), SecretsError> {
        let next = SecretsFile::next_in_directory(directory);
        next.take_the_place_of(&SecretsFile::in_directory(directory))
    }

    /// The successor's key goes, because nothing was sealed with it.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn give_up_successor(directory: &Path) -> Result<(), SecretsError> {
        SecretsFile::next_in_directory(directory).forget_key()
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
    fn a_successor_counts_once_it_is_told_to() {
        let place = tempfile::tempdir().unwrap();
        let old = Sealer::in_directory(place.path(), false).unwrap();
        let before = old.seal("a", &Secret::new("hunter2")).unwrap();
        let new = Sealer::successor(place.path()).unwrap();
        let after = new.seal("a", &Secret::new("hunter2")).unwrap();
        assert_eq!(new.open("a", &before), Err(Unreadable::OtherKey));
        assert!(Sealer::in_directory(place.path(), true).unwrap().open("a", &before).is_ok());
        assert!(Sealer::unsettled(place.path()).unwrap().unwrap().open("a", &after).is_ok());
        Sealer::succeed(place.path()).unwrap();
        let again = Sealer::in_directory(place.path(), true).unwrap();
        assert_eq!(again.open("a", &after), Ok(Secret::new("hunter2")));
        assert_eq!(again.open("a", &before), Err(Unreadable::OtherKey));
        assert!(Sealer::unsettled(place.path()).unwrap().is_none());
    }

    #[test]
    fn a_lost_key_is_not_made_anew_where_something_was_sealed() {
        let place = tempfile::tempdir().unwrap();
        assert!(Sealer::in_directory(place.path(), true).is_err());
        assert!(!place.path().join("secrets.key").exists());
    }
}
