//! The secrets by which a server and a forge know each other, as they were kept on the server's machine before its database had them.

use async_trait::async_trait;
use staith_builder::secrets::{SecretName, Secrets as _, SecretsFile};
use staith_model::{Name, Secret};
use staith_server::triggers::ForgeSecrets;

use crate::home::Home;

/// Those of `staith secret set PROJECT/NAME`, which a server takes over when it needs them. The project is part of the name, so that who administers one project can't have what is
/// another's sent to an address of their own.
#[derive(Debug)]
pub(crate) struct KeptHere(SecretsFile);

impl KeptHere {
    /// Those of a home. Nothing is read yet.
    pub(crate) fn of(home: &Home) -> Self {
        Self(SecretsFile::in_directory(home.path()))
    }
}

#[async_trait]
impl ForgeSecrets for KeptHere {
    async fn value(&self, project: &Name, secret: &str) -> Result<Option<Secret>, String> {
        let name = format!("{project}/{secret}").parse::<SecretName>().map_err(|bad| bad.to_string())?;
        self.0.find(&name).await.map_err(|error| error.to_string())
    }
}
