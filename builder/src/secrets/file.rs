//! Secrets in an encrypted file, and the key to it beside it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use staith_model::Secret;
use zeroize::Zeroizing;

use super::{Identity, SecretName, Secrets, SecretsError, age};

/// All secrets of a home, encrypted as `age` does it (<https://age-encryption.org>): `age --decrypt --identity secrets.key
/// secrets.age` shows them as JSON.
///
/// The key lies beside the file, readable by its owner only. So the file may be copied, kept in a backup or even in a
/// repository without the key; who may read the key may read the secrets.
#[derive(Debug, Clone)]
pub struct SecretsFile {
    file: PathBuf,
    key: PathBuf,
}

type Values = BTreeMap<String, Secret>;

impl SecretsFile {
    /// The file of secrets in a directory, which is there. Neither file nor key is made before a secret is set.
    pub fn in_directory(directory: &Path) -> Self {
        Self { file: directory.join("secrets.age"), key: directory.join("secrets.key") }
    }

    /// The key that is to come after the one of [`in_directory`](Self::in_directory).
    pub(super) fn next_in_directory(directory: &Path) -> Self {
        Self { file: directory.join("secrets.age"), key: directory.join("secrets.key.next") }
    }

    pub(super) fn has_key(&self) -> bool {
        self.key.exists()
    }

    /// Makes a new key; one that is there is replaced.
    pub(super) fn new_identity(&self) -> Result<Identity, SecretsError> {
        let made = Identity::new().and_then(|identity| {
            put(&self.key, identity.file().as_bytes(), true)?;
            Ok(identity)
        });
        made.map_err(system("making the key", &self.key))
    }

    /// Puts this key in the place of another, which is gone then.
    pub(super) fn take_the_place_of(&self, other: &Self) -> Result<(), SecretsError> {
        let directory = self.key.parent().unwrap_or(Path::new("."));
        let moved = fs::rename(&self.key, &other.key).and_then(|()| File::open(directory)?.sync_all());
        moved.map_err(system("keeping the key", &other.key))
    }

    /// Removes the key.
    pub(super) fn forget_key(&self) -> Result<(), SecretsError> {
        fs::remove_file(&self.key).map_err(system("removing the key", &self.key))
    }

    /// Sets a secret; it replaces one of the same name. Atomic: others see all secrets as before or as after.
    ///
    /// # Errors
    /// The file can't be read or written.
    pub fn set(&self, name: &SecretName, secret: Secret) -> Result<(), SecretsError> {
        self.change(|values| values.insert(name.as_str().to_owned(), secret)).map(drop)
    }

    /// Removes a secret; whether it was there.
    ///
    /// # Errors
    /// The file can't be read or written.
    pub fn remove(&self, name: &SecretName) -> Result<bool, SecretsError> {
        if !self.names()?.iter().any(|known| known == name.as_str()) {
            return Ok(false);
        }
        Ok(self.change(|values| values.remove(name.as_str()))?.is_some())
    }

    /// The names of all secrets, in order.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn names(&self) -> Result<Vec<String>, SecretsError> {
        Ok(self.read()?.into_keys().collect())
    }

    fn change<T>(&self, change: impl FnOnce(&mut Values) -> T) -> Result<T, SecretsError> {
        let directory = self.file.parent().unwrap_or(Path::new("."));
        // Two commands at once must not lose each other's secrets. Freed when this is dropped, however this process ends.
        let lock = File::open(directory).and_then(|opened| opened.lock().map(|()| opened));
        let _lock = lock.map_err(system("locking", directory))?;
        let identity = self.identity_or_new()?;
        let mut values = self.read()?;
        let changed = change(&mut values);
        self.write(&values, &identity)?;
        Ok(changed)
    }

    fn read(&self) -> Result<Values, SecretsError> {
        let sealed = match fs::read(&self.file) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Values::new()),
            Err(source) => return Err(system("reading", &self.file)(source)),
        };
        let damaged = |why: String| SecretsError::Damaged { file: self.file.clone(), why };
        let opened =
            age::decrypt(&sealed, &self.identity()?).map_err(|unreadable| damaged(unreadable.to_string()))?;
        let texts: BTreeMap<String, String> = serde_json::from_slice(&opened)
            // What serde says of a value that it did not expect may quote it.
            .map_err(|_| damaged("what it holds is not a JSON object of texts".to_owned()))?;
        Ok(texts.into_iter().map(|(name, text)| (name, Secret::new(text))).collect())
    }

    fn write(&self, values: &Values, identity: &Identity) -> Result<(), SecretsError> {
        let mut texts = BTreeMap::new();
        for (name, secret) in values {
            secret.expose_to(|text| texts.insert(name, Zeroizing::new(text.to_owned())));
        }
        let plain: BTreeMap<&String, &str> =
            texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let json = serde_json::to_vec(&plain).map(Zeroizing::new).map_err(io::Error::other);
        let sealed = json.and_then(|json| age::encrypt(&json, identity));
        sealed.and_then(|sealed| put(&self.file, &sealed, true)).map_err(system("writing", &self.file))
    }

    pub(super) fn identity(&self) -> Result<Identity, SecretsError> {
        let text = match fs::read_to_string(&self.key) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SecretsError::KeyMissing { file: self.file.clone(), key: self.key.clone() });
            }
            Err(source) => return Err(system("reading", &self.key)(source)),
        };
        let rights = fs::metadata(&self.key).map_err(system("looking at", &self.key))?.permissions();
        if rights.mode() & 0o077 != 0 {
            return Err(SecretsError::KeyOpen { key: self.key.clone() });
        }
        text.parse().map_err(|source| SecretsError::KeyBad { key: self.key.clone(), source })
    }

    pub(super) fn identity_or_new(&self) -> Result<Identity, SecretsError> {
        // A new key would make an existing file unreadable for good.
        if self.key.exists() || self.file.exists() {
            return self.identity();
        }
        let made = Identity::new().and_then(|identity| {
            put(&self.key, identity.file().as_bytes(), false)?;
            Ok(identity)
        });
        made.map_err(system("making the key", &self.key))
    }
}

#[async_trait]
impl Secrets for SecretsFile {
    async fn find(&self, name: &SecretName) -> Result<Option<Secret>, SecretsError> {
        let this = self.clone();
        let read = tokio::task::spawn_blocking(move || this.read()).await;
        let read = read.map_err(|panicked| system("reading", &self.file)(io::Error::other(panicked)))?;
        Ok(read?.remove(name.as_str()))
    }

    fn how_to_set(&self, name: &SecretName) -> String {
        format!("run `staith secret set {name}`")
    }
}

/// Writes a file that only its owner may read, whole or not at all.
fn put(at: &Path, bytes: &[u8], replace: bool) -> io::Result<()> {
    let directory = at.parent().unwrap_or(Path::new("."));
    // Made with the rights 0600.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    if replace {
        file.persist(at)?
    } else {
        file.persist_noclobber(at)?
    };
    File::open(directory)?.sync_all()
}

fn system(doing: &'static str, at: &Path) -> impl FnOnce(io::Error) -> SecretsError {
    let at = at.to_path_buf();
    move |source| SecretsError::System { doing, at, source }
}
