//! The way to the program on a machine, by ssh.

use std::sync::Arc;

use super::{
    MachineError,
    client::SshClient,
    connection::Endpoint,
    destination::Destination,
    start::{Places, Program, Start},
    transport::Duplex,
};
use crate::fleet::wire::Wire;

/// The way to the program on a machine that has sshd and a POSIX shell, and needs nothing else.
#[derive(Clone)]
pub struct SshWay {
    /// What people call the machine.
    pub target: String,
    /// Which machine it is.
    pub destination: Destination,
    /// Keeps the connections.
    pub client: SshClient,
    /// What is run there.
    pub program: Arc<Program>,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where it is kept there.
    pub places: Places,
    /// Whether it runs as the superuser, by `sudo -n` where another user is let in.
    pub superuser: bool,
}

impl SshWay {
    /// Starts the program on the machine, and brings it there before where it is not. Several can be open at once; they share
    /// one connection. Dropping the wire ends the program. Cancel-safe: nothing half-brought can be taken for the program.
    ///
    /// What comes over the wire has to be read while it is written to: what is not read holds up the other channels of the
    /// connection.
    ///
    /// # Errors
    /// [`MachineError::Unreachable`] with what was tried; [`MachineError::Refused`] where the machine has no place for the program or
    /// can't run it; [`MachineError::Lost`] where the connection broke on the way.
    pub async fn open(&self) -> Result<Wire, MachineError> {
        let connection =
            self.client.connect(&self.destination).await.map_err(|error| error.about(&self.target))?;
        let start = Start {
            target: &self.target,
            program: &self.program,
            arguments: &self.arguments,
            places: &self.places,
            superuser: self.superuser,
        };
        let (from, to) = start.run(&connection).await?;
        Ok(Wire { from: Box::new(from), to: Box::new(to) })
    }

    /// Connects to a unix socket or address as the machine sees it. Cancel-safe.
    ///
    /// # Errors
    /// As [`SshWay::open`]; or it is not allowed, or nobody listens there.
    pub async fn forward(&self, endpoint: &Endpoint) -> Result<Box<dyn Duplex>, MachineError> {
        let asked = self.client.forward(&self.destination, endpoint).await;
        asked.map_err(|error| error.about(&self.target))
    }

    /// For people: `ssh deploy@web-1:2222`.
    pub fn describe(&self) -> String {
        format!("ssh {}", self.destination.describe())
    }
}
