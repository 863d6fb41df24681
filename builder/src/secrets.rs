//! Where secrets come from, and which steps get them. A map, in reading order:
//!
//! 1. [`SecretName`]: what a pipeline calls a secret. [`Secrets`]: the seam to whatever keeps the values.
//! 2. [`Environment`], [`SecretsFile`] and [`Known`]: what fills it. One suite of contract tests runs over all.
//! 3. [`uses`] and [`withheld`]: who wants what, and who must not have it. Pure.
//! 4. [`Supply`]: the secrets of one run, gathered before its first step, and the [`Masker`](crate::redact::Masker) for them.
//!
//! [`Sealer`] is for whoever keeps them somewhere else: a server's database.
//!
//! A value is in this process's memory, in that of the step that names it, and, encrypted, in the file; nowhere else.

mod age;
mod demand;
mod environment;
mod file;
mod name;
mod sealed;
mod supply;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, io, path::PathBuf};

use async_trait::async_trait;
use staith_model::Secret;

pub use self::{
    age::{Identity, NotAnIdentity, Unreadable},
    demand::{Use, uses, withheld},
    environment::Environment,
    file::SecretsFile,
    name::{NotASecretName, SecretName},
    sealed::Sealer,
    supply::{Supply, Unsupplied},
};

/// Keeps secrets by their names.
///
/// # What every implementation promises
/// * The same name gives the same value until somebody changes it; what was never set is `None`, never an empty secret.
/// * A value appears in no error, no log and no file in clear.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// The secret of this name, if it is here. Cancel-safe.
    ///
    /// # Errors
    /// It can't be told whether it is here, or it can't be read.
    async fn find(&self, name: &SecretName) -> Result<Option<Secret>, SecretsError>;

    /// How a person puts a secret of this name here, in words that follow "to set it, ".
    fn how_to_set(&self, name: &SecretName) -> String;
}

/// Secrets that are known already.
#[derive(Debug, Clone, Default)]
pub struct Known(pub BTreeMap<SecretName, Secret>);

#[async_trait]
impl Secrets for Known {
    async fn find(&self, name: &SecretName) -> Result<Option<Secret>, SecretsError> {
        Ok(self.0.get(name).cloned())
    }

    fn how_to_set(&self, name: &SecretName) -> String {
        format!("add `{name}` to what is known")
    }
}

/// Secrets can't be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file of secrets is there, and its key is not.
    #[error("the secrets in {} can't be read, because their key {} is not there", .file.display(), .key.display())]
    KeyMissing {
        /// The encrypted file.
        file: PathBuf,
        /// Where its key should be.
        key: PathBuf,
    },
    /// Others than its owner may read the key.
    #[error("others than its owner may read the key {}", .key.display())]
    KeyOpen {
        /// The key.
        key: PathBuf,
    },
    /// The key is none.
    #[error("{} is no key: {source}", .key.display())]
    KeyBad {
        /// The key.
        key: PathBuf,
        /// Why it is none.
        source: NotAnIdentity,
    },
    /// The file can't be decrypted, or does not hold secrets.
    #[error("the secrets in {} can't be read: {why}", .file.display())]
    Damaged {
        /// The encrypted file.
        file: PathBuf,
        /// What was found instead.
        why: String,
    },
    /// A variable holds no text.
    #[error("the variable {variable}, which gives a secret, is not UTF-8 text")]
    NotText {
        /// The variable.
        variable: String,
    },
    /// The system refused.
    #[error("{doing} {}: {source}", .at.display())]
    System {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        at: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl SecretsError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::KeyMissing { file, .. } => {
                format!("put the key back; without it, remove {} and set the secrets again", file.display())
            }
            Self::KeyOpen { key } => {
                format!("chmod 600 {}, and replace the secrets if others may have read it", key.display())
            }
            Self::KeyBad { .. } => "put a key there that `age-keygen` or Staith has made".to_owned(),
            Self::Damaged { file, .. } => {
                format!("restore {} from a copy, or remove it and set the secrets again", file.display())
            }
            Self::NotText { variable } => format!("encode the value of {variable}, for example in base64"),
            Self::System { .. } => {
                "see that the directory is yours and has room, or set STAITH_HOME to another".to_owned()
            }
        }
    }
}
