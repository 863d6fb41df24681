//! Secrets in Staith's own environment.

use std::ffi::OsString;

use async_trait::async_trait;
use staith_model::Secret;

use super::{SecretName, Secrets, SecretsError};

/// Variables like `STAITH_SECRET_NPM_TOKEN`: how other systems and scripts hand secrets over. No step sees this environment.
#[derive(Debug, Clone, Copy)]
pub struct Environment {
    read: fn(&str) -> Option<OsString>,
}

impl Environment {
    /// The environment of this process.
    pub fn of_this_process() -> Self {
        Self::read_by(|name| std::env::var_os(name))
    }

    /// An environment whose variables are read so.
    pub const fn read_by(read: fn(&str) -> Option<OsString>) -> Self {
        Self { read }
    }
}

#[async_trait]
impl Secrets for Environment {
    async fn find(&self, name: &SecretName) -> Result<Option<Secret>, SecretsError> {
        let variable = name.variable();
        // A variable that is set to nothing is how people take one away.
        let Some(value) = (self.read)(&variable).filter(|value| !value.is_empty()) else { return Ok(None) };
        let text = value.into_string().map_err(|_| SecretsError::NotText { variable })?;
        Ok(Some(Secret::new(text)))
    }

    fn how_to_set(&self, name: &SecretName) -> String {
        format!("set the variable {}", name.variable())
    }
}
