//! Tokens of attempts. Made from the attempt's id and a key of the server, so that a claim that is asked again gets the same token, and
//! the store needs only its digest.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use ring::hmac;
use staith_model::{AttemptId, Digest};

/// The file of the key, in the server's directory. Lost, it is made anew: tokens that were given stay valid, since the store knows their
/// digests, and a claim that is asked again is told another token.
const FILE: &str = "attempts.key";
const BYTES: usize = 32;

/// What makes tokens of attempts. Cheap to clone.
#[derive(Clone)]
pub struct TokenKey(hmac::Key);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(***)")
    }
}

impl TokenKey {
    /// The key of the server that keeps its data there; it is made if there is none.
    ///
    /// # Errors
    /// The system refuses, or the file is no key.
    pub fn of(data: &Path) -> io::Result<Self> {
        let path = data.join(FILE);
        match fs::read(&path) {
            Ok(bytes) if bytes.len() == BYTES => Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes))),
            Ok(bytes) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{}: a key has {BYTES} bytes, and this has {}; take it away to have one made",
                    path.display(),
                    bytes.len()
                ),
            )),
            Err(none) if none.kind() == io::ErrorKind::NotFound => make(data, &path),
            Err(refused) => Err(io::Error::new(refused.kind(), format!("{}: {refused}", path.display()))),
        }
    }

    /// What the attempt proves itself by.
    pub fn token(&self, attempt: &AttemptId) -> String {
        let tag = hmac::sign(&self.0, format!("staith-attempt\n{attempt}").as_bytes());
        let mut token = String::from("staith_attempt_");
        for byte in tag.as_ref() {
            token.push_str(&format!("{byte:02x}"));
        }
        token
    }

    /// What the store keeps of it.
    pub fn digest(&self, attempt: &AttemptId) -> Digest {
        Digest::of(self.token(attempt).as_bytes())
    }
}

/// Whole or not at all: a torn key would make every token of the next start another one.
fn make(data: &Path, path: &Path) -> io::Result<TokenKey> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|no_chance| io::Error::other(no_chance.to_string()))?;
    let beside = data.join(format!("{FILE}.new"));
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(data)?.sync_all()?;
    Ok(TokenKey(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_server_that_starts_again_makes_the_same_tokens() {
        let place = tempfile::tempdir().unwrap();
        let attempt = AttemptId::new(1, [1; 10]);
        let token = TokenKey::of(place.path()).unwrap().token(&attempt);
        assert_eq!(TokenKey::of(place.path()).unwrap().token(&attempt), token);
        assert_ne!(TokenKey::of(place.path()).unwrap().token(&AttemptId::new(1, [2; 10])), token);
        let mode = fs::metadata(place.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "nobody else reads it");
        let elsewhere = tempfile::tempdir().unwrap();
        assert_ne!(TokenKey::of(elsewhere.path()).unwrap().token(&attempt), token);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(FILE), b"short").unwrap();
        assert!(TokenKey::of(place.path()).unwrap_err().to_string().contains("attempts.key"));
    }
}
