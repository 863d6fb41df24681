//! Which values can be masked at all.

use staith_model::Secret;

/// A shorter text is found by chance in ordinary output.
const SHORTEST: usize = 6;
/// Fewer different bytes make a text that rulers and indentation are made of.
const FEWEST_DIFFERENT: usize = 3;
/// The kernel takes no longer variable of the environment, and looking for more would take memory that a run has not.
const LONGEST: usize = 64 << 10;
/// Words that are in the output of any build. Masking them hides what people need, and shows them to be the secret.
const COMMON: [&str; 24] = [
    "password",
    "passwort",
    "passwd",
    "secret",
    "secrets",
    "changeme",
    "default",
    "localhost",
    "production",
    "staging",
    "development",
    "release",
    "example",
    "master",
    "private",
    "public",
    "server",
    "client",
    "access",
    "github",
    "docker",
    "deploy",
    "develop",
    "123456",
];

/// A secret that masking could not hide without hiding much else, or not at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmaskable {
    /// It is too short.
    #[error(
        "the secret `{name}` has {length} bytes; a secret shorter than {SHORTEST} would be found, and masked, all over a log"
    )]
    TooShort {
        /// The secret's name.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// It is a word of every log.
    #[error(
        "the secret `{name}` is a text that ordinary output is full of; masking it would make logs unreadable"
    )]
    Common {
        /// The secret's name.
        name: String,
    },
    /// It is too long.
    #[error(
        "the secret `{name}` has {length} bytes; more than {LONGEST} can't be given to a program as a variable"
    )]
    TooLong {
        /// The secret's name.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// A variable of the environment can't hold it.
    #[error("the secret `{name}` holds a NUL byte, which no variable of the environment can hold")]
    Nul {
        /// The secret's name.
        name: String,
    },
    /// They are too many or too long together.
    #[error("the secrets of this run are too many to be masked: {why}")]
    TooMany {
        /// What the search said.
        why: String,
    },
}

impl Unmaskable {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::TooShort { .. } | Self::Common { .. } => {
                "use a longer, random value; what is no secret belongs in `env` of runner.toml"
            }
            Self::TooLong { .. } | Self::TooMany { .. } => {
                "keep a short key as the secret, and what it opens in an encrypted file"
            }
            Self::Nul { .. } => "encode it, for example in base64, and decode it in the step",
        }
    }
}

/// Whether this value can be masked, and be given to a step.
pub(super) fn check(name: &str, secret: &Secret) -> Result<(), Unmaskable> {
    let name = || name.to_owned();
    secret.expose_to(|value| {
        let length = value.len();
        if value.trim().len() < SHORTEST {
            return Err(Unmaskable::TooShort { name: name(), length });
        }
        if length > LONGEST {
            return Err(Unmaskable::TooLong { name: name(), length });
        }
        if value.contains('\0') {
            return Err(Unmaskable::Nul { name: name() });
        }
        let plain = value.trim().to_ascii_lowercase();
        if different_bytes(value) < FEWEST_DIFFERENT || COMMON.contains(&plain.as_str()) {
            return Err(Unmaskable::Common { name: name() });
        }
        Ok(())
    })
}

/// How many different bytes a text is made of.
pub(super) fn different_bytes(text: &str) -> usize {
    let mut seen = [false; 256];
    text.bytes().for_each(|byte| seen[usize::from(byte)] = true);
    seen.into_iter().filter(|seen| *seen).count()
}
