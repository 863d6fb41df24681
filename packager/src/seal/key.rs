//! Keys of Ed25519: the host's own, and those that it trusts.
//!
//! ```text
//! host.pem            the private key of this host, for its owner only
//! host.pub            its public key, for whoever shall trust what this host signs
//! trusted/<id>.pub    public keys whose signatures count, each under its id
//! ```

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use staith_model::{Digest, Secret};
use zeroize::Zeroizing;

use crate::durable;

const PRIVATE: &str = "host.pem";
const PUBLIC: &str = "host.pub";
const TRUSTED: &str = "trusted";
const PRIVATE_LABEL: &str = "PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";
/// Longer files are no keys.
const MOST_BYTES: u64 = 16 << 10;
/// What comes before the 32 bytes of a public key in the structure that others expect (SubjectPublicKeyInfo of RFC 8410).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The system refused.
    #[error("can't {what} {}: {source}; see to its permissions and its disk", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is no key.
    #[error("{} is no {wanted} ({why}); restore it, or remove it and take another", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Others may read the private key.
    #[error(
        "{} can be read by others than its owner; what it signed can no longer be trusted: remove it for a new key, or \
         `chmod 600` it if you know that nobody did", .0.display()
    )]
    Exposed(PathBuf),
    /// No randomness, or a key that can't be used.
    #[error("the system gave no key: {0}; see that /dev/urandom and getrandom(2) work")]
    NotMade(&'static str),
}

impl KeyError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key in the structure that other programs expect, in DER.
    fn spki(&self) -> Vec<u8> {
        [&SPKI[..], &self.0].concat()
    }

    /// The 32 bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key's id: SHA-256 of its SubjectPublicKeyInfo, in 64 hexadecimal digits.
    pub fn id(&self) -> String {
        Digest::of(&self.spki()).hex()
    }

    /// The key as other programs read it, as `openssl pkey -pubin` does.
    pub fn pem(&self) -> String {
        pem(PUBLIC_LABEL, &self.spki())
    }

    /// Reads a key in PEM. `path` is for messages.
    ///
    /// # Errors
    /// It is none, or not one of Ed25519.
    pub fn of_pem(text: &str, path: &Path) -> Result<Self, KeyError> {
        let refuse = |why: &str| KeyError::NotAKey {
            path: path.to_owned(),
            wanted: "public key of Ed25519 in PEM",
            why: why.to_owned(),
        };
        let der = unpem(PUBLIC_LABEL, text).ok_or_else(|| refuse("it has no PUBLIC KEY"))?;
        let bytes = der.strip_prefix(&SPKI).ok_or_else(|| refuse("it is of another kind"))?;
        bytes.try_into().map(Self).map_err(|_| refuse("it has another length"))
    }

    /// Reads the key of a file in PEM.
    ///
    /// # Errors
    /// The file can't be read, or is none.
    pub fn of_file(path: &Path) -> Result<Self, KeyError> {
        Self::of_pem(&read(path)?, path)
    }

    /// Whether a signature over `message` is one of this key.
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

/// A private key. It is in memory only as long as it is needed.
pub struct PrivateKey(Ed25519KeyPair);

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({})", self.public().id())
    }
}

impl PrivateKey {
    /// Its public half.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    /// The signature over `message`.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

/// The directory of a host's keys.
#[derive(Debug, Clone)]
pub struct Keys(PathBuf);

impl Keys {
    /// The keys in a directory, which need not be there.
    pub fn in_directory(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// The host's own key; made, once and for good, where there is none. Of several processes that make it at once, all get
    /// the same.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn own(&self) -> Result<PrivateKey, KeyError> {
        let path = self.0.join(PRIVATE);
        if !path.try_exists().map_err(KeyError::io("look for", &path))? {
            self.make(&path)?;
        }
        let key = private(&path)?;
        let public = self.0.join(PUBLIC);
        if !public.exists() {
            self.put(&public, &key.public().pem(), 0o644)?;
        }
        Ok(key)
    }

    fn make(&self, path: &Path) -> Result<(), KeyError> {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| KeyError::NotMade("no randomness"))?;
        let text = Secret::new(pem(PRIVATE_LABEL, made.as_ref()));
        text.expose_to(|text| self.put(path, text, 0o600))
    }

    /// Writes a file that nobody has written yet, whole or not at all.
    fn put(&self, path: &Path, text: &str, mode: u32) -> Result<(), KeyError> {
        let directory = durable::parent(path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(KeyError::io("make the directory", directory))?;
        let mut staged = tempfile::Builder::new();
        // Private before the first byte is in it, whatever the umask says.
        let mut staged = staged
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
            .make_in(directory, |place| {
                OpenOptions::new().write(true).create_new(true).mode(mode).open(place)
            })
            .map_err(KeyError::io("write in", directory))?;
        staged.as_file_mut().write_all(text.as_bytes()).map_err(KeyError::io("write", path))?;
        staged.as_file().sync_all().map_err(KeyError::io("sync", path))?;
        match staged.persist_noclobber(path) {
            // Somebody else was first, and theirs is as good.
            Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(lost) => Err(KeyError::io("make", path)(lost.error)),
            Ok(_) => durable::sync_directory(directory).map_err(KeyError::io("sync", directory)),
        }
    }

    /// The public keys that count: those that were added, in the order of their ids, and the host's own, if it has one.
    ///
    /// # Errors
    /// A file of them can't be read, or is no key.
    pub fn trusted(&self) -> Result<Vec<PublicKey>, KeyError> {
        let mut keys = self.added()?;
        let own = self.0.join(PUBLIC);
        if own.exists() {
            keys.push(PublicKey::of_file(&own)?);
        }
        Ok(keys)
    }

    /// The public keys that were added, in the order of their ids.
    ///
    /// # Errors
    /// As [`Keys::trusted`].
    pub fn added(&self) -> Result<Vec<PublicKey>, KeyError> {
        let directory = self.0.join(TRUSTED);
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(KeyError::io("list", &directory))?,
        };
        let mut keys = Vec::new();
        for entry in entries {
            let path = entry.map_err(KeyError::io("list", &directory))?.path();
            if path.extension().is_some_and(|end| end == "pub") {
                keys.push(PublicKey::of_file(&path)?);
            }
        }
        keys.sort_by_key(PublicKey::id);
        Ok(keys)
    }

