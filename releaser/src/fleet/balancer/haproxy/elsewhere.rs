//! A node on another machine, reached by ssh: its sockets, and the file that its next reload reads.

use std::io;

use async_trait::async_trait;

use super::{
    dial::{Open, Stream},
    persist::Put,
};
use crate::fleet::ssh::{Destination, Endpoint, SshClient, SshError};

/// What is there, or nothing.
const GET: &str = "if [ -e \"$1\" ]; then exec cat -- \"$1\"; fi";

/// Replaces a file durably. Where the connection broke on the way, less came than was announced, and nothing is replaced. HAProxy's
/// master reads it, which need not be who writes it; it holds no secret.
const PUT: &str = "set -e
umask 022
temp=$1.staith-$$
trap \"rm -f \\\"$temp\\\"\" EXIT
cat >\"$temp\"
[ \"$(wc -c <\"$temp\")\" -eq \"$2\" ]
sync -- \"$temp\" 2>/dev/null || sync
mv -f -- \"$temp\" \"$1\"
sync -- \"$(dirname -- \"$1\")\" 2>/dev/null || sync";

/// A socket on another machine.
#[derive(Clone)]
pub struct SshSocket {
    /// Connections to machines.
    pub client: SshClient,
    /// The machine.
    pub destination: Destination,
    /// The socket's path there.
    pub path: String,
}

/// A file on another machine.
#[derive(Clone)]
pub struct SshFile {
    /// Connections to machines.
    pub client: SshClient,
    /// The machine.
    pub destination: Destination,
    /// The file's path there.
    pub path: String,
}

#[async_trait]
impl Open for SshSocket {
    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        let endpoint = Endpoint::Socket(self.path.clone());
        let opened = self.client.forward(&self.destination, &endpoint).await;
        opened.map(|stream| Box::new(stream) as Box<dyn Stream>).map_err(in_io)
    }

    fn name(&self) -> String {
        format!("ssh:{}:{}", self.destination.describe(), self.path)
    }
}

#[async_trait]
impl Put for SshFile {
    async fn get(&self) -> io::Result<String> {
        let text = self.client.run(&self.destination, GET, &[&self.path], b"").await.map_err(in_io)?;
        // What is no text is no state of HAProxy's: it is replaced.
        Ok(String::from_utf8(text).unwrap_or_default())
    }

    async fn put(&self, text: &str) -> io::Result<()> {
        let length = text.len().to_string();
        let done = self.client.run(&self.destination, PUT, &[&self.path, &length], text.as_bytes()).await;
        done.map(drop).map_err(in_io)
    }

    fn name(&self) -> String {
        format!("ssh:{}:{}", self.destination.describe(), self.path)
    }
}

/// That nobody listens just now is told apart: a node that is being reloaded is asked again.
fn in_io(error: SshError) -> io::Error {
    let kind = match &error {
        SshError::Channel { nobody_listens: true, .. } => io::ErrorKind::ConnectionRefused,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, format!("{error}. {}", error.remedy()))
}
