//! How the streams to a machine's program come about.

mod child;

use async_trait::async_trait;

pub use child::Child;

use super::{machine::MachineError, ssh::SshWay, wire::Wire};

/// A way to start the program of a machine.
#[derive(Clone)]
pub enum Way {
    /// As a child process: the machine is this one.
    Child(Child),
    /// Over ssh, on another machine.
    Ssh(Box<SshWay>),
}

/// Starts a machine's program and hands over its standard streams.
#[async_trait]
pub trait Open: Send + Sync {
    /// Starts the program for the application in `folder`. `target` is what people call the machine.
    ///
    /// # Errors
    /// The machine can't be reached, or the program can't be started there.
    async fn open(&self, target: &str, folder: &str) -> Result<Wire, MachineError>;
}

#[async_trait]
impl Open for Way {
    async fn open(&self, target: &str, folder: &str) -> Result<Wire, MachineError> {
        match self {
            Self::Child(child) => child.open(target, folder).await,
            // Target and folder are among its arguments: the program is the same for all of a machine's ways.
            Self::Ssh(ssh) => ssh.open().await,
        }
    }
}
