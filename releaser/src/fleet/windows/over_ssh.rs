//! PowerShell by ssh.

use async_trait::async_trait;

use super::PowerShell;
use crate::fleet::{
    machine::MachineError,
    ssh::{Destination, SshClient},
    wire::Wire,
};

/// PowerShell on a machine whose OpenSSH server lets us in.
#[derive(Clone)]
pub struct OverSsh {
    /// Which machine it is.
    pub destination: Destination,
    /// Keeps the connections.
    pub client: SshClient,
}

#[async_trait]
impl PowerShell for OverSsh {
    async fn start(&self, target: &str, command: &str) -> Result<Wire, MachineError> {
        self.client.start_command(&self.destination, command).await.map_err(|error| error.about(target))
    }
}
