//! A pair of byte streams to a machine's program that has just been started, whatever lies between.

use tokio::io::{AsyncRead, AsyncWrite};

/// The standard streams of a machine's program. Dropping it ends the program: its standard input is at its end.
pub struct Wire {
    /// What the program says.
    pub from: Box<dyn AsyncRead + Send + Unpin>,
    /// What the program is told.
    pub to: Box<dyn AsyncWrite + Send + Unpin>,
}