    /// Trusts a key from now on.
    ///
    /// # Errors
    /// It can't be written down.
    pub fn trust(&self, key: &PublicKey) -> Result<(), KeyError> {
        self.put(&self.trusted_path(key), &key.pem(), 0o644)
    }

    /// Trusts a key no longer; says whether it was trusted.
    ///
    /// # Errors
    /// It can't be removed.
    pub fn distrust(&self, key: &PublicKey) -> Result<bool, KeyError> {
        let path = self.trusted_path(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => removed.map(|()| true).map_err(KeyError::io("remove", &path)),
        }
    }

    fn trusted_path(&self, key: &PublicKey) -> PathBuf {
        self.0.join(TRUSTED).join(format!("{}.pub", key.id()))
    }
}

fn private(path: &Path) -> Result<PrivateKey, KeyError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path).map_err(KeyError::io("look at", path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed(path.to_owned()));
    }
    let refuse = |why: String| KeyError::NotAKey {
        path: path.to_owned(),
        wanted: "private key of Ed25519 in PEM",
        why,
    };
    let text = read(path)?;
    let der = unpem(PRIVATE_LABEL, &text).ok_or_else(|| refuse("it has no PRIVATE KEY".into()))?;
    Ed25519KeyPair::from_pkcs8(&der).map(PrivateKey).map_err(|why| refuse(why.to_string()))
}

/// The text of a file, wiped when it is dropped, because it may be that of a private key.
fn read(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    // With room for all that is read: a vector that grows leaves what it held where it was.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_BYTES as usize + 1));
    let file = File::open(path).map_err(KeyError::io("read", path))?;
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(KeyError::io("read", path))?;
    // What is no text is no key either, and is told as that.
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    let lines: Vec<&str> = (0..encoded.len())
        .step_by(64)
        .map(|start| &encoded[start..(start + 64).min(encoded.len())])
        .collect();
    let body = Zeroizing::new(lines.join("\n"));
    // Formatting would grow the text bit by bit, and leave what it held where it was.
    ["-----BEGIN ", label, "-----\n", &body, "\n-----END ", label, "-----\n"].concat()
}

/// The bytes between the lines of a PEM file, wiped when they are dropped.
fn unpem(label: &str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let mut plain = Zeroizing::new(String::with_capacity(body.len()));
    plain.extend(body.split_ascii_whitespace());
    let mut bytes = Zeroizing::new(Vec::with_capacity(plain.len()));
    STANDARD.decode_vec(plain.as_bytes(), &mut bytes).ok().map(|()| bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_host_has_one_key_which_nobody_else_may_read() {
        let home = tempfile::tempdir().unwrap();
        let keys = Keys::in_directory(&home.path().join("keys"));
        let ids: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| keys.own().unwrap().public().id())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0] && id.len() == 64), "{ids:?}");
        let path = home.path().join("keys/host.pem");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            PublicKey::of_file(&home.path().join("keys/host.pub")).unwrap(),
            keys.own().unwrap().public()
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(keys.own(), Err(KeyError::Exposed(_))));
    }

    #[test]
    fn the_text_and_the_bytes_of_a_key_are_wiped_when_they_are_dropped() {
        const fn is_wiped_when_dropped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let home = tempfile::tempdir().unwrap();
        let keys = Keys::in_directory(home.path());
        keys.own().unwrap();
        let text = read(&home.path().join(PRIVATE)).unwrap();
        is_wiped_when_dropped(&text);
        is_wiped_when_dropped(&unpem(PRIVATE_LABEL, &text).unwrap());
        assert_eq!(*text, pem(PRIVATE_LABEL, &unpem(PRIVATE_LABEL, &text).unwrap()));
    }

    #[test]
    fn what_is_trusted_can_be_added_and_removed() {
        let home = tempfile::tempdir().unwrap();
        let keys = Keys::in_directory(home.path());
        assert_eq!(keys.trusted().unwrap(), []);
        let other = Keys::in_directory(&home.path().join("other")).own().unwrap().public();
        keys.trust(&other).unwrap();
        keys.trust(&other).unwrap();
        assert_eq!(keys.trusted().unwrap(), std::slice::from_ref(&other));
        let own = keys.own().unwrap().public();
        assert_eq!(keys.trusted().unwrap(), [other.clone(), own]);
        assert!(keys.distrust(&other).unwrap() && !keys.distrust(&other).unwrap());
        fs::write(home.path().join("trusted/x.pub"), "no key").unwrap();
        assert!(matches!(keys.trusted(), Err(KeyError::NotAKey { .. })));
    }
}
