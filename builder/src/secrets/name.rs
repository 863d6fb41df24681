//! What secrets are called.

use std::{fmt, str::FromStr};

/// A secret's name: 1 to 200 letters, digits, `_`, `-`, `.` and `/`, as in `npm-token` or `shop/db-password`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(String);

/// A text that is no [`SecretName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` can't be a secret's name: use 1 to 200 letters (A-Z, a-z), digits, `_`, `-`, `.` or `/`, first a letter or digit"
)]
pub struct NotASecretName(String);

impl SecretName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The variable of Staith's own environment that may hold the secret: `STAITH_SECRET_NPM_TOKEN` for `npm-token`. What no
    /// variable's name can hold becomes `_`, so `a-b` and `a/b` share one.
    pub fn variable(&self) -> String {
        format!("STAITH_SECRET_{}", self.0.to_ascii_uppercase().replace(['-', '.', '/'], "_"))
    }
}

impl FromStr for SecretName {
    type Err = NotASecretName;

    fn from_str(text: &str) -> Result<Self, NotASecretName> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
        // A store may keep secrets in files, or ask for them by a path.
        let leads_out = text.split('/').any(|part| matches!(part, "" | "." | ".."));
        if starts_well && !leads_out && text.len() <= 200 && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotASecretName(text.chars().take(200).collect()))
        }
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
